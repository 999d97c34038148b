//! Wire messages in, checked nouns out, and back. One file per noun.

pub mod browser;
pub mod customer;
pub mod decision;
pub mod event;
pub mod population;
pub mod problem;
pub mod reading;
pub mod request;
pub mod revision;
pub mod ruleset;
pub mod schema;
pub mod suggest;
pub mod value;
pub mod watch;
pub mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use reading::Reading;
