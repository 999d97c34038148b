//! What a replica has leased of one budget, and what it did with it. No clock, no
//! network: the moment comes in.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::DecisionId;

use super::budgets::ExactBudget;

/// How long a lease runs, by the clock of Redis, milliseconds.
pub(super) const LEASE_MS: i64 = 2_000;
/// How long a replica grants from one, by its own clock, from before it asked: the
/// rest is for clocks that run apart.
pub(super) const GRANTS_FOR: Duration = Duration::from_millis(1_600);
/// A lease from which nothing was granted for so long is given back.
pub(super) const IDLE: Duration = Duration::from_millis(800);
/// How long a budget counts as spent once nothing was left: then it is asked again.
pub(super) const SPENT_FOR: Duration = Duration::from_millis(50);
/// Most things that wait to be told of one budget.
pub(super) const OPS_MAX: usize = 65_536;
/// Most that are told in one call.
pub(super) const OPS_PER_CALL: usize = 500;

/// One budget.
pub(super) struct BudgetLease {
    state: Mutex<Lease>,
    /// One call at a time.
    pub turn: tokio::sync::Mutex<()>,
}

/// The state of a lease.
pub(super) struct Lease {
    pub budget: ExactBudget,
    /// Units that may be granted.
    units: u64,
    /// Until when.
    valid_until: Option<Instant>,
    /// Calls made.
    seq: u64,
    /// What is to be told, oldest first.
    ops: VecDeque<Op>,
    /// How many of them were sent, so that Redis may know them.
    told: usize,
    /// What was ever to be told, and what of it was.
    queued: u64,
    done: u64,
    /// What was told lately and when, to tell it again after a failover.
    lately: VecDeque<(Instant, Op)>,
    granted_at: Option<Instant>,
    spent_until: Option<Instant>,
    /// This replica's share of what was left when it last heard.
    share: u64,
    /// Units granted without asking since then.
    unasked: u64,
    /// Whose they are, of what is still to be told.
    unleased: HashSet<DecisionId>,
}

/// What happened to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub kind: OpKind,
    pub decision: DecisionId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpKind {
    /// Granted, open until then.
    Open(Instant),
    /// Granted, and counts; to be told apart for so many milliseconds.
    Decided(i64),
    /// Seen; to be told apart for so many milliseconds.
    Seen(i64),
    /// Given back.
    Released,
}

impl OpKind {
    fn is_grant(self) -> bool {
        matches!(self, OpKind::Open(_) | OpKind::Decided(_))
    }
}

/// A call as it is sent.
pub(super) struct Call {
    pub seq: u64,
    /// Units that are not told with it.
    pub have: u64,
    pub ops: Vec<Op>,
    pub budget: ExactBudget,
    /// Units given back with it.
    pub returned: u64,
}

/// What a call brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brought {
    pub new: u64,
    pub drop: u64,
    pub free: u64,
}

impl BudgetLease {
    pub fn new(budget: ExactBudget) -> Self {
        let lease = Lease {
            budget,
            units: 0,
            valid_until: None,
            seq: 0,
            ops: VecDeque::new(),
            told: 0,
            queued: 0,
            done: 0,
            lately: VecDeque::new(),
            granted_at: None,
            spent_until: None,
            share: 0,
            unasked: 0,
            unleased: HashSet::new(),
        };
        Self { state: Mutex::new(lease), turn: tokio::sync::Mutex::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Lease> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Grants a unit if there is one.
    pub fn take(&mut self, op: Op, now: Instant) -> bool {
        let valid = self.valid_until.is_some_and(|until| now < until);
        self.granted_at = Some(now);
        if !valid || self.units == 0 || self.ops.len() >= OPS_MAX {
            return false;
        }
        self.units -= 1;
        self.push(op);
        true
    }

    /// Grants a unit that nobody leased, from this replica's share or without end.
    pub fn take_unasked(&mut self, op: Op, within_share: bool) -> bool {
        if self.ops.len() >= OPS_MAX || within_share && self.unasked >= self.share {
            return false;
        }
        self.unasked += 1;
        self.unleased.insert(op.decision);
        self.push(op);
        true
    }

    /// A granted unit that nobody got, or that was cancelled.
    pub fn give_back(&mut self, decision: DecisionId) {
        let mut untold = self.ops.iter().enumerate().skip(self.told);
        let at = untold.find(|(_, op)| op.decision == decision && op.kind.is_grant()).map(|(at, _)| at);
        match at {
            // INVARIANT: Redis never heard of it
            Some(at) => {
                self.ops.remove(at);
                self.queued -= 1;
                // what nobody leased is no unit to grant from a lease
                match self.unleased.remove(&decision) {
                    true => self.unasked = self.unasked.saturating_sub(1),
                    false => self.units += 1,
                }
            }
            None => {
                self.tell(Op { kind: OpKind::Released, decision });
            }
        }
    }

    fn push(&mut self, op: Op) {
        self.queued += 1;
        self.ops.push_back(op);
    }

    /// How much was ever to be told.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether everything was told that was queued when so much was.
    pub fn was_told(&self, queued: u64) -> bool {
        self.done >= queued || self.ops.is_empty()
    }

    /// Queues what is to be told; false when there is no room.
    pub fn tell(&mut self, op: Op) -> bool {
        let fits = self.ops.len() < OPS_MAX;
        if fits {
            self.push(op);
        }
        fits
    }

    /// Tells again, before anything else, what was told since a moment, or ever.
    pub fn tell_again(&mut self, since: Option<Instant>) {
        let first = self.lately.partition_point(|(at, _)| since.is_some_and(|since| *at < since));
        let again: Vec<Op> = self.lately.drain(first..).map(|(_, op)| op).collect();
        self.told += again.len();
        self.done = self.done.saturating_sub(again.len() as u64);
        again.into_iter().rev().for_each(|op| self.ops.push_front(op));
    }

    pub fn has_ops(&self) -> bool {
        !self.ops.is_empty()
    }

    pub fn units(&self) -> u64 {
        self.units
    }

    /// Whether nothing was left a moment ago.
    pub fn is_spent(&self, now: Instant) -> bool {
        self.units == 0 && self.spent_until.is_some_and(|until| now < until)
    }

    /// Whether it runs low while it is in use.
    pub fn runs_low(&self) -> bool {
        self.units == 1
    }

    /// Whether anybody asked for a unit lately.
    pub fn is_used(&self, now: Instant) -> bool {
        self.granted_at.is_some_and(|at| now.saturating_duration_since(at) < IDLE)
    }

    /// Whether Redis should hear from it.
    pub fn has_news(&self, now: Instant) -> bool {
        self.units > 0 || !self.ops.is_empty() || self.is_used(now) && !self.is_spent(now)
    }

    /// Begins a call. INVARIANT: what is granted from now on was not in `ops`, so
    /// it is in `have`: Redis never counts less than was granted.
    pub fn begin(&mut self, now: Instant, keeps: bool) -> Call {
        self.seq += 1;
        let mut returned = 0;
        if !keeps || self.valid_until.is_none_or(|until| now >= until) {
            returned = std::mem::take(&mut self.units);
        }
        let sent = self.ops.len().min(OPS_PER_CALL);
        let unsent = self.ops.iter().skip(sent).filter(|op| op.kind.is_grant()).count() as u64;
        self.told = self.told.max(sent);
        let ops = self.ops.iter().take(sent).copied().collect();
        Call { seq: self.seq, have: self.units + unsent, ops, budget: self.budget.clone(), returned }
    }

    /// A call was answered. `asked_at` is when it was sent; answers the units to
    /// count as given back.
    pub fn end(&mut self, call: &Call, brought: Brought, (asked_at, replicas): (Instant, u64)) -> u64 {
        let told = self.ops.drain(..call.ops.len().min(self.ops.len()));
        self.done += told.len() as u64;
        for op in told {
            self.unleased.remove(&op.decision);
            self.lately.push_back((asked_at, op));
        }
        self.lately.drain(..self.lately.len().saturating_sub(OPS_MAX));
        self.told = self.told.saturating_sub(call.ops.len());
        let drop = brought.drop.min(self.units);
        self.units = self.units - drop + brought.new;
        self.valid_until = Some(asked_at + GRANTS_FOR);
        self.share = brought.free.div_ceil(replicas.max(1));
        self.unasked = 0;
        self.spent_until = (self.units == 0 && brought.free == 0).then(|| Instant::now() + SPENT_FOR);
        drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::OfferId,
        rules::{WhenUnknown, Window},
    };

    fn lease() -> BudgetLease {
        BudgetLease::new(ExactBudget {
            offer: OfferId(1),
            max: 10,
            window: Window::Day,
            hold_us: 1_000,
            when_unknown: WhenUnknown::Deny,
            zone: jiff::tz::TimeZone::UTC,
        })
    }

    fn grant(n: u128, now: Instant) -> Op {
        Op { kind: OpKind::Open(now), decision: DecisionId(n) }
    }

    #[test]
    fn what_redis_counts_is_never_less_than_what_was_granted() {
        let (lease, now) = (lease(), Instant::now());
        let mut lease = lease.lock();
        assert!(!lease.take(grant(1, now), now), "there is nothing yet");
        let call = lease.begin(now, true);
        assert_eq!((call.have, call.ops.len(), call.returned), (0, 0, 0));
        lease.end(&call, Brought { new: 5, drop: 0, free: 5 }, (now, 1));
        assert!((1..=3).all(|n| lease.take(grant(n, now), now)));
        let call = lease.begin(now, true);
        assert_eq!((call.have, call.ops.len()), (2, 3));
        // while the call is on its way one is granted, one of before is given back
        assert!(lease.take(grant(4, now), now));
        lease.give_back(DecisionId(2));
        assert_eq!(lease.units(), 1, "Redis may know the second: it is told, not granted again");
        // the answer was lost: all of it is told again, in its order
        let again = lease.begin(now, true);
        let kinds: Vec<bool> = again.ops.iter().map(|op| op.kind.is_grant()).collect();
        assert_eq!((again.have, kinds), (1, vec![true, true, true, true, false]));
        lease.end(&again, Brought { new: 0, drop: 0, free: 5 }, (now, 1));
        assert!(lease.begin(now, true).ops.is_empty());
        // one that Redis never heard of goes back as it was
        assert!(lease.take(grant(5, now), now));
        lease.give_back(DecisionId(5));
        assert_eq!((lease.units(), lease.begin(now, true).ops.len()), (1, 0));
    }

    #[test]
    fn nothing_is_granted_after_the_end() {
        let (lease, now) = (lease(), Instant::now());
        let mut lease = lease.lock();
        let call = lease.begin(now, true);
        lease.end(&call, Brought { new: 5, drop: 0, free: 5 }, (now, 2));
        let late = now + GRANTS_FOR;
        assert!(!lease.take(grant(1, late), late));
        assert!(!lease.take_unasked(grant(1, late), true) || lease.share > 0);
        let call = lease.begin(late, true);
        assert_eq!((call.have, call.returned), (0, 5), "they are given back");
    }

    #[test]
    fn a_share_is_granted_once() {
        let (lease, now) = (lease(), Instant::now());
        let mut lease = lease.lock();
        let call = lease.begin(now, true);
        lease.end(&call, Brought { new: 0, drop: 0, free: 3 }, (now, 2));
        let granted = (0..10).filter(|n| lease.take_unasked(grant(*n, now), true)).count();
        assert_eq!(granted, 2);
        assert!(lease.take_unasked(grant(11, now), false), "without a share nothing holds it back");
        lease.give_back(DecisionId(11));
        assert_eq!(lease.units(), 0, "nobody leased it");
        lease.give_back(DecisionId(0));
        assert!(lease.take_unasked(grant(12, now), true), "the share has room again");
    }
}
