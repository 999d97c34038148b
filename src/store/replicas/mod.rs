//! Replicas: what one writes, the others have too.
//!
//! Each replica has its own log, embedded store and memory, and works with them
//! alone. What it writes is shipped: folded into the customer's value in Redis by
//! compare-and-set, and told in one stream, in one script. Every replica reads
//! that stream by id and takes in what the others wrote, as events with known
//! owners: into its own log first, then into memory, like everything. A profile is
//! a function of the set of its events and every event has an id, so that order
//! and repetition change nothing.
//!
//! Reading order: `entry` (what is told), `value` (what lies in Redis of a
//! customer), `outgoing` (the log as entries), `fold`, `ship`, `receive`,
//! `take_in` (the writer's part), `read_through`, `join`, `restore`, `place` (how far it is).

mod adopt;
mod entry;
mod fold;
mod fold_changes;
mod join;
mod outgoing;
mod owed;
mod place;
mod presence;
mod read_through;
mod receive;
mod restore;
mod ship;
mod state;
mod take_in;
mod value;

pub(super) use place::Place;
pub(super) use state::State;
pub(super) use take_in::{Command, HELD};

pub use presence::{Presence, ReplicaStats, Seen};
