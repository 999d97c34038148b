//! Stage 1: the offers that may answer the question at all.

use crate::domain::{Reason, Stage};

use super::{
    pass::Pass,
    question::{Asked, Question, Questions},
    sieve, visitor,
};

/// Sieves the offers of all questions by what holds for the whole decision.
pub(super) fn sieve(pass: &mut Pass<'_>) {
    let (plan, request) = (pass.plan, pass.inputs.request);
    let sieve = &mut pass.tables.sieve;
    sieve.begin(plan.offers.len);
    for question in Questions::of(pass.inputs) {
        if let Asked::Known(question) = question {
            sieve.add(plan.offers.meant(question.placement));
        }
    }
    sieve.narrow(Reason::OutsideSchedule, |set| pass.rules.index.keep_scheduled(pass.inputs.now, set));
    if let Some(purpose) = request.purpose {
        sieve.narrow(Reason::OtherPurpose, |set| set.intersect(plan.offers.purpose(purpose)));
    }
    if !request.exclude_offers.is_empty() {
        let excluded = request.exclude_offers.iter().filter_map(|id| plan.offer(*id));
        sieve.narrow(Reason::ExcludedByRequest, |set| excluded.for_each(|offer| set.remove(offer)));
    }
    if let Some(verified) = &plan.offers.verified
        && !visitor::is_verified(pass.inputs)
    {
        sieve.narrow(Reason::NotVerified, |set| set.subtract(verified));
    }
    sieve.narrow(Reason::Paused, |set| set.subtract(&pass.paused.offers));
}

/// Keeps the offers of a question that come through: those meant for the
/// placement, or all that may answer an open question. Others are counted
/// always, and listed when the full trace lists every offer.
pub(super) fn retrieve(pass: &mut Pass<'_>, question: &Question<'_>) {
    let (rules, meant) = (pass.rules, pass.plan.offers.meant(question.placement));
    pass.tables.offers_left = meant.len() as u32;
    pass.ranking.counts[Reason::NotForPlacement as usize] +=
        (pass.plan.offers.len as u32).saturating_sub(pass.tables.offers_left);
    drop_sieved(pass, question, Stage::Retrieve);
    if pass.ranking.verdicts.is_some() {
        for offer in rules.offers.iter().filter(|o| !meant.contains(o.slot)) {
            pass.list_offer(question, offer.slot, Reason::NotForPlacement);
        }
    }
}

/// Counts, and for the full trace lists, what the steps of a stage dropped of
/// a question's offers.
pub(super) fn drop_sieved(pass: &mut Pass<'_>, question: &Question<'_>, stage: Stage) {
    let meant = pass.plan.offers.meant(question.placement);
    for at in 0..pass.tables.sieve.len() {
        let (reason, left) = pass.tables.sieve.step(at);
        if reason.stage() == stage {
            let left = sieve::shared_len(meant, left);
            pass.count(reason, pass.tables.offers_left - left);
            pass.tables.offers_left = left;
        }
    }
    if pass.ranking.verdicts.is_some() {
        for offer in meant.iter() {
            let reason = pass.tables.sieve.dropped_for(offer);
            if let Some(reason) = reason.filter(|reason| reason.stage() == stage) {
                pass.list_offer(question, offer, reason);
            }
        }
    }
}
