//! What this replica says of itself: whether it has everybody, what it has seen,
//! and what it counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::super::{ReplicaId, Store};

/// What this replica may say of customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Presence {
    /// There are no others.
    #[default]
    Alone = 0,
    /// It has everything, but for what is on its way.
    Whole = 1,
    /// There are customers that it has not read yet: those are read from Redis
    /// when they are asked for.
    Joining = 2,
}

impl Presence {
    /// Every one, in order of its number.
    pub const ALL: [Presence; 3] = [Presence::Alone, Presence::Whole, Presence::Joining];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Presence::Alone => "alone",
            Presence::Whole => "whole",
            Presence::Joining => "joining",
        }
    }
}

/// What somebody has seen: everything that a replica wrote up to a sequence, and
/// everything in the stream up to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which replica.
    pub replica: ReplicaId,
    /// Its sequence.
    pub sequence: u64,
    /// (milliseconds, number) of the last entry of the stream.
    pub place: (u64, u64),
}

/// Counters of replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStats {
    /// Log records that are not shipped yet, about.
    pub unshipped: u64,
    /// Entries told to the others.
    pub shipped: u64,
    /// Those that Redis had before.
    pub shipped_again: u64,
    /// Times another replica had written a customer first.
    pub races_lost: u64,
    /// Entries of others taken in.
    pub received: u64,
    /// Those that were known.
    pub received_again: u64,
    /// Entries that cannot be read.
    pub unreadable: u64,
    /// Times entries were missing.
    pub gaps: u64,
    /// Customers read from Redis.
    pub read_through: u64,
    /// Writes acknowledged before Redis had them.
    pub acknowledged_early: u64,
    /// What this replica may say of customers.
    pub presence: Presence,
}

/// Counters that are counted as it goes.
#[derive(Debug, Default)]
pub(in crate::store) struct Counts {
    pub shipped: AtomicU64,
    pub shipped_again: AtomicU64,
    pub races_lost: AtomicU64,
    pub received: AtomicU64,
    pub received_again: AtomicU64,
    pub unreadable: AtomicU64,
    pub gaps: AtomicU64,
    pub read_through: AtomicU64,
    pub acknowledged_early: AtomicU64,
}

impl Store {
    /// What this replica may say of customers.
    pub fn presence(&self) -> Presence {
        self.shared.replicas.presence()
    }

    /// Whether everybody is read again, for entries of others were missing.
    pub fn is_joining_again(&self) -> bool {
        self.shared.replicas.is_joining_again()
    }

    /// Counters of replication now.
    pub fn replica_stats(&self) -> ReplicaStats {
        self.shared.replicas.stats(self.shared.followers.last_written())
    }

    /// What this replica has up to a sequence of its log, or up to now; none
    /// when there are no others.
    pub fn seen(&self, sequence: Option<u64>) -> Option<Seen> {
        (!self.shared.replicas.is_alone()).then(|| self.shared.replicas.seen(sequence))
    }

    /// Whether this replica has what somebody saw.
    pub fn has_seen(&self, seen: &Seen) -> bool {
        self.shared.replicas.has(seen)
    }

    /// Waits until this replica has what somebody saw; false when it does not in
    /// time. Does not wait when Redis has been away for a second.
    pub async fn wait_seen(&self, seen: &Seen, at_most: Duration) -> bool {
        let state = &self.shared.replicas;
        if !state.was_read_lately() {
            return state.has(seen);
        }
        let mut moved = state.moved.subscribe();
        let wait = async {
            while !state.has(seen) {
                state.poke.notify_one();
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(at_most, wait).await;
        state.has(seen)
    }

    /// Waits until everything up to a sequence of the log is in Redis; false when
    /// it is not in time.
    pub async fn wait_shipped(&self, sequence: u64, at_most: Duration) -> bool {
        let mut shipped = self.shared.replicas.shipped.subscribe();
        let waited = tokio::time::timeout(at_most, shipped.wait_for(|shipped| *shipped >= sequence)).await;
        let done = matches!(waited, Ok(Ok(_)));
        if !done {
            self.shared.replicas.counts.acknowledged_early.fetch_add(1, Relaxed);
        }
        done
    }
}
