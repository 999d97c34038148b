//! The index over all conditions: which offers a customer passes, in time that
//! hardly grows with the number of rules.

use std::sync::Arc;

use crate::domain::{Facts, OfferSet, OfferSlot, Timestamp};

use super::{Condition, Offer};

/// A part of engagement policy. The number is its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// Allowed.
    Eligibility = 0,
    /// Relevant now.
    Applicability = 1,
    /// In the customer's interest.
    Suitability = 2,
}

/// What the index needs of one rule.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// From (inclusive) and until (exclusive) when it runs.
    pub schedule: (Option<Timestamp>, Option<Timestamp>),
    /// Its conditions, at the index of their [`Policy`]; `None` is true.
    pub conditions: [Option<Arc<Condition>>; 3],
}

/// The conditions and schedules of all offers of one ruleset, indexed.
#[derive(Debug, Default)]
pub struct Index {
    rules: Vec<Rule>,
}

/// Buffers of one worker, reused from decision to decision. Allocates only when
/// a ruleset is larger than any before.
#[derive(Debug, Default)]
pub struct IndexBuffers {}

impl Index {
    /// Indexes rules; the rule at an index is that of the offer with that slot.
    pub fn of(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Indexes the offers of a ruleset.
    pub fn of_offers(offers: &[Offer]) -> Self {
        let rule = |offer: &Offer| Rule {
            schedule: offer.schedule,
            conditions: [offer.eligibility.clone(), offer.applicability.clone(), offer.suitability.clone()],
        };
        Self::of(offers.iter().map(rule).collect())
    }

    /// Makes the buffers ready for one decision: what they hold of the facts of
    /// the decision before is forgotten. Call it before the first question.
    pub fn begin(&self, _buffers: &mut IndexBuffers) {}

    /// Keeps in `set` the offers whose schedule holds at `now`.
    pub fn keep_scheduled(&self, now: Timestamp, set: &mut OfferSet) {
        for (at, rule) in self.rules.iter().enumerate() {
            let (from, until) = rule.schedule;
            if from.is_some_and(|from| now < from) || until.is_some_and(|until| now >= until) {
                set.remove(OfferSlot(at as u32));
            }
        }
    }

    /// Keeps in `set` the offers whose condition of this policy is true; an
    /// offer without that condition stays. Facts must be the same for every
    /// call since [`Index::begin`]. Allocates nothing in steady state.
    pub fn keep_true(&self, policy: Policy, facts: &Facts<'_>, _buffers: &mut IndexBuffers, set: &mut OfferSet) {
        for (at, rule) in self.rules.iter().enumerate() {
            let slot = OfferSlot(at as u32);
            let condition = rule.conditions[policy as usize].as_ref();
            if set.contains(slot) && !condition.is_none_or(|c| c.holds(facts)) {
                set.remove(slot);
            }
        }
    }

    /// Memory it holds, bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.rules.capacity() * size_of::<Rule>()
    }
}
