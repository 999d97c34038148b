//! Stage 6: net priority orders, floors and doing nothing filter, exploration
//! may choose otherwise, and no offer stands on a page twice.

use std::cmp::Ordering;

use crate::{
    customer::permissions,
    domain::{Factors, Intent, Reason},
    rules::Repeat,
};

use super::{
    OtherChannel, Winner,
    pass::Pass,
    question::Question,
    score,
    scratch::{Candidate, Standing},
    trace::Detail,
};

/// Picks the winners of a question and appends them to the ranking. Doing
/// nothing always competes, with net priority 0.
pub(super) fn arbitrate(pass: &mut Pass<'_>, question: &Question<'_>) {
    qualify(pass);
    match question.placement {
        None => bench_worse(pass, |_| true),
        Some(_) if pass.plan.offers.each.is_empty() => {}
        Some(_) => bench_worse(pass, |each| each == Some(Repeat::Never)),
    }
    let first = pass.ranking.winners.len();
    for slot in 0..question.slots {
        if slot > 0 {
            hold_limits_within_the_page(pass);
        }
        let Some((at, probability)) = pick(pass) else { break };
        win(pass, at, probability);
    }
    drop_losers(pass, first);
}

/// Drops what is on the page already, what nothing beats, and what is under
/// its floor.
fn qualify(pass: &mut Pass<'_>) {
    let (plan, tables) = (pass.plan, &mut *pass.tables);
    for candidate in tables.pool.iter_mut().filter(|c| c.is_open()) {
        let net = candidate.net_priority;
        let floor = plan.offers.card(candidate.offer).floor;
        let repeats = plan.offers.card(candidate.offer).each == Some(Repeat::ByRecord);
        let named = || candidate.record.map(|record| (candidate.offer, record));
        let other = repeats && named().is_some_and(|named| !tables.taken_records.contains(&named));
        if tables.taken.contains(candidate.offer) && !other {
            candidate.drop_for(Reason::Duplicate, Detail::None);
        } else if net <= 0.0 {
            candidate.drop_for(Reason::NothingIsBetter, Detail::None);
        } else if net < floor {
            candidate.drop_for(Reason::BelowFloor, Detail::Floor(floor));
        }
    }
}

/// Keeps the best channel of each offer, and the best record where a page holds it
/// but once. The candidates of an offer stand beside each other.
fn bench_worse(pass: &mut Pass<'_>, of: impl Fn(Option<Repeat>) -> bool) {
    let mut best: Option<usize> = None;
    for at in 0..pass.tables.pool.len() {
        if !pass.tables.pool[at].is_open() {
            continue;
        }
        let offer = pass.tables.pool[at].offer;
        if !of(pass.plan.offers.card(offer).each) {
            continue;
        }
        let rival = best.filter(|b| pass.tables.pool[*b].offer == offer);
        best = Some(match rival {
            Some(rival) if kept_before(pass, rival, at) => {
                pass.tables.pool[at].standing = Standing::Benched;
                rival
            }
            Some(rival) => {
                pass.tables.pool[rival].standing = Standing::Benched;
                at
            }
            None => at,
        });
    }
}

/// Winners of this page count in limits like contacts.
fn hold_limits_within_the_page(pass: &mut Pass<'_>) {
    let tables = &mut *pass.tables;
    if !tables.history.binds() {
        return;
    }
    for candidate in tables.pool.iter_mut().filter(|c| c.is_open()) {
        let record = pass.inputs.profile.record_ref(candidate.record);
        let wanted = (candidate.offer, candidate.channel, record);
        if let Some((limit, count)) = tables.history.limit_reached(pass.plan, wanted) {
            candidate.drop_for(Reason::LimitReached, Detail::Limit { limit, count });
        }
    }
}

/// The candidate for the next slot, and the probability with which it was
/// chosen. With share e of exploration and K candidates the choice is uniform
/// with probability e, so that the best has (1 - e) + e / K and every other
/// e / K. Offers shown before keep their order and are not explored over.
fn pick(pass: &mut Pass<'_>) -> Option<(usize, f64)> {
    if let Some(kept) = kept(pass) {
        return Some((kept, 1.0));
    }
    let mut open = 0_usize;
    let mut best: Option<usize> = None;
    for at in 0..pass.tables.pool.len() {
        if pass.tables.pool[at].is_open() {
            open += 1;
            if best.is_none_or(|best| order(pass, at, best) == Ordering::Less) {
                best = Some(at);
            }
        }
    }
    let best = best?;
    let share = match pass.inputs.request.intent {
        Intent::Present => pass.rules.exploration_share.clamp(0.0, 1.0),
        Intent::Preview => 0.0,
    };
    if share <= 0.0 {
        return Some((best, 1.0));
    }
    let uniform = share / open as f64;
    let chosen = if pass.stream.chance(share) { nth_open(pass, open).unwrap_or(best) } else { best };
    let probability = if chosen == best { 1.0 - share + uniform } else { uniform };
    Some((chosen, probability))
}

fn nth_open(pass: &mut Pass<'_>, open: usize) -> Option<usize> {
    let wanted = pass.stream.below(open);
    let open = pass.tables.pool.iter().enumerate().filter(|(_, c)| c.is_open());
    open.map(|(at, _)| at).nth(wanted)
}

fn kept(pass: &Pass<'_>) -> Option<usize> {
    let profile = pass.inputs.profile;
    let find = |offer, record| {
        let is_it = |c: &Candidate| c.offer == offer && c.is_open() && profile.record_ref(c.record) == record;
        pass.tables.pool.iter().position(is_it)
    };
    pass.inputs.keep_order.iter().find_map(|(offer, record)| find(*offer, *record))
}

/// Whether of two candidates of an offer the left one stands: for the record that
/// was shown before, else the better one.
fn kept_before(pass: &Pass<'_>, left: usize, right: usize) -> bool {
    let place = |at: usize| {
        let candidate = &pass.tables.pool[at];
        let record = pass.inputs.profile.record_ref(candidate.record);
        pass.inputs.keep_order.iter().position(|kept| *kept == (candidate.offer, record)).unwrap_or(usize::MAX)
    };
    let kept = if pass.inputs.keep_order.is_empty() { Ordering::Equal } else { place(left).cmp(&place(right)) };
    kept.then_with(|| order(pass, left, right)) == Ordering::Less
}

/// Net priority, higher first; of equal ones the channel that the customer
/// wishes, then by the names of offer, channel and record, so that neither files nor
/// slots decide.
fn order(pass: &Pass<'_>, left: usize, right: usize) -> Ordering {
    let (left, right) = (&pass.tables.pool[left], &pass.tables.pool[right]);
    // INVARIANT: records stand in order of their keys.
    let names = |c: &Candidate| (&*pass.rules.offer(c.offer).name_id, &*pass.rules.channel(c.channel).name, c.record);
    let net = right.net_priority.total_cmp(&left.net_priority);
    let wished = permissions::wishes(pass.inputs.profile).channel;
    let unwished = |c: &Candidate| wished.is_some_and(|id| pass.rules.channel(c.channel).id != id);
    net.then_with(|| unwished(left).cmp(&unwished(right))).then_with(|| names(left).cmp(&names(right)))
}

fn win(pass: &mut Pass<'_>, at: usize, probability: f64) {
    let candidate = &mut pass.tables.pool[at];
    candidate.standing = Standing::Won;
    let (offer, channel, treatment) = (candidate.offer, candidate.channel, candidate.treatment);
    let record = (candidate.record, pass.inputs.profile.record_ref(candidate.record));
    // Quiet hours without `wait` have dropped it.
    let now = pass.inputs.now;
    let starts_at = pass.tables.channels[channel.index()].map_or(now, |state| state.starts_at(pass.inputs));
    let factors = score::factors(pass, pass.plan.offers.card(offer), (offer, channel, record.0)).unwrap_or_default();
    pass.ranking.winners.push(Winner {
        offer,
        channel,
        record,
        treatment,
        factors: Factors { choice_probability: probability, ..factors },
        not_before: (starts_at > now).then_some(starts_at),
    });
    pass.tables.taken.insert(offer);
    pass.tables.taken_records.extend(record.0.map(|record| (offer, record)));
    pass.tables.history.count_winner(pass.plan, (offer, channel, record.1));
}

fn drop_losers(pass: &mut Pass<'_>, first: usize) {
    let open_question = pass.inputs.request.placements.is_empty();
    let tables = &mut *pass.tables;
    for candidate in &mut tables.pool {
        if matches!(candidate.standing, Standing::Open | Standing::Benched) {
            let wins = tables.taken.contains(candidate.offer);
            let record = candidate.record.map(|record| (candidate.offer, record));
            let other = record.is_some_and(|record| !tables.taken_records.contains(&record));
            let repeats = pass.plan.offers.card(candidate.offer).each == Some(Repeat::ByRecord);
            let reason = match (wins, other) {
                (true, true) if !repeats => Reason::Duplicate,
                (true, false) => Reason::OtherChannel,
                _ => Reason::Outranked,
            };
            candidate.drop_for(reason, Detail::None);
        }
    }
    let Some(winner) = pass.ranking.winners.get(first).filter(|_| open_question) else { return };
    let of_winner = |c: &&Candidate| c.offer == winner.offer && c.record == winner.record.0;
    for candidate in tables.pool.iter().filter(of_winner) {
        if let Standing::Dropped(reason) = candidate.standing {
            pass.ranking.other_channels.push(OtherChannel {
                channel: candidate.channel,
                reason,
                net_priority: candidate.net_priority,
            });
        }
    }
}
