//! The index over all conditions: which offers a customer passes, in time that
//! hardly grows with the number of rules.
//!
//! A condition is laid out as rows of literals; it is true where every literal
//! of some row is satisfied. For each subject that literals are about (an
//! attribute, a difference to now) there is a column of bits, one per row, for
//! each cell of its values: the rows whose literals that value satisfies. A
//! decision reads each subject once and keeps the rows that are in every column.
//!
//! `draft` builds; `space` holds the rows of one policy; `columns`, `cells` and
//! `residual` hold their literals; `live` is the rows that are still in.

mod cells;
mod columns;
mod dictionary;
mod draft;
mod live;
mod residual;
mod schedule;
mod space;
mod subjects;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::domain::{Facts, OfferSet, OfferSlot, Timestamp};

use super::{Condition, Each, Offer};
use draft::Draft;
use schedule::Schedules;
use space::{Buffers, Space};
use subjects::Subjects;

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
    subjects: Subjects,
    /// By [`Policy`].
    spaces: [Space; 3],
    schedules: Schedules,
    /// Offers that are proposed for each record of a list: none of their
    /// conditions is in a space.
    each: Box<[EachRule]>,
}

/// An offer that is proposed for each record of a list.
#[derive(Debug)]
struct EachRule {
    offer: OfferSlot,
    each: Each,
    /// At the index of their [`Policy`].
    conditions: [Option<Arc<Condition>>; 3],
}

impl EachRule {
    /// Whether there is a record of which the condition of this policy is true and
    /// so are those before it.
    fn holds(&self, policy: Policy, facts: &Facts<'_>) -> bool {
        let all = |facts: &Facts<'_>| {
            let mut conditions = self.conditions[..=policy as usize].iter().flatten();
            conditions.all(|condition| condition.holds(facts))
        };
        self.each.places(facts).any(|at| all(&facts.with_record(Some(at))))
    }
}

/// Buffers of one worker, reused from decision to decision. Allocates only when
/// a ruleset is larger than any before.
#[derive(Debug, Default)]
pub struct IndexBuffers {
    buffers: Buffers,
}

impl Index {
    /// Indexes rules; the rule at an index is that of the offer with that slot.
    pub fn of(rules: Vec<Rule>) -> Self {
        let schedules: Vec<_> = rules.iter().map(|rule| rule.schedule).collect();
        let mut draft = Draft::default();
        let mut by_policy = [const { Vec::new() }; 3];
        for rule in rules {
            by_policy.iter_mut().zip(rule.conditions).for_each(|(list, condition)| list.push(condition));
        }
        let spaces = by_policy.map(|conditions| draft.space(conditions));
        Self { subjects: draft.subjects(), spaces, schedules: Schedules::of(&schedules), each: Box::default() }
    }

    /// Indexes the offers of a ruleset.
    pub fn of_offers(offers: &[Offer]) -> Self {
        let conditions =
            |offer: &Offer| [offer.eligibility.clone(), offer.applicability.clone(), offer.suitability.clone()];
        let rule = |offer: &Offer| Rule {
            schedule: offer.schedule,
            conditions: if offer.each.is_none() { conditions(offer) } else { Default::default() },
        };
        let each =
            |offer: &Offer| Some(EachRule { offer: offer.slot, each: offer.each?, conditions: conditions(offer) });
        Self { each: offers.iter().filter_map(each).collect(), ..Self::of(offers.iter().map(rule).collect()) }
    }

    /// Makes the buffers ready for one decision: what they hold of the facts of
    /// the decision before is forgotten. Call it before the first question.
    pub fn begin(&self, buffers: &mut IndexBuffers) {
        buffers.buffers.readings.begin(&self.subjects);
    }

    /// Keeps in `set` the offers whose schedule holds at `now`.
    pub fn keep_scheduled(&self, now: Timestamp, set: &mut OfferSet) {
        self.schedules.keep(now, set);
    }

    /// Keeps in `set` the offers whose condition of this policy is true; an
    /// offer without that condition stays. One that is proposed for each record
    /// stays while some record passes this condition and those before it. Facts must be the same for every
    /// call since [`Index::begin`]. Allocates nothing in steady state.
    // INVARIANT: the set is for as many offers as the index.
    pub fn keep_true(&self, policy: Policy, facts: &Facts<'_>, buffers: &mut IndexBuffers, set: &mut OfferSet) {
        let space = &self.spaces[policy as usize];
        if !space.conditions.is_empty() {
            match set.len() <= space.worth_walking_max() {
                true => space.walk(facts, set),
                false => self.look_up(policy, facts, buffers, set),
            }
        }
        for rule in &self.each {
            if set.contains(rule.offer) && !rule.holds(policy, facts) {
                set.remove(rule.offer);
            }
        }
    }

    /// As [`Index::keep_true`], however few offers are asked about.
    fn look_up(&self, policy: Policy, facts: &Facts<'_>, buffers: &mut IndexBuffers, set: &mut OfferSet) {
        let space = &self.spaces[policy as usize];
        buffers.buffers.readings.fit(&self.subjects);
        if space.keep((&self.subjects, facts), &mut buffers.buffers, set).is_err() {
            space.walk(facts, set);
        }
    }

    /// Memory it owns, bytes; conditions are shared with the offers.
    pub fn bytes(&self) -> usize {
        let spaces: usize = self.spaces.iter().map(Space::bytes).sum();
        size_of::<Self>() + self.subjects.bytes() + spaces + self.schedules.bytes()
    }
}
