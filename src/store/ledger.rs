//! Reservations and budgets of this process: what was decided and not yet seen.

mod releases;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::domain::{CustomerKey, DecisionId, OfferId, RecordRef, Reservation, Timestamp};

use super::{
    budgets::{Budgets, Presentation, Sign},
    caps::Caps,
    unions::HOPS_MAX,
};

/// Locks that the customers are spread over.
const SHARDS: usize = 64;
/// Most live reservations of a customer; the first to lapse goes first.
pub const RESERVATIONS_MAX: usize = 256;
/// A shard is swept for lapsed customers when it holds twice what the last
/// sweep left, and at least this many.
const SWEEP_LEN_MIN: usize = 1_024;
/// Most merges that a shard remembers, the latest; only a decision that was
/// under way during the merge needs to be told, so that forgetting older ones
/// harms nobody.
const MERGES_LEN_MAX: usize = 4_096;

/// Reservations per customer and budget claims per offer, in sharded maps.
pub struct Ledger {
    customers: Vec<Mutex<Shard>>,
    budgets: Budgets,
    /// Where exact claims are counted over all replicas; unset while this process
    /// is alone, and until it has recovered.
    caps: OnceLock<Arc<Caps>>,
}

#[derive(Debug, Default)]
struct Shard {
    reservations: HashMap<CustomerKey, Vec<Reservation>>,
    left_by_sweep: usize,
    /// What merges changed for who read a profile of before.
    merges: HashMap<CustomerKey, Mark>,
    /// The marks in order, to forget the oldest; of a customer who was marked
    /// again, or parted, those that stand no more too.
    merged: VecDeque<(CustomerKey, u64)>,
    /// Marks ever made.
    marked: u64,
}

/// What a merge changed, and which of all marks it is.
#[derive(Clone, Copy, Debug)]
struct Mark {
    merged: Merged,
    number: u64,
}

/// What a merge changed for a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merged {
    /// Taken in by this one.
    Into(CustomerKey),
    /// Took somebody in: a profile must have at least this version.
    Since(u64),
}

/// Whose profile must be read again before anything is claimed: a merge came in
/// between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAgain(pub CustomerKey);

/// A budget to claim from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetClaim {
    /// The offer.
    pub offer: OfferId,
    /// The most in the window.
    pub max: u64,
    /// When the window began.
    pub window_from: Timestamp,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            customers: (0..SHARDS).map(|_| Mutex::default()).collect(),
            budgets: Budgets::default(),
            caps: OnceLock::new(),
        }
    }
}

impl Ledger {
    /// What happens to reservations from now on is told to these too.
    pub(super) fn share(&self, caps: Arc<Caps>) {
        // INVARIANT: set once, when the store is opened
        let _ = self.caps.set(caps);
    }

    /// The live reservations of a customer, appended to a buffer.
    pub fn reservations(&self, customer: CustomerKey, now: Timestamp, into: &mut Vec<Reservation>) {
        let (customer, shard) = self.live(customer);
        if let Some(held) = shard.reservations.get(&customer) {
            into.extend(held.iter().filter(|r| r.expires_at > now));
        }
    }

    /// Runs a check under the customer's lock and adds the reservations it
    /// answers. The check sees the live reservations; it must be quick and
    /// must not touch another map. Adding a presentation again replaces it.
    pub fn claim<R>(
        &self,
        customer: CustomerKey,
        now: Timestamp,
        check: impl FnOnce(&[Reservation]) -> (Vec<Reservation>, R),
    ) -> R {
        let (customer, shard) = self.live(customer);
        claim_in((shard, customer), now, check)
    }

    /// As [`Ledger::claim`], for a check that goes by a profile of this version.
    ///
    /// # Errors
    /// A merge came in between: the profile to go by is another one now.
    pub fn claim_by<R>(
        &self,
        (customer, version): (CustomerKey, u64),
        now: Timestamp,
        check: impl FnOnce(&[Reservation]) -> (Vec<Reservation>, R),
    ) -> Result<R, ReadAgain> {
        let shard = self.shard(customer);
        match shard.mark(customer) {
            Some(Merged::Into(survivor)) => Err(ReadAgain(survivor)),
            Some(Merged::Since(needed)) if version < needed => Err(ReadAgain(customer)),
            _ => Ok(claim_in((shard, customer), now, check)),
        }
    }

    /// All that two customers have reserved is the survivor's from now on, whose
    /// profile has this version.
    pub(crate) fn unite(&self, absorbed: CustomerKey, (survivor, version): (CustomerKey, u64)) {
        if let Some(caps) = self.caps.get() {
            caps.unite(absorbed, survivor);
        }
        // INVARIANT: both locks, in their order, so that nobody claims in between
        let (from, to) = (shard_of(absorbed), shard_of(survivor));
        let lock = |at: usize| self.customers[at].lock().unwrap_or_else(PoisonError::into_inner);
        if from == to {
            let mut shard = lock(from);
            let moved = shard.give_up(absorbed, survivor);
            return shard.take_over(survivor, version, moved);
        }
        let (first, second) = (lock(from.min(to)), lock(from.max(to)));
        let (mut giving, mut taking) = if from < to { (first, second) } else { (second, first) };
        let moved = giving.give_up(absorbed, survivor);
        taking.take_over(survivor, version, moved);
    }

    /// Both are customers again. Whose reservations are whose is not known: both
    /// hold all of them until they lapse, which may only show them less.
    pub(crate) fn part(&self, survivor: CustomerKey, absorbed: CustomerKey) {
        if let Some(caps) = self.caps.get() {
            caps.part(survivor, absorbed);
        }
        let held = self.shard(survivor).reservations.get(&survivor).cloned().unwrap_or_default();
        let mut shard = self.shard(absorbed);
        shard.merges.remove(&absorbed);
        for reservation in held {
            hold(shard.reservations.entry(absorbed).or_default(), reservation);
        }
    }

    /// Who lives on for a customer, with the lock of that one.
    fn live(&self, mut customer: CustomerKey) -> (CustomerKey, MutexGuard<'_, Shard>) {
        for _ in 0..HOPS_MAX {
            let shard = self.shard(customer);
            match shard.mark(customer) {
                Some(Merged::Into(survivor)) => customer = survivor,
                _ => return (customer, shard),
            }
        }
        (customer, self.shard(customer))
    }

    /// Whether a budget has room now.
    pub fn has_room(&self, claim: &BudgetClaim, now: Timestamp) -> bool {
        self.budgets.has_room(claim, now)
    }

    /// Claims one unit for a decision until it lapses; false when it is spent.
    /// Claiming again with the same decision claims nothing more: a unit is of an
    /// offer in a decision, for whichever records it speaks of.
    pub fn claim_budget(
        &self,
        claim: &BudgetClaim,
        (decision, record): (DecisionId, RecordRef),
        now: Timestamp,
        lapses: Timestamp,
    ) -> bool {
        self.budgets.claim(claim, (decision, record), now, lapses)
    }

    /// Makes the budget unit of a presentation permanent (it was seen). The
    /// writer does so for every outcome it applies; a presentation counts once
    /// until its claim lapses. The reservation stays until it lapses: who counts
    /// both the history and the reservations tells them apart by decision.
    pub fn confirm(&self, decision: DecisionId, offer: OfferId) {
        let until = Timestamp::from_millis(i64::try_from(decision.unix_ms()).unwrap_or(i64::MAX));
        let _ = self.budgets.confirm(&Presentation { decision, offer, record: RecordRef::NONE, until }, Sign::Seen);
    }

    /// The budgets, for keeping them over a restart.
    pub(crate) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Puts a reservation back after a restart.
    pub(crate) fn restore(&self, customer: CustomerKey, reservation: Reservation) {
        let (customer, mut shard) = self.live(customer);
        hold(shard.reservations.entry(customer).or_default(), reservation);
    }

    fn shard(&self, customer: CustomerKey) -> MutexGuard<'_, Shard> {
        // a panic elsewhere leaves whole reservations behind: go on
        self.customers[shard_of(customer)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_of(customer: CustomerKey) -> usize {
    // a keyed hash is spread evenly already
    (customer.0 as usize) % SHARDS
}

fn claim_in<R>(
    (mut shard, customer): (MutexGuard<'_, Shard>, CustomerKey),
    now: Timestamp,
    check: impl FnOnce(&[Reservation]) -> (Vec<Reservation>, R),
) -> R {
    shard.sweep_when_large(now);
    let Some(held) = shard.reservations.get_mut(&customer) else {
        let (mut added, answer) = check(&[]);
        if !added.is_empty() {
            added.truncate(RESERVATIONS_MAX);
            shard.reservations.insert(customer, added);
        }
        return answer;
    };
    held.retain(|r| r.expires_at > now);
    let (added, answer) = check(held);
    for reservation in added {
        hold(held, reservation);
    }
    answer
}

impl Shard {
    /// Whoever comes for this customer is sent to the one who took it in.
    fn give_up(&mut self, absorbed: CustomerKey, survivor: CustomerKey) -> Vec<Reservation> {
        self.remember(absorbed, Merged::Into(survivor));
        self.reservations.remove(&absorbed).unwrap_or_default()
    }

    fn take_over(&mut self, survivor: CustomerKey, version: u64, moved: Vec<Reservation>) {
        self.remember(survivor, Merged::Since(version));
        for reservation in moved {
            hold(self.reservations.entry(survivor).or_default(), reservation);
        }
    }

    fn mark(&self, customer: CustomerKey) -> Option<Merged> {
        self.merges.get(&customer).map(|mark| mark.merged)
    }

    fn remember(&mut self, customer: CustomerKey, merged: Merged) {
        let number = self.marked;
        self.marked += 1;
        self.merges.insert(customer, Mark { merged, number });
        self.merged.push_back((customer, number));
        if self.merged.len() > MERGES_LEN_MAX
            && let Some((oldest, number)) = self.merged.pop_front()
            && self.merges.get(&oldest).is_some_and(|mark| mark.number == number)
        {
            self.merges.remove(&oldest);
        }
    }

    fn sweep_when_large(&mut self, now: Timestamp) {
        if self.reservations.len() < SWEEP_LEN_MIN.max(2 * self.left_by_sweep) {
            return;
        }
        self.reservations.retain(|_, held| {
            held.retain(|r| r.expires_at > now);
            !held.is_empty()
        });
        self.left_by_sweep = self.reservations.len();
    }
}

/// INVARIANT: each (decision, offer, channel) once, at most [`RESERVATIONS_MAX`].
fn hold(held: &mut Vec<Reservation>, reservation: Reservation) {
    let same = |r: &Reservation| {
        (r.decision, r.offer, r.channel, r.record)
            == (reservation.decision, reservation.offer, reservation.channel, reservation.record)
    };
    match held.iter_mut().find(|r| same(r)) {
        Some(known) => *known = reservation,
        None => held.push(reservation),
    }
    if held.len() > RESERVATIONS_MAX
        && let Some(first) = (0..held.len()).min_by_key(|at| held[*at].expires_at)
    {
        held.swap_remove(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_marks_are_remembered() {
        let key = |n: usize| CustomerKey(n as u128);
        let mut shard = Shard::default();
        (0..MERGES_LEN_MAX).for_each(|n| shard.remember(key(n), Merged::Since(1)));
        // marked again, the first is the latest; parted and taken in again, the second is
        shard.remember(key(0), Merged::Into(key(9)));
        shard.merges.remove(&key(1));
        shard.remember(key(1), Merged::Into(key(9)));
        for n in 0..MERGES_LEN_MAX - 2 {
            shard.remember(key(MERGES_LEN_MAX + n), Merged::Since(1));
            assert_eq!([0, 1].map(|n| shard.mark(key(n))), [Some(Merged::Into(key(9))); 2], "after {n}");
            assert!(shard.merges.len() <= MERGES_LEN_MAX && shard.merged.len() <= MERGES_LEN_MAX);
        }
        shard.remember(key(0), Merged::Since(2));
        shard.remember(key(5), Merged::Since(2));
        assert_eq!((shard.mark(key(0)), shard.mark(key(1))), (Some(Merged::Since(2)), None));
    }
}
