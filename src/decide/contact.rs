//! Stage 4: contact policy. Earlier answers, limits, quiet hours, budgets,
//! refused claims.

use crate::{
    customer::permissions,
    domain::{Profile, Purpose, Reason, Timestamp, ValueRef},
    rules::{Channel, ChannelKind, Offer, QuietHours},
};

use super::{
    Denied, calendar,
    history::Mark,
    pass::Pass,
    question::Question,
    reach::{self, ChannelState, Opening},
    scratch::Candidate,
    trace::Detail,
};

/// Drops the candidates that contact policy holds back.
pub(super) fn contact(pass: &mut Pass<'_>, question: &Question<'_>) {
    let nothing_binds =
        !pass.tables.history.binds() && pass.inputs.exhausted.is_empty() && pass.inputs.denied.is_empty();
    if nothing_binds && !pass.tables.channels.iter().flatten().any(ChannelState::binds) {
        return;
    }
    // Taken out and put back, so that candidates change in place.
    let mut pool = std::mem::take(&mut pass.tables.pool);
    for candidate in pool.iter_mut().filter(|c| c.is_open()) {
        if !nothing_binds || reach::state(pass, candidate.channel).binds() {
            hold_back(pass, question, candidate);
        }
    }
    pass.tables.pool = pool;
}

fn hold_back(pass: &mut Pass<'_>, question: &Question<'_>, candidate: &mut Candidate) {
    let offer = pass.rules.offer(candidate.offer);
    let history = &pass.tables.history;
    let record = pass.inputs.profile.record_ref(candidate.record);
    let of = candidate.offer;
    let denies = |d: &&Denied| d.offer == of && (!d.record.is_some() || d.record == record);
    if let Some(mark) = history.suppressed(pass.rules, offer, (candidate.channel, record)) {
        candidate.drop_for(reason(pass, mark), Detail::After(mark));
    } else if let Some((limit, count)) = history.limit_reached(pass.plan, (candidate.offer, candidate.channel, record))
    {
        candidate.drop_for(Reason::LimitReached, Detail::Limit { limit, count });
    } else if let Some(weekly) = pass.tables.history.wishes_no_more().filter(|_| wish_speaks_of(pass, offer, candidate))
    {
        candidate.drop_for(Reason::LimitReached, Detail::Wish(weekly));
    } else if !can_be_said(pass, question, offer, candidate) {
        // Dropped with its detail.
    } else if pass.tables.exhausted.contains(candidate.offer) {
        candidate.drop_for(Reason::BudgetExhausted, Detail::None);
    } else if let Some(denied) = pass.inputs.denied.iter().rfind(denies) {
        candidate.drop_for(denied.reason, Detail::None);
    }
}

/// Whether a candidate is a contact that the customer may wish fewer of: whatever
/// marketing reaches out with.
fn wish_speaks_of(pass: &mut Pass<'_>, offer: &Offer, candidate: &Candidate) -> bool {
    offer.purpose == Purpose::Marketing
        && Opening::of(pass.inputs.request, pass.rules.channel(candidate.channel)) == Opening::Ours
}

fn reason(pass: &Pass<'_>, mark: Mark) -> Reason {
    match pass.rules.suppressions[mark.rule as usize].outcome {
        crate::domain::OutcomeType::Decline => Reason::RecentlyDeclined,
        _ => Reason::Suppressed,
    }
}

/// Drops a candidate in quiet hours, or makes it wait for their end where the
/// channel allows an open question to do so and the offer still runs then; and
/// one of which nothing can be said within the request's send window.
fn can_be_said(pass: &mut Pass<'_>, question: &Question<'_>, offer: &Offer, candidate: &mut Candidate) -> bool {
    let state = reach::state(pass, candidate.channel);
    let still_runs = |at: Timestamp| offer.schedule.1.is_none_or(|end| at < end);
    if let Some(until) = state.quiet_until {
        let may_wait = waits(pass.inputs.profile, pass.rules.channel(candidate.channel));
        if question.placement.is_some() || !may_wait || until == NEVER || !still_runs(until) {
            candidate.drop_for(Reason::QuietHours, Detail::QuietUntil(until));
            return false;
        }
    }
    let (now, window) = (pass.inputs.now, state.window(pass.inputs.request));
    let starts_at = state.starts_at(pass.inputs);
    if window.until.is_some_and(|until| starts_at >= until) || (starts_at > now && !still_runs(starts_at)) {
        candidate.drop_for(Reason::OutsideSendWindow, Detail::Earliest(starts_at));
        return false;
    }
    true
}

/// What stands for the end of quiet hours that never end.
const NEVER: Timestamp = Timestamp(i64::MAX);
/// Most times that one kind of quiet hours may lead into the other: hours that
/// do so still have no end.
const QUIET_TURNS_MAX: usize = 4;

/// The quiet hours of the customer on a channel that are in force beside those of
/// the channel. They wait as the channel's do; where it has none, they wait on an
/// outbound one, as far as the send window allows.
pub(super) fn wished_hours(profile: &Profile, channel: &Channel) -> Option<QuietHours> {
    let (from_minute, until_minute) = permissions::wishes(profile).quiet_hours?;
    let wait = channel.quiet_hours.as_ref().map_or(channel.kind == ChannelKind::Outbound, |hours| hours.wait);
    Some(QuietHours { from_minute, until_minute, wait })
}

/// Whether what comes in quiet hours on a channel waits for their end.
fn waits(profile: &Profile, channel: &Channel) -> bool {
    let declared = channel.quiet_hours.as_ref().map(|hours| hours.wait);
    declared.or_else(|| Some(wished_hours(profile, channel)?.wait)).unwrap_or(false)
}

/// The end of quiet hours that hold at a moment on a channel, in the customer's
/// zone: those of the channel and those that the customer wishes.
pub(super) fn quiet_until(pass: &mut Pass<'_>, channel: &Channel, at: Timestamp) -> Option<Timestamp> {
    let wished = wished_hours(pass.inputs.profile, channel);
    if wished.is_none() && channel.quiet_hours.is_none() {
        return None;
    }
    let named = match pass.rules.time_zone_attribute.map(|slot| pass.facts.get(slot)) {
        Some(ValueRef::Text(name)) => pass.tables.zones.get(name),
        _ => None,
    };
    let zone = named.unwrap_or(&pass.rules.time_zone);
    let end = |after: Timestamp| {
        let mut hours = [channel.quiet_hours.as_ref(), wished.as_ref()].into_iter().flatten();
        hours.find_map(|hours| calendar::quiet_until(hours, after, zone))
    };
    let mut until = end(at)?;
    for _ in 0..QUIET_TURNS_MAX {
        match end(until) {
            Some(later) => until = later,
            None => return Some(until),
        }
    }
    Some(NEVER)
}
