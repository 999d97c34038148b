//! Wire messages in, checked nouns out, and back. One file per noun.

pub mod browser;
pub mod customer;
pub mod data;
pub mod decision;
pub mod event;
pub mod fields;
pub mod page;
pub mod population;
pub mod preferences;
pub mod presentation;
pub mod problem;
mod reachable;
pub mod reading;
pub mod records;
pub mod request;
pub mod revision;
pub mod ruleset;
pub mod schema;
pub mod subscribe;
pub mod suggest;
pub mod timeline;
pub mod timeline_page;
pub mod value;
pub mod watch;
pub mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use reading::Reading;
