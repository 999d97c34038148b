//! The index over all conditions: which offers a customer passes, in time that
//! hardly grows with the number of rules.

use crate::domain::{Facts, OfferSet, Timestamp};

use super::Offer;

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

/// The conditions and schedules of all offers of one ruleset, indexed.
#[derive(Debug, Default)]
pub struct Index {
    offers: usize,
}

/// Buffers of one worker, reused from decision to decision. Allocates only when
/// a ruleset is larger than any before.
#[derive(Debug, Default)]
pub struct IndexBuffers {}

impl Index {
    /// Indexes the offers of a ruleset, at the index of their slot.
    pub fn of(offers: &[Offer]) -> Self {
        Self { offers: offers.len() }
    }

    /// Makes the buffers ready for one decision: what they hold of the facts of
    /// the decision before is forgotten.
    pub fn begin(&self, _facts: &Facts<'_>, _buffers: &mut IndexBuffers) {}

    /// Keeps in `set` the offers whose schedule holds at `now`: from (inclusive)
    /// until (exclusive).
    pub fn keep_scheduled(&self, offers: &[Offer], now: Timestamp, set: &mut OfferSet) {
        for offer in offers {
            let (from, until) = offer.schedule;
            if from.is_some_and(|from| now < from) || until.is_some_and(|until| now >= until) {
                set.remove(offer.slot);
            }
        }
    }

    /// Keeps in `set` the offers whose condition of this policy is true; an
    /// offer without that condition stays.
    pub fn keep_true(
        &self,
        offers: &[Offer],
        policy: Policy,
        facts: &Facts<'_>,
        _b: &mut IndexBuffers,
        set: &mut OfferSet,
    ) {
        debug_assert_eq!(self.offers, offers.len());
        for offer in offers {
            let condition = match policy {
                Policy::Eligibility => &offer.eligibility,
                Policy::Applicability => &offer.applicability,
                Policy::Suitability => &offer.suitability,
            };
            if set.contains(offer.slot) && !condition.as_ref().is_none_or(|c| c.holds(facts)) {
                set.remove(offer.slot);
            }
        }
    }

    /// Memory it holds, bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}
