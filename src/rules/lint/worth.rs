//! Offers that can never be worth it, that are over, or whose limits are idle.

use crate::{
    domain::Timestamp,
    rules::{Limit, Number, Offer, Ruleset},
};

use super::{EXPIRED_SCHEDULE, Findings, IDLE_LIMIT, NEVER_WORTH_IT};

/// Looks at an offer.
pub fn of_offer(findings: &mut Findings, offer: &Offer, (ruleset, now): (&Ruleset, Timestamp)) {
    let id = &offer.name_id;
    if offer.schedule.1.is_some_and(|until| until <= now) {
        let message = format!("the schedule of `{id}` has ended: take the offer out, or give it another `until`");
        findings.tell_of(offer, EXPIRED_SCHEDULE, (&offer.position, message));
    }
    if let Some(why) = never_worth_it(offer, ruleset) {
        let message = format!("`{id}` can never win, {why}: doing nothing is always better");
        findings.tell_of(offer, NEVER_WORTH_IT, (&offer.position, message));
    }
    for slot in &offer.limits {
        let Some(limit) = ruleset.limits.get(slot.index()) else { continue };
        let others = offer.limits.iter().filter_map(|slot| ruleset.limits.get(slot.index()));
        if limit.offer == Some(offer.slot)
            && let Some(first) = others.into_iter().find(|other| reached_before(other, limit))
        {
            let message =
                format!("the limit `{}` never bites: the limit `{}` is reached first", limit.name, first.name);
            findings.tell_of(offer, IDLE_LIMIT, (&offer.position, message));
        }
    }
}

/// Why an offer can never win, from its constants. The net priority is
/// propensity x (value - cost) x context weight x preference x lever.
fn never_worth_it(offer: &Offer, ruleset: &Ruleset) -> Option<&'static str> {
    if offer.lever <= 0.0 {
        return Some("its lever is 0");
    }
    if matches!(offer.context_weight, Some(Number::Constant(weight)) if weight <= 0.0) {
        return Some("its context weight is 0");
    }
    let Number::Constant(value) = offer.value else { return None };
    let costs = offer.treatments.iter().filter_map(|t| ruleset.channels.get(t.channel.index())).map(|c| c.cost);
    let cheapest = costs.min_by(f64::total_cmp)?;
    (value <= cheapest).then_some("its value is not above the cost of any of its channels")
}

/// Whether a limit is always reached before another one of the same offer: it
/// counts at least the same contacts in the same window, and allows fewer, or
/// as many and counts for more offers.
fn reached_before(first: &Limit, other: &Limit) -> bool {
    if first.slot == other.slot || first.window != other.window {
        return false;
    }
    let wider = first.channel.is_none_or(|channel| other.channel == Some(channel))
        && first.channel_kind.is_none_or(|kind| other.channel_kind == Some(kind));
    let fewer = first.max < other.max || (first.max == other.max && (first.offer.is_none() || first.slot < other.slot));
    wider && fewer
}
