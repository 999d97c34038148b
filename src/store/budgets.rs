//! Budgets: how many presentations of an offer, over all customers, are open
//! or were seen in a window of time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::domain::{DecisionId, OfferId, RecordRef, Timestamp};

use super::ledger::BudgetClaim;

/// Locks that the offers are spread over.
const SHARDS: usize = 16;
/// Seen presentations are counted per minute of their decision, microseconds.
/// A window that begins within a minute counts the whole of it, so that
/// rounding never grants more.
const BUCKET_US: i64 = 60_000_000;
/// The bucket at rest that only tells that the offer has a budget.
pub(crate) const KNOWN: i64 = i64::MIN;
/// Most buckets of an offer: the minutes of a year.
const BUCKETS_MAX: usize = 366 * 24 * 60;

/// Every budget of this process.
#[derive(Debug)]
pub(crate) struct Budgets {
    shards: Vec<Mutex<HashMap<OfferId, Budget>>>,
}

/// A presentation, and until when it must be told from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presentation {
    pub decision: DecisionId,
    pub offer: OfferId,
    pub record: RecordRef,
    pub until: Timestamp,
}

/// What made a unit permanent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The decision itself, on a channel that counts at decision: cancelling
    /// gives the unit back.
    Decided,
    /// It reached somebody.
    Seen,
}

/// What one offer has used.
#[derive(Debug, Default)]
struct Budget {
    /// Claims that are not seen yet, and when they lapse.
    open: HashMap<DecisionId, Timestamp>,
    /// The same claims, first to lapse first.
    lapsing: BTreeSet<(Timestamp, DecisionId)>,
    /// Claims that are permanent, until they would have lapsed: so that a
    /// second sign of the same presentation is not a second unit.
    confirmed: HashMap<DecisionId, Sign>,
    /// The same, first to be forgotten first.
    forgetting: BTreeSet<(Timestamp, DecisionId)>,
    /// The records that a unit is for and that were not given back; none for
    /// offers that speak of no record. INVARIANT: only of decisions in `open` or
    /// `confirmed`.
    records: HashMap<DecisionId, SmallVec<[RecordRef; 2]>>,
    /// Seen presentations per bucket.
    seen: BTreeMap<i64, u64>,
    /// INVARIANT: the sum of `seen`.
    seen_total: u64,
    /// Whether a budget was ever claimed from; else only claims that were put
    /// back after a restart are counted.
    known: bool,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Budgets {
    pub(super) fn has_room(&self, claim: &BudgetClaim, now: Timestamp) -> bool {
        self.shard(claim.offer).get(&claim.offer).map_or(0, |b| b.used(claim.window_from, now)) < claim.max
    }

    pub(super) fn claim(
        &self,
        claim: &BudgetClaim,
        (decision, record): (DecisionId, RecordRef),
        now: Timestamp,
        lapses: Timestamp,
    ) -> bool {
        let mut shard = self.shard(claim.offer);
        let budget = shard.entry(claim.offer).or_default();
        budget.known = true;
        budget.sweep(now);
        budget.forget_before(claim.window_from);
        if budget.open.contains_key(&decision) {
            budget.add_record(decision, record);
            return true;
        }
        if budget.used(claim.window_from, now) >= claim.max {
            return false;
        }
        budget.hold(decision, lapses);
        budget.add_record(decision, record);
        true
    }

    /// Gives a unit back, with the last of its records, or for all of them without
    /// one: an open unit, or one that is permanent only because it was decided.
    /// Answers the bucket that changed and its count.
    pub(super) fn release(&self, decision: DecisionId, (offer, record): (OfferId, RecordRef)) -> Option<(i64, u64)> {
        let mut shard = self.shard(offer);
        let budget = shard.get_mut(&offer)?;
        if budget.needs_still(decision, record) {
            return None;
        }
        if budget.drop_claim(decision) || budget.confirmed.get(&decision) != Some(&Sign::Decided) {
            return None;
        }
        budget.confirmed.remove(&decision);
        let bucket = bucket_of_decision(decision);
        let count = budget.seen.get_mut(&bucket).filter(|count| **count > 0)?;
        *count -= 1;
        budget.seen_total -= 1;
        Some((bucket, *count))
    }

    /// Makes a presentation's unit permanent, once. A claim that lapsed before
    /// is counted too: it happened. Offers without a budget are not counted.
    /// Answers the bucket that changed and its count.
    pub(super) fn confirm(&self, presentation: &Presentation, sign: Sign) -> Option<(i64, u64)> {
        let mut shard = self.shard(presentation.offer);
        let budget = shard.get_mut(&presentation.offer)?;
        let decision = presentation.decision;
        if let Some(known) = budget.confirmed.get_mut(&decision) {
            if sign == Sign::Seen {
                *known = Sign::Seen;
            }
            budget.add_record(decision, presentation.record);
            return None;
        }
        let claimed = budget.open.get(&decision).copied();
        budget.drop_claim(decision);
        if claimed.is_none() && !budget.known {
            return None;
        }
        budget.remember(decision, sign, claimed.unwrap_or(presentation.until).max(presentation.until));
        budget.add_record(decision, presentation.record);
        let bucket = bucket_of_decision(decision);
        budget.count_seen(bucket, 1);
        budget.seen.get(&bucket).map(|count| (bucket, *count))
    }

    /// A presentation whose unit is permanent already reached somebody.
    pub(super) fn reached(&self, decision: DecisionId, offer: OfferId) {
        if let Some(known) = self.shard(offer).get_mut(&offer).and_then(|b| b.confirmed.get_mut(&decision)) {
            *known = Sign::Seen;
        }
    }

    /// After a restart: a unit that is counted as seen already.
    pub(crate) fn restore_confirmed(&self, presentation: &Presentation, sign: Sign) {
        let mut shard = self.shard(presentation.offer);
        let Some(budget) = shard.get_mut(&presentation.offer) else { return };
        let claimed = budget.open.get(&presentation.decision).copied();
        budget.drop_claim(presentation.decision);
        budget.remember(presentation.decision, sign, claimed.unwrap_or(presentation.until).max(presentation.until));
        budget.add_record(presentation.decision, presentation.record);
    }

    /// After a restart: a unit that was given back already.
    pub(crate) fn restore_release(&self, decision: DecisionId, (offer, record): (OfferId, RecordRef)) {
        if let Some(budget) = self.shard(offer).get_mut(&offer)
            && !budget.needs_still(decision, record)
        {
            budget.drop_claim(decision);
            budget.confirmed.remove(&decision);
        }
    }

    /// Whether anything was ever claimed from or seen of the offer's budget.
    pub(crate) fn knows(&self, offer: OfferId) -> bool {
        self.shard(offer).get(&offer).is_some_and(|budget| budget.known)
    }

    /// Puts a claim back after a restart.
    pub(crate) fn restore_claim(&self, presentation: &Presentation) {
        let Presentation { decision, offer, record, until } = *presentation;
        let mut shard = self.shard(offer);
        let budget = shard.entry(offer).or_default();
        budget.hold(decision, until);
        budget.add_record(decision, record);
    }

    /// Whether presentations of the offer may have been counted as seen.
    pub(crate) fn counts(&self, offer: OfferId) -> bool {
        self.shard(offer).get(&offer).is_some_and(|budget| budget.known || budget.seen_total > 0)
    }

    /// Puts what was seen back after a restart; [`KNOWN`] tells that the offer
    /// has a budget.
    pub(crate) fn restore_seen(&self, offer: OfferId, bucket: i64, count: u64) {
        let mut shard = self.shard(offer);
        let budget = shard.entry(offer).or_default();
        if bucket == KNOWN {
            budget.known = true;
        } else {
            budget.count_seen(bucket, count);
        }
    }

    /// Forgets claims that lapsed.
    pub(crate) fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values_mut().for_each(|budget| budget.sweep(now));
        }
    }

    fn shard(&self, offer: OfferId) -> MutexGuard<'_, HashMap<OfferId, Budget>> {
        let at = (offer.0 as usize) % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// Open and seen in the window. Open claims count wherever the window began.
    fn used(&self, window_from: Timestamp, now: Timestamp) -> u64 {
        let before = self.seen.range(..bucket_of(window_from)).map(|(_, count)| count).sum::<u64>();
        let lapsed = self.lapsing.range(..=(now, DecisionId(u128::MAX))).count();
        (self.open.len() - lapsed) as u64 + self.seen_total - before
    }

    fn hold(&mut self, decision: DecisionId, lapses: Timestamp) {
        self.drop_claim(decision);
        self.open.insert(decision, lapses);
        self.lapsing.insert((lapses, decision));
    }

    fn drop_claim(&mut self, decision: DecisionId) -> bool {
        let Some(lapses) = self.open.remove(&decision) else { return false };
        self.lapsing.remove(&(lapses, decision))
    }

    /// A unit is for a record too.
    fn add_record(&mut self, decision: DecisionId, record: RecordRef) {
        if record.is_some() {
            let records = self.records.entry(decision).or_default();
            if !records.contains(&record) {
                records.push(record);
            }
        }
    }

    /// Takes a record from a unit, or all without one; whether another one needs
    /// the unit still.
    fn needs_still(&mut self, decision: DecisionId, record: RecordRef) -> bool {
        let Some(records) = self.records.get_mut(&decision) else { return false };
        if record.is_some() {
            records.retain(|one| *one != record);
            if !records.is_empty() {
                return true;
            }
        }
        self.records.remove(&decision);
        false
    }

    fn remember(&mut self, decision: DecisionId, sign: Sign, until: Timestamp) {
        self.confirmed.insert(decision, sign);
        self.forgetting.insert((until, decision));
    }

    fn sweep(&mut self, now: Timestamp) {
        while let Some((until, decision)) = self.forgetting.first().copied()
            && until <= now
        {
            self.forgetting.pop_first();
            self.confirmed.remove(&decision);
            if !self.open.contains_key(&decision) {
                self.records.remove(&decision);
            }
        }
        while let Some((lapses, decision)) = self.lapsing.first().copied()
            && lapses <= now
        {
            self.lapsing.pop_first();
            self.open.remove(&decision);
            if !self.confirmed.contains_key(&decision) {
                self.records.remove(&decision);
            }
        }
    }

    fn count_seen(&mut self, bucket: i64, count: u64) {
        *self.seen.entry(bucket).or_default() += count;
        self.seen_total += count;
        if self.seen.len() > BUCKETS_MAX
            && let Some((_, forgotten)) = self.seen.pop_first()
        {
            self.seen_total -= forgotten;
        }
    }

    /// Windows only move forward; what they left behind is not needed again.
    fn forget_before(&mut self, window_from: Timestamp) {
        while let Some(first) = self.seen.first_entry()
            && *first.key() < bucket_of(window_from)
        {
            self.seen_total -= first.remove();
        }
    }
}

fn bucket_of(at: Timestamp) -> i64 {
    at.0.div_euclid(BUCKET_US)
}

fn bucket_of_decision(decision: DecisionId) -> i64 {
    bucket_of(Timestamp::from_millis(i64::try_from(decision.unix_ms()).unwrap_or(i64::MAX)))
}
