//! The records that offers are proposed for: which of them pass the engagement
//! policy, worked out once per decision for the offers that are still in.

use crate::{
    domain::{Facts, OfferSet, OfferSlot, Reason},
    rules::{EACH_MAX, Each, Offer, Ruleset},
};

/// A record of an offer that is proposed for each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// The offer.
    pub offer: OfferSlot,
    /// Where the record stands in the profile.
    pub record: u16,
    /// The first condition that is not true of it, or that it was not looked at;
    /// `None` when it passes.
    pub dropped: Option<Reason>,
}

/// The records of the offers of one decision, by offer, then by key.
#[derive(Default)]
pub(super) struct Records {
    looked: Vec<Looked>,
}

impl Records {
    /// Looks at the records of the offers that are left.
    pub fn look(&mut self, (rules, offers): (&Ruleset, &[(OfferSlot, Each)]), facts: &Facts<'_>, left: &OfferSet) {
        self.looked.clear();
        for (slot, each) in offers.iter().filter(|(slot, _)| left.contains(*slot)) {
            let offer = rules.offer(*slot);
            let (mut passed, mut seen) = (0, 0);
            for record in each.places(facts) {
                if passed == EACH_MAX {
                    break;
                }
                let dropped = dropped(offer, facts, record);
                passed += u16::from(dropped.is_none());
                seen += 1;
                self.looked.push(Looked { offer: *slot, record, dropped });
            }
            let left = each.behind(facts, seen);
            self.looked.extend(left.map(|record| Looked { offer: *slot, record, dropped: Some(Reason::NotLookedAt) }));
        }
    }

    /// Those of an offer; none where it is not proposed for each record.
    #[inline]
    pub fn of(&self, offer: OfferSlot) -> &[Looked] {
        if self.looked.is_empty() {
            return &[];
        }
        let from = self.looked.partition_point(|one| one.offer < offer);
        let len = self.looked[from..].iter().take_while(|one| one.offer == offer).count();
        &self.looked[from..from + len]
    }

    /// How many there are of all offers.
    pub fn len(&self) -> usize {
        self.looked.len()
    }

    /// One of all offers, by its index.
    pub fn get(&self, at: usize) -> Option<Looked> {
        self.looked.get(at).copied()
    }
}

fn dropped(offer: &Offer, facts: &Facts<'_>, record: u16) -> Option<Reason> {
    let facts = facts.with_record(Some(record));
    let conditions = [
        (&offer.eligibility, Reason::NotEligible),
        (&offer.applicability, Reason::NotApplicable),
        (&offer.suitability, Reason::NotSuitable),
    ];
    let fails = |condition: &Option<std::sync::Arc<crate::rules::Condition>>| {
        condition.as_ref().is_some_and(|condition| !condition.holds(&facts))
    };
    conditions.into_iter().find_map(|(condition, reason)| fails(condition).then_some(reason))
}
