//! The load generator: raw HTTP/2, frames encoded before the run, one
//! current-thread runtime.

pub mod batch;
pub mod client;
pub mod closed;
pub mod histogram;
pub mod ingest;
pub mod open;
pub mod overload;
pub mod paired;
pub mod process;
pub mod report;
pub mod statistics;
pub mod swap;
pub mod target;
