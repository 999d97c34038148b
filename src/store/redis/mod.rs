//! Redis: the client that the shared store is built on. It survives whatever
//! Redis does: every call ends by its deadline with an answer or an [`Outage`].
//!
//! Reading order: `address`, `settings`, `client`, `calls`, `keeper`, `link`, `sentinel`,
//! `breaker`, `outage`; what lies in Redis: `keys`, `scripts`.

pub mod address;
mod address_text;
pub mod breaker;
mod calls;
mod client;
mod keeper;
pub mod keys;
mod link;
pub mod outage;
pub mod scripts;
pub mod scripts_caps;
pub mod scripts_replicas;
pub mod scripts_service;
mod sentinel;
mod settings;
mod time;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use breaker::BreakerState;
pub use calls::{Entry, Trim};
pub use client::{Client, Generation, Health};
pub use keys::Keys;
pub use link::Primary;
pub use outage::{Effect, Failure, Outage};
pub use scripts::{Script, Swapped, Version, Versioned};
pub use settings::{Kind, Settings};
pub use time::{TimeSample, system_us};
