//! Stage 2: engagement policy. Eligible (allowed), applicable (relevant now),
//! suitable (in the customer's interest); never sees a score.

use crate::{
    domain::{Facts, Reason, Stage},
    rules::{FailedLiteral, Offer, Policy},
};

use super::{each::Looked, pass::Pass, question::Question, retrieve::drop_sieved, scratch::Tables};

/// Sieves the offers of all questions by their three conditions: each is
/// evaluated once per decision, however many placements ask.
pub(super) fn sieve(pass: &mut Pass<'_>) {
    let (index, facts) = (&pass.rules.index, &pass.facts);
    let Tables { sieve, index: buffers, .. } = &mut *pass.tables;
    for (policy, reason) in [
        (Policy::Eligibility, Reason::NotEligible),
        (Policy::Applicability, Reason::NotApplicable),
        (Policy::Suitability, Reason::NotSuitable),
    ] {
        sieve.narrow(reason, |set| index.keep_true(policy, facts, buffers, set));
    }
    let each = (pass.rules, &pass.plan.offers.each[..]);
    pass.tables.records.look(each, &pass.facts, pass.tables.sieve.left());
}

/// Keeps the offers of a question whose three conditions are true.
pub(super) fn engagement(pass: &mut Pass<'_>, question: &Question<'_>) {
    drop_sieved(pass, question, Stage::Engagement);
    let Tables { sieve, offers, .. } = &mut *pass.tables;
    offers.copy_from(pass.plan.offers.meant(question.placement));
    offers.intersect(sieve.left());
    drop_records(pass, question);
}

/// Counts, and for the full trace lists, the records that are not proposed of
/// offers that are for others.
fn drop_records(pass: &mut Pass<'_>, question: &Question<'_>) {
    for at in 0..pass.tables.records.len() {
        let Some(Looked { offer, record, dropped: Some(reason) }) = pass.tables.records.get(at) else { continue };
        if pass.tables.offers.contains(offer) {
            pass.count(reason, 1);
            pass.list_record(question, (offer, record), reason);
        }
    }
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
