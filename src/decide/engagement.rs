//! Stage 2: engagement policy. Eligible (allowed), applicable (relevant now),
//! suitable (in the customer's interest); never sees a score.

use crate::{
    domain::{Facts, OfferSlot, Reason},
    rules::{Condition, FailedLiteral, Offer},
};

use super::{
    gates::Gated,
    scratch::{Pass, Question},
};

/// Keeps the offers whose three conditions are true. Each offer is evaluated
/// once per decision, however many placements ask.
pub(super) fn engagement(pass: &mut Pass<'_>, question: &Question<'_>) {
    let mut kept = 0;
    for at in 0..pass.tables.offers.len() {
        let slot = pass.tables.offers[at];
        let failed = match pass.tables.memos[slot.index()].engagement {
            Some(known) => known,
            None => failed(pass, slot),
        };
        pass.tables.memos[slot.index()].engagement = Some(failed);
        match failed {
            Some(reason) => pass.drop_offer(question, slot, reason),
            None => {
                pass.tables.offers[kept] = slot;
                kept += 1;
            }
        }
    }
    pass.tables.offers.truncate(kept);
}

fn failed(pass: &Pass<'_>, slot: OfferSlot) -> Option<Reason> {
    [Reason::NotEligible, Reason::NotApplicable, Reason::NotSuitable].into_iter().enumerate().find_map(
        |(policy, reason)| {
            let holds = match pass.plan.gates.test(slot, policy, &pass.tables.gated) {
                Gated::Fails => false,
                Gated::Holds => true,
                Gated::Open => condition(pass.rules.offer(slot), policy).is_none_or(|c| c.holds(&pass.facts)),
            };
            (!holds).then_some(reason)
        },
    )
}

/// Eligibility, applicability or suitability (0, 1, 2) of an offer.
fn condition(offer: &Offer, policy: usize) -> Option<&Condition> {
    [&offer.eligibility, &offer.applicability, &offer.suitability].get(policy).and_then(|c| c.as_deref())
}

/// The literals that keep an offer's conditions from being true, with the name
/// of the condition.
pub(super) fn literals(offer: &Offer, facts: &Facts<'_>) -> Vec<(&'static str, FailedLiteral)> {
    let conditions = [
        ("eligibility", &offer.eligibility),
        ("applicability", &offer.applicability),
        ("suitability", &offer.suitability),
    ];
    let mut found = Vec::new();
    for (name, condition) in conditions {
        for literal in condition.iter().flat_map(|c| c.failed(facts)) {
            found.push((name, literal));
        }
    }
    found
}
