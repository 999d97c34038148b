//! Wire messages in, checked nouns out, and back. One file per noun.

pub mod customer;
pub mod decision;
pub mod event;
pub mod reading;
pub mod request;
pub mod ruleset;
pub mod schema;
pub mod suggest;
pub mod value;

#[cfg(test)]
pub(crate) mod tests;

pub use reading::Reading;
