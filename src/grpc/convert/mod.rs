//! Wire messages in, checked nouns out, and back. One file per noun.

pub mod customer;
pub mod decision;
pub mod event;
pub mod population;
pub mod reading;
pub mod request;
pub mod revision;
pub mod ruleset;
pub mod schema;
pub mod suggest;
pub mod value;
pub mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use reading::Reading;
