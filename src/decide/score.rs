//! Stage 5: what a candidate is worth, and the holdout.

use crate::domain::{ChannelSlot, Factors, Match, OfferSlot, Reason};

use super::{holdout, pass::Pass, plan::Card, trace::Detail};

/// Values the open candidates. A value that cannot be computed drops the
/// candidate; a context weight that cannot is neutral. Marketing of a held-out
/// customer is dropped after that, so that both arms are counted at the same
/// point.
pub(super) fn score(pass: &mut Pass<'_>) {
    let held_out = pass.inputs.matched == Match::Known && holdout::in_holdout(pass.rules, pass.inputs.profile.arm_key);
    let mut pool = std::mem::take(&mut pass.tables.pool);
    for candidate in pool.iter_mut().filter(|c| c.is_open()) {
        let card = pass.plan.offers.card(candidate.offer);
        let Some(factors) = factors(pass, card, (candidate.offer, candidate.channel, candidate.record)) else {
            candidate.drop_for(Reason::ValueUnknown, Detail::None);
            continue;
        };
        candidate.net_priority = factors.net_priority;
        if card.held {
            pass.ranking.exposable |= is_worth_it(card, factors.net_priority);
            if held_out {
                pass.ranking.holdout_hit = pass.ranking.exposable;
                candidate.drop_for(Reason::Holdout, Detail::None);
            }
        }
    }
    pass.tables.pool = pool;
}

/// Whether a net priority beats doing nothing and reaches the floor.
fn is_worth_it(card: &Card, net_priority: f64) -> bool {
    net_priority > 0.0 && net_priority >= card.floor
}

/// What makes an offer on a channel worth what it is; `None` when its value
/// cannot be computed.
#[inline]
pub(super) fn factors(
    pass: &Pass<'_>,
    card: &Card,
    (offer, channel, record): (OfferSlot, ChannelSlot, Option<u16>),
) -> Option<Factors> {
    let preference = pass.tables.channels[channel.index()].map_or(1.0, |state| state.preference);
    let rate = pass.inputs.snapshot.models.rate(offer, channel);
    let value = match card.value {
        Some(value) => value,
        None => pass.rules.offer(offer).value.value(&pass.facts.with_record(record))?,
    };
    let channel_cost = pass.rules.channel(channel).cost;
    let context_weight = if card.weighed { context_weight(pass, offer, record) } else { 1.0 };
    let net = rate.propensity * (value - channel_cost) * context_weight * preference * card.lever;
    net.is_finite().then_some(Factors {
        propensity: rate.propensity,
        evidence: rate.trials,
        value,
        channel_cost,
        context_weight,
        preference,
        lever: card.lever,
        net_priority: net,
        choice_probability: 0.0,
    })
}

fn context_weight(pass: &Pass<'_>, offer: OfferSlot, record: Option<u16>) -> f64 {
    let facts = pass.facts.with_record(record);
    let stated = pass.rules.offer(offer).context_weight.as_ref().and_then(|w| w.value(&facts));
    stated.map_or(1.0, |w| w.max(0.0))
}
