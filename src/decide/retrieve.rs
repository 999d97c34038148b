//! Stage 1: the offers that may answer the question at all.

use crate::domain::{OfferSlot, Reason};

use super::scratch::{Pass, Question};

/// Fills the offers of a question: those meant for the placement, or all that
/// may answer an open question. Others are counted always,
/// and listed when the full trace lists every offer.
pub(super) fn retrieve(pass: &mut Pass<'_>, question: &Question<'_>) {
    pass.tables.offers.clear();
    let rules = pass.rules;
    let mut meant = 0;
    match question.placement {
        Some(placement) => {
            for slot in rules.offers_by_placement.get(placement.slot.index()).into_iter().flatten() {
                admit(pass, question, *slot);
                meant += 1;
            }
        }
        None => {
            for offer in rules.offers.iter().filter(|o| o.open) {
                admit(pass, question, offer.slot);
                meant += 1;
            }
        }
    }
    pass.ranking.counts[Reason::NotForPlacement as usize] += rules.offers.len().saturating_sub(meant) as u32;
    if pass.ranking.verdicts.is_some() {
        list_others(pass, question);
    }
}

fn admit(pass: &mut Pass<'_>, question: &Question<'_>, slot: OfferSlot) {
    match refusal(pass, slot) {
        Some(reason) => pass.drop_offer(question, slot, reason),
        None => pass.tables.offers.push(slot),
    }
}

fn refusal(pass: &Pass<'_>, slot: OfferSlot) -> Option<Reason> {
    let (offer, request, now) = (pass.rules.offer(slot), pass.inputs.request, pass.inputs.now);
    let (from, until) = offer.schedule;
    if from.is_some_and(|from| now < from) || until.is_some_and(|until| now >= until) {
        Some(Reason::OutsideSchedule)
    } else if request.purpose.is_some_and(|wanted| wanted != offer.purpose) {
        Some(Reason::OtherPurpose)
    } else if request.exclude_offers.binary_search(&offer.id).is_ok() {
        Some(Reason::ExcludedByRequest)
    } else if offer.paused {
        Some(Reason::Paused)
    } else {
        None
    }
}

fn list_others(pass: &mut Pass<'_>, question: &Question<'_>) {
    let rules = pass.rules;
    for offer in &rules.offers {
        let meant = match question.placement {
            Some(placement) => offer.placements.contains(&placement.slot),
            None => offer.open,
        };
        if !meant {
            pass.list_offer(question, offer.slot, Reason::NotForPlacement);
        }
    }
}
