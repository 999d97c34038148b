//! The client of Redis against real servers and a proxy that makes faults.

pub mod bench;
mod calls;
mod faults;
mod layouts;
pub mod proxy;
mod replies;
pub mod server;
mod wire;
