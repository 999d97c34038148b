//! The client of Redis against real servers and a proxy that makes faults.

mod bench;
mod calls;
mod faults;
mod layouts;
mod proxy;
mod replies;
mod server;
mod wire;
