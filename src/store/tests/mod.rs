//! The store as a whole, over real directories.

mod decisions;
mod events;
mod faults;
pub(super) mod faulty;
mod ledger;
mod memory;
mod revisions;
mod sharing;
mod support;
