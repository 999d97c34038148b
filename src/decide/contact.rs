//! Stage 4: contact policy. Earlier answers, limits, quiet hours, budgets,
//! refused claims.

use crate::{
    domain::{Reason, Timestamp, ValueRef},
    rules::{Channel, Offer, QuietHours},
};

use super::{calendar, history::Mark, pass::Pass, question::Question, reach, scratch::Candidate, trace::Detail};

/// Drops the candidates that contact policy holds back.
pub(super) fn contact(pass: &mut Pass<'_>, question: &Question<'_>) {
    let nothing_binds =
        !pass.tables.history.binds() && pass.inputs.exhausted.is_empty() && pass.inputs.denied.is_empty();
    if nothing_binds && pass.tables.channels.iter().flatten().all(|state| state.quiet_until.is_none()) {
        return;
    }
    // Taken out and put back, so that candidates change in place.
    let mut pool = std::mem::take(&mut pass.tables.pool);
    for candidate in pool.iter_mut().filter(|c| c.is_open()) {
        if !nothing_binds || reach::state(pass, candidate.channel).quiet_until.is_some() {
            hold_back(pass, question, candidate);
        }
    }
    pass.tables.pool = pool;
}

fn hold_back(pass: &mut Pass<'_>, question: &Question<'_>, candidate: &mut Candidate) {
    let offer = pass.rules.offer(candidate.offer);
    let history = &pass.tables.history;
    if let Some(mark) = history.suppressed(pass.rules, offer, candidate.channel) {
        candidate.drop_for(reason(pass, mark), Detail::After(mark));
    } else if let Some((limit, count)) = history.limit_reached(pass.plan, candidate.offer, candidate.channel) {
        candidate.drop_for(Reason::LimitReached, Detail::Limit { limit, count });
    } else if !outside_quiet_hours(pass, question, offer, candidate) {
        // Dropped with its detail.
    } else if pass.tables.exhausted.contains(candidate.offer) {
        candidate.drop_for(Reason::BudgetExhausted, Detail::None);
    } else if let Some(denied) = pass.inputs.denied.iter().rfind(|d| d.offer == candidate.offer) {
        candidate.drop_for(denied.reason, Detail::None);
    }
}

fn reason(pass: &Pass<'_>, mark: Mark) -> Reason {
    match pass.rules.suppressions[mark.rule as usize].outcome {
        crate::domain::OutcomeType::Decline => Reason::RecentlyDeclined,
        _ => Reason::Suppressed,
    }
}

/// Drops a candidate in quiet hours, or makes it wait for their end where the
/// channel allows an open question to do so and the offer still runs then.
fn outside_quiet_hours(pass: &mut Pass<'_>, question: &Question<'_>, offer: &Offer, candidate: &mut Candidate) -> bool {
    let Some(until) = reach::state(pass, candidate.channel).quiet_until else { return true };
    let may_wait = pass.rules.channel(candidate.channel).quiet_hours.as_ref().is_some_and(|q| q.wait);
    let still_runs = offer.schedule.1.is_none_or(|end| until < end);
    if question.placement.is_none() && may_wait && still_runs {
        candidate.waits = true;
        return true;
    }
    candidate.drop_for(Reason::QuietHours, Detail::QuietUntil(until));
    false
}

/// The end of quiet hours that hold now on a channel, in the customer's zone.
pub(super) fn quiet_until(pass: &mut Pass<'_>, channel: &Channel) -> Option<Timestamp> {
    let hours: &QuietHours = channel.quiet_hours.as_ref()?;
    let named = match pass.rules.time_zone_attribute.map(|slot| pass.facts.get(slot)) {
        Some(ValueRef::Text(name)) => pass.tables.zones.get(name),
        _ => None,
    };
    calendar::quiet_until(hours, pass.inputs.now, named.unwrap_or(&pass.rules.time_zone))
}
