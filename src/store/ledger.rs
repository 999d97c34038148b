//! Reservations and budgets of this process: what was decided and not yet seen.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{ChannelId, CustomerKey, DecisionId, OfferId, Reservation, Timestamp};

use super::{
    budgets::{Budgets, Presentation, Sign},
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
#[derive(Debug)]
pub struct Ledger {
    customers: Vec<Mutex<Shard>>,
    budgets: Budgets,
}

#[derive(Debug, Default)]
struct Shard {
    reservations: HashMap<CustomerKey, Vec<Reservation>>,
    left_by_sweep: usize,
    /// What merges changed for who read a profile of before.
    merges: HashMap<CustomerKey, Merged>,
    /// In order, to forget the oldest.
    merged: VecDeque<CustomerKey>,
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
        Self { customers: (0..SHARDS).map(|_| Mutex::default()).collect(), budgets: Budgets::default() }
    }
}

impl Ledger {
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
        match shard.merges.get(&customer) {
            Some(Merged::Into(survivor)) => Err(ReadAgain(*survivor)),
            Some(Merged::Since(needed)) if version < *needed => Err(ReadAgain(customer)),
            _ => Ok(claim_in((shard, customer), now, check)),
        }
    }

    /// All that two customers have reserved is the survivor's from now on, whose
    /// profile has this version.
    pub(crate) fn unite(&self, absorbed: CustomerKey, (survivor, version): (CustomerKey, u64)) {
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
            match shard.merges.get(&customer) {
                Some(Merged::Into(survivor)) => customer = *survivor,
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
    /// Claiming again with the same decision claims nothing more.
    pub fn claim_budget(&self, claim: &BudgetClaim, decision: DecisionId, now: Timestamp, lapses: Timestamp) -> bool {
        self.budgets.claim(claim, decision, now, lapses)
    }

    /// Takes the reservation and the budget unit of a presentation back; a unit
    /// that was seen stays.
    pub fn release(&self, customer: Option<CustomerKey>, decision: DecisionId, offer: OfferId) {
        self.release_reservation(customer, decision, offer);
        let _ = self.budgets.release(decision, offer);
    }

    /// Takes back every reservation that `takes` names by offer and channel,
    /// with its budget unit; a unit that was seen stays. Answers how many.
    ///
    /// The release is of this process and not in the log: after a restart the
    /// reservations of decisions of the log are held again until they lapse. What
    /// is still paused then is released again at the start; of what was resumed
    /// in between a customer may hold a reservation longer than need be, which
    /// may only show them less than the limits allow.
    pub fn release_where(&self, takes: impl Fn(OfferId, ChannelId) -> bool) -> usize {
        let mut taken = Vec::new();
        for shard in &self.customers {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.reservations.retain(|_, held| {
                held.retain(|reservation| {
                    let takes = takes(reservation.offer, reservation.channel);
                    if takes {
                        taken.push((reservation.decision, reservation.offer));
                    }
                    !takes
                });
                !held.is_empty()
            });
        }
        for (decision, offer) in &taken {
            let _ = self.budgets.release(*decision, *offer);
        }
        taken.len()
    }

    /// Takes the reservation of a presentation back.
    pub(crate) fn release_reservation(&self, customer: Option<CustomerKey>, decision: DecisionId, offer: OfferId) {
        let Some(customer) = customer else { return };
        let (customer, mut shard) = self.live(customer);
        if let Some(held) = shard.reservations.get_mut(&customer) {
            held.retain(|r| r.decision != decision || r.offer != offer);
            if held.is_empty() {
                shard.reservations.remove(&customer);
            }
        }
    }

    /// Takes every reservation of a customer back, with its budget unit; a unit
    /// that was seen stays. Answers how many.
    pub(crate) fn forget(&self, customer: CustomerKey) -> usize {
        let held = self.shard(customer).reservations.remove(&customer).unwrap_or_default();
        for reservation in &held {
            let _ = self.budgets.release(reservation.decision, reservation.offer);
        }
        held.len()
    }

    /// Makes the budget unit of a presentation permanent (it was seen). The
    /// writer does so for every outcome it applies; a presentation counts once
    /// until its claim lapses. The reservation stays until it lapses: who counts
    /// both the history and the reservations tells them apart by decision.
    pub fn confirm(&self, decision: DecisionId, offer: OfferId) {
        let until = Timestamp::from_millis(i64::try_from(decision.unix_ms()).unwrap_or(i64::MAX));
        let _ = self.budgets.confirm(&Presentation { decision, offer, until }, Sign::Seen);
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

    fn remember(&mut self, customer: CustomerKey, merged: Merged) {
        if self.merges.insert(customer, merged).is_none() {
            self.merged.push_back(customer);
        }
        if self.merged.len() > MERGES_LEN_MAX
            && let Some(oldest) = self.merged.pop_front()
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
        r.decision == reservation.decision && r.offer == reservation.offer && r.channel == reservation.channel
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
