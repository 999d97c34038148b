//! Offers that are proposed for each record of a list.

use crate::domain::{AttrId, AttrSlot, Facts, ValueRef};

use super::Offer;

/// Most records that an offer is proposed for, whatever the list may hold: the first
/// by key of which its conditions are true.
pub const EACH_MAX: u16 = 16;

/// For the records of which list an offer is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Each {
    /// The list.
    pub list: AttrId,
    /// The keys of its records, as conditions read them.
    pub keys: AttrSlot,
    /// The most records that the list may hold: none behind these is looked at.
    pub max: u16,
    /// Whether a page may hold the offer more than once.
    pub repeat: Repeat,
}

/// How often a page may hold an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Repeat {
    /// For the best record alone.
    #[default]
    Never,
    /// Once for each record.
    ByRecord,
}

impl Each {
    /// Where the records stand that the offer may be looked at for, by key; none
    /// when the list must not be read.
    pub fn places<'a>(&self, facts: &Facts<'a>) -> impl Iterator<Item = u16> + use<'a> {
        facts.profile.places_of(self.list, if self.is_read(facts) { self.max } else { 0 })
    }

    /// The records that stand behind so many of the list: those that are not looked
    /// at, when the list was left there.
    pub fn behind<'a>(&self, facts: &Facts<'a>, looked: usize) -> impl Iterator<Item = u16> + use<'a> {
        let all = facts.profile.places_of(self.list, if self.is_read(facts) { u16::MAX } else { 0 });
        all.skip(looked)
    }

    fn is_read(&self, facts: &Facts<'_>) -> bool {
        matches!(facts.get(self.keys), ValueRef::Set(keys) if !keys.is_empty())
    }
}

impl Offer {
    /// Whether its conditions are all true: of an offer for each record, whether
    /// they are for any. Allocates nothing.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let all = |facts: &Facts<'_>| self.conditions().all(|condition| condition.holds(facts));
        match self.each {
            Some(each) => each.places(facts).any(|at| all(&facts.with_record(Some(at)))),
            None => all(facts),
        }
    }

    /// The facts that its conditions are explained with: of an offer for each
    /// record those of the first that passes, else of the first.
    pub fn facts_told<'a>(&self, facts: &Facts<'a>) -> Facts<'a> {
        let Some(each) = self.each else { return *facts };
        let all = |at: &u16| self.conditions().all(|condition| condition.holds(&facts.with_record(Some(*at))));
        facts.with_record(each.places(facts).find(all).or_else(|| each.places(facts).next()))
    }
}
