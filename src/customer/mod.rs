//! Events in, profile out. Everything here is pure; time comes in as a
//! parameter. The order in which events come never matters, as long as the
//! bounds of [`crate::domain::profile`] are not reached; each event must be
//! applied once, which is the caller's duty (by event id).

mod apply;
mod interactions;
mod knowledge;
mod merge;
pub mod permissions;
pub mod series;
pub mod traits;
mod wishes;

#[cfg(test)]
mod tests;

pub use apply::apply;
pub use merge::{flattened, merge, mergeable, survivor, unmerge};
