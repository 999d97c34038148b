//! How far replication is, as everybody in this process sees it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::domain::CustomerKey;

use super::super::ReplicaId;
use super::{
    place::{Place, StreamId},
    presence::{Counts, Presence, ReplicaStats, Seen},
    read_through::Readings,
};

/// Customers with records not shipped yet are forgotten of those that were, when
/// there are twice as many as then and at least so many.
const UNSHIPPED_SWEEP_MIN: usize = 4_096;

/// For so long after the stream was last read it is worth waiting for more.
const LATELY: Duration = Duration::from_secs(1);

/// How far replication is.
pub(in crate::store) struct State {
    /// Who this is.
    pub replica: ReplicaId,
    pub counts: Counts,
    /// Asks for a look at the stream now.
    pub poke: Notify,
    /// Tells that everybody must be read.
    pub joins: Notify,
    /// Tells that Redis has lost everything.
    pub refills: Notify,
    /// Who is being read.
    pub(super) readings: Readings,
    /// Whose identities are being looked up.
    pub(super) lookups: Readings,
    /// The last sequence in the log when it was opened.
    opened_at: AtomicU64,
    /// Whether also those are read whom this replica has.
    pub(super) joining_again: AtomicBool,
    /// Whether customers are only read as they are asked for.
    pub(super) as_asked: AtomicBool,
    /// Whether the stream was looked at.
    begun: AtomicBool,
    /// When this was made, and how long after the stream was last read, milliseconds.
    made_at: Instant,
    read_at_ms: AtomicU64,
    /// Whether it was kept how far it was.
    was_kept: bool,
    presence: AtomicU8,
    /// Sequences of records of this log that were received, not passed yet.
    received: Mutex<VecDeque<u64>>,
    /// The last record of others of customers, while everybody is read from Redis.
    pub(super) touched: Mutex<HashMap<CustomerKey, u64>>,
    /// Customers made here while not everybody was read: there may be more of them.
    pub(super) owed: Mutex<HashSet<CustomerKey>>,
    /// The last record of customers that may not be shipped yet.
    unshipped: Mutex<Unshipped>,
    /// The last sequence that was written by this replica itself.
    own: AtomicU64,
    /// How often it was asked that something is shipped again.
    again: AtomicU64,
    /// The last connection whose server was looked at.
    looked_at: AtomicU64,
    /// Everything up to this sequence was shipped.
    pub(super) shipped: watch::Sender<u64>,
    /// Everything up to this sequence is in the log and in memory.
    applied: watch::Sender<u64>,
    /// The last sequence up to which the others were told that it was.
    marked: AtomicU64,
    /// What was taken in.
    taken_in: Mutex<TakenIn>,
    /// Told when more was taken in.
    pub(super) moved: watch::Sender<()>,
}

#[derive(Default)]
struct Unshipped {
    customers: HashMap<CustomerKey, u64>,
    left_by_sweep: usize,
}

#[derive(Clone, Debug, Default)]
struct TakenIn {
    position: StreamId,
    seen: HashMap<ReplicaId, u64>,
}

impl State {
    /// Of a replica; alone without one.
    pub fn new(replica: Option<ReplicaId>, place: Option<Place>) -> Self {
        let was_kept = place.is_some();
        let place = place.unwrap_or_default();
        let presence = match replica {
            None => Presence::Alone,
            Some(_) if place.whole => Presence::Whole,
            Some(_) => Presence::Joining,
        };
        Self {
            replica: replica.unwrap_or_default(),
            counts: Counts::default(),
            poke: Notify::new(),
            joins: Notify::new(),
            refills: Notify::new(),
            opened_at: AtomicU64::new(0),
            readings: Readings::default(),
            lookups: Readings::default(),
            joining_again: AtomicBool::new(false),
            as_asked: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            made_at: Instant::now(),
            read_at_ms: AtomicU64::new(0),
            was_kept,
            presence: AtomicU8::new(presence as u8),
            received: Mutex::default(),
            touched: Mutex::default(),
            owed: Mutex::default(),
            unshipped: Mutex::default(),
            own: AtomicU64::new(0),
            again: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
            shipped: watch::Sender::new(place.shipped),
            applied: watch::Sender::new(0),
            marked: AtomicU64::new(place.shipped),
            taken_in: Mutex::new(TakenIn { position: place.position, seen: place.seen.into_iter().collect() }),
            moved: watch::Sender::new(()),
        }
    }

    pub fn presence(&self) -> Presence {
        Presence::ALL.get(usize::from(self.presence.load(Acquire))).copied().unwrap_or_default()
    }

    pub fn set_presence(&self, presence: Presence) {
        self.presence.store(presence as u8, Release);
    }

    /// Up to where everything is in the log and in memory.
    pub fn applied_now(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Whether the stream was looked at.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Acquire)
    }

    /// The stream was read now.
    pub fn read_now(&self) {
        let after_ms = u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.read_at_ms.store(after_ms.max(1), Relaxed);
    }

    /// Whether the stream was read a moment ago, and so may soon be read again.
    pub(super) fn was_read_lately(&self) -> bool {
        let read_at = Duration::from_millis(self.read_at_ms.load(Relaxed));
        !read_at.is_zero() && self.made_at.elapsed().saturating_sub(read_at) < LATELY
    }

    pub fn begin(&self) {
        self.begun.store(true, Release);
    }

    pub fn is_alone(&self) -> bool {
        self.presence() == Presence::Alone
    }

    /// Everything up to this sequence need not be shipped any more. Without
    /// others nothing has to be.
    pub fn shipped(&self) -> u64 {
        if self.is_alone() { u64::MAX } else { *self.shipped.borrow() }
    }

    /// A record is about to be in the log that another replica wrote.
    pub fn will_receive(&self, sequence: u64) {
        lock(&self.received).push_back(sequence);
    }

    /// Records from this sequence on did not get into the log.
    pub fn did_not_receive(&self, from: u64) {
        lock(&self.received).retain(|sequence| *sequence < from);
    }

    pub fn was_received(&self, sequence: u64) -> bool {
        lock(&self.received).binary_search(&sequence).is_ok()
    }

    /// This replica itself wrote something up to here, of a customer.
    pub fn wrote(&self, customer: Option<CustomerKey>, sequence: u64) {
        if self.is_alone() {
            return;
        }
        self.own.fetch_max(sequence, Relaxed);
        let Some(customer) = customer else { return };
        let mut unshipped = lock(&self.unshipped);
        unshipped.customers.insert(customer, sequence);
        if unshipped.customers.len() >= UNSHIPPED_SWEEP_MIN.max(2 * unshipped.left_by_sweep) {
            let shipped = *self.shipped.borrow();
            unshipped.customers.retain(|_, last| *last > shipped);
            unshipped.left_by_sweep = unshipped.customers.len();
        }
    }

    /// The last sequence that this replica itself wrote and has to ship.
    pub fn own(&self) -> u64 {
        self.own.load(Relaxed)
    }

    /// Whether a customer has records behind this sequence that may not be
    /// shipped.
    pub fn has_unshipped(&self, customer: CustomerKey, behind: u64) -> bool {
        lock(&self.unshipped).customers.get(&customer).is_some_and(|last| *last > behind)
    }

    /// Everything up to here was shipped, or is nobody else's; false when it was
    /// asked since to ship again what comes before.
    pub fn set_shipped(&self, sequence: u64, again: u64) -> bool {
        // INVARIANT: under the same lock as the question for it
        let mut received = lock(&self.received);
        if self.again.load(Relaxed) != again {
            return false;
        }
        while received.front().is_some_and(|first| *first <= sequence) {
            received.pop_front();
        }
        self.shipped.send_if_modified(|shipped| {
            let further = sequence > *shipped;
            *shipped = sequence.max(*shipped);
            further
        });
        true
    }

    /// How often it was asked that something is shipped again.
    pub fn again(&self) -> u64 {
        self.again.load(Relaxed)
    }

    /// The server behind a connection was looked at: whether it is another one is
    /// known, and what follows from it was asked for.
    pub fn looked_at(&self, generation: u64) {
        self.looked_at.store(generation, Release);
    }

    /// Whether the server behind a connection was looked at.
    pub fn has_looked_at(&self, generation: u64) -> bool {
        self.looked_at.load(Acquire) == generation
    }

    /// Tells up to where everything is in the log and in memory.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The log was opened with everything up to this sequence. What it has and is not
    /// known to be shipped must be in Redis before anybody is taken from there.
    pub fn opened(&self, sequence: u64) {
        self.opened_at.store(sequence, Relaxed);
        self.own.store(sequence, Relaxed);
        if self.presence() == Presence::Joining && sequence > 0 && !self.was_kept {
            // what it has may be less than what there is, and more than Redis has
            self.joining_again.store(true, Release);
            self.refills.notify_one();
        }
        self.set_applied(sequence);
    }

    /// Whether what this replica had when it was opened was in Redis by then.
    pub fn may_adopt(&self, shipped: u64) -> bool {
        shipped >= self.opened_at.load(Relaxed)
    }

    /// INVARIANT: what it seals with is known by then.
    pub fn set_applied(&self, sequence: u64) {
        if !self.is_alone() {
            self.applied.send_if_modified(|applied| std::mem::replace(applied, sequence) != sequence);
        }
    }

    /// Sends everything behind a sequence again.
    pub fn ship_again(&self, behind: u64) {
        let _received = lock(&self.received);
        self.again.fetch_add(1, Relaxed);
        self.marked.fetch_min(behind, Relaxed);
        self.shipped.send_replace(behind);
    }

    /// The last sequence up to which the others were told everything.
    pub fn marked(&self) -> u64 {
        self.marked.load(Relaxed)
    }

    pub fn mark(&self, sequence: u64) {
        self.marked.store(sequence, Relaxed);
    }

    /// What this replica has: its own, and what it took in.
    pub fn seen(&self, sequence: Option<u64>) -> Seen {
        let place = lock(&self.taken_in).position;
        let sequence = sequence.unwrap_or_else(|| self.own.load(Relaxed));
        Seen { replica: self.replica, sequence, place: (place.ms, place.number) }
    }

    /// Whether it has what somebody else saw.
    pub fn has(&self, seen: &Seen) -> bool {
        let taken_in = lock(&self.taken_in);
        let own = seen.replica == self.replica;
        let reached = own || taken_in.seen.get(&seen.replica).is_some_and(|upto| *upto >= seen.sequence);
        let position = (taken_in.position.ms, taken_in.position.number);
        reached && position >= seen.place
    }

    pub fn position(&self) -> StreamId {
        lock(&self.taken_in).position
    }

    /// Up to where a replica's entries were taken in.
    pub fn seen_of(&self, replica: ReplicaId) -> Option<u64> {
        lock(&self.taken_in).seen.get(&replica).copied()
    }

    /// The stream was taken in up to a place, and of these replicas everything
    /// up to these sequences.
    pub fn took_in(&self, position: StreamId, upto: &[(ReplicaId, u64)]) {
        let mut taken_in = lock(&self.taken_in);
        taken_in.position = position;
        for (replica, sequence) in upto {
            let seen = taken_in.seen.entry(*replica).or_default();
            *seen = (*seen).max(*sequence);
        }
        drop(taken_in);
        self.moved.send_replace(());
    }

    /// What is to be kept.
    pub fn place(&self) -> Place {
        let taken_in = lock(&self.taken_in).clone();
        Place {
            shipped: self.marked(),
            position: taken_in.position,
            whole: self.presence() == Presence::Whole,
            seen: taken_in.seen.into_iter().collect(),
        }
    }

    pub fn stats(&self, written: u64) -> ReplicaStats {
        let counts = &self.counts;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        ReplicaStats {
            unshipped: written.saturating_sub(self.shipped()),
            shipped: get(&counts.shipped),
            shipped_again: get(&counts.shipped_again),
            races_lost: get(&counts.races_lost),
            received: get(&counts.received),
            received_again: get(&counts.received_again),
            unreadable: get(&counts.unreadable),
            gaps: get(&counts.gaps),
            read_through: get(&counts.read_through),
            acknowledged_early: get(&counts.acknowledged_early),
            presence: match self.presence() {
                Presence::Joining if self.as_asked.load(Acquire) && !self.is_joining_again() => Presence::Whole,
                presence => presence,
            },
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
