//! The store as a whole, over real directories.

mod decisions;
mod erase;
mod events;
mod faults;
pub(super) mod faulty;
mod fold;
mod journals;
mod ledger;
mod memory;
mod merging;
mod merging_many;
mod parting;
mod revisions;
mod sharing;
mod support;
mod timeline;
