//! Stage 5: what a candidate is worth, and the holdout.

use crate::{
    domain::{Factors, Match, Purpose, Reason},
    rules::Offer,
};

use super::{
    holdout, reach,
    scratch::{Candidate, Pass},
    trace::Detail,
};

/// Fills the factors of the open candidates. A value that cannot be computed
/// drops the candidate; a context weight that cannot is neutral. Marketing of a
/// held-out customer is dropped after that, so that both arms are counted at
/// the same point.
pub(super) fn score(pass: &mut Pass<'_>) {
    let held_out = pass.inputs.matched == Match::Known && holdout::in_holdout(pass.rules, pass.inputs.profile.arm_key);
    let mut pool = std::mem::take(&mut pass.tables.pool);
    for candidate in pool.iter_mut().filter(|c| c.is_open()) {
        let offer = pass.rules.offer(candidate.offer);
        match factors(pass, offer, candidate) {
            None => candidate.drop_for(Reason::ValueUnknown, Detail::None),
            Some(factors) => candidate.factors = factors,
        }
        let concerned = offer.purpose == Purpose::Marketing && !offer.holdout_exempt;
        if concerned && candidate.is_open() {
            pass.ranking.exposable |= is_worth_it(offer, candidate.factors.net_priority);
            if held_out {
                pass.ranking.holdout_hit = pass.ranking.exposable;
                candidate.drop_for(Reason::Holdout, Detail::None);
            }
        }
    }
    pass.tables.pool = pool;
}

/// Whether a net priority beats doing nothing and reaches the floor.
pub(super) fn is_worth_it(offer: &Offer, net_priority: f64) -> bool {
    net_priority > 0.0 && offer.floor.is_none_or(|floor| net_priority >= floor)
}

fn factors(pass: &mut Pass<'_>, offer: &Offer, candidate: &Candidate) -> Option<Factors> {
    let preference = reach::state(pass, candidate.channel).preference;
    let rate = pass.inputs.snapshot.models.rate(candidate.offer, candidate.channel);
    let value = offer.value.value(&pass.facts)?;
    let channel_cost = pass.rules.channel(candidate.channel).cost;
    let stated = offer.context_weight.as_ref().and_then(|w| w.value(&pass.facts));
    let context_weight = stated.map_or(1.0, |w| w.max(0.0));
    let net = rate.propensity * (value - channel_cost) * context_weight * preference * offer.lever;
    net.is_finite().then_some(Factors {
        propensity: rate.propensity,
        evidence: rate.trials,
        value,
        channel_cost,
        context_weight,
        preference,
        lever: offer.lever,
        net_priority: net,
        choice_probability: 0.0,
    })
}
