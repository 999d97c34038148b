//! Traits: what is computed at read from (profile, now).

use crate::domain::{
    AttrId, Cell, Date, EventStat, Interaction, OutcomeSet, OutcomeType, Profile, Timestamp, Trait, Value, time::DAY_US,
};

/// The value of a trait. Days are whole periods of 24 hours, never negative;
/// only [`Trait::DaysToAnniversary`] counts calendar days (UTC).
pub fn read(wanted: &Trait, profile: &Profile, now: Timestamp) -> Cell {
    match *wanted {
        Trait::Count(event) => Cell::Int(count(profile.stat(event).map_or(0, |s| s.count))),
        Trait::Sum(event) => Cell::Money(profile.stat(event).map_or(0, |s| s.amount)),
        Trait::Mean(event) => profile.stat(event).map_or(Cell::Missing, |s| mean(s.amount, s.count)),
        Trait::DaysSince(event) => days_since(profile.stat(event).map(|s| s.last_at), now),
        Trait::DaysSinceFirst(event) => days_since(profile.stat(event).map(|s| s.first_at), now),
        Trait::Open { opened, closed } => Cell::Bool(is_open(profile.stat(opened), profile.stat(closed))),
        Trait::DaysToAnniversary(attribute) => days_to_anniversary(profile, attribute, now.date()),
        Trait::DaysSinceContact => days_since(latest_contact(profile), now),
        Trait::ItemsBought => Cell::Int(items_bought(profile)),
        Trait::Series(_) | Trait::Model(_) => Cell::Missing,
    }
}

/// Whether something is open: more were opened than closed, or the latest was
/// opened after the last closing. A closing that came twice, or without an opening,
/// does not hide what is opened later.
fn is_open(opened: Option<EventStat>, closed: Option<EventStat>) -> bool {
    match (opened, closed) {
        (None, _) => false,
        (Some(opened), None) => opened.count > 0,
        (Some(opened), Some(closed)) => opened.count > closed.count || opened.last_at > closed.last_at,
    }
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The mean, rounded half away from zero.
fn mean(amount: i64, events: u64) -> Cell {
    let events = i128::from(events);
    if events == 0 {
        return Cell::Missing;
    }
    let amount = i128::from(amount);
    let half = if amount < 0 { -events / 2 } else { events / 2 };
    Cell::Money(i64::try_from((amount + half) / events).unwrap_or(i64::MAX))
}

fn days_since(at: Option<Timestamp>, now: Timestamp) -> Cell {
    at.map_or(Cell::Missing, |at| Cell::Int((now.since_us(at) / DAY_US).max(0)))
}

/// Days until the next anniversary, 0 on the day itself. 29 February falls on
/// 1 March in years without it.
fn days_to_anniversary(profile: &Profile, attribute: AttrId, today: Date) -> Cell {
    let date = match profile.attribute(attribute) {
        Some(Value::Date(date)) => *date,
        Some(Value::Timestamp(at)) => at.date(),
        _ => return Cell::Missing,
    };
    let (_, month, day) = date.ymd();
    let (year, _, _) = today.ymd();
    let in_year = |year: i16| Date::from_ymd(year, month, day).or_else(|| Date::from_ymd(year, 3, 1));
    let next = match in_year(year) {
        Some(this) if this >= today => Some(this),
        _ => in_year(year.saturating_add(1)),
    };
    next.map_or(Cell::Missing, |next| Cell::Int(i64::from(next.0) - i64::from(today.0)))
}

/// Time of the latest contact: any interaction, but one that was cancelled and
/// showed no sign of reaching the person.
fn latest_contact(profile: &Profile) -> Option<Timestamp> {
    let reached =
        |i: &&Interaction| i.outcomes.intersects(OutcomeSet::REACHED) || !i.outcomes.has(OutcomeType::Cancelled);
    profile.interactions.iter().rev().find(reached).map(|i| i.at)
}

/// Different items bought, of those kept. Quadratic over a bounded list, so
/// that nothing is allocated.
fn items_bought(profile: &Profile) -> i64 {
    let bought = |at: usize| profile.items[at].bought;
    let first = |at: usize| !(0..at).any(|b| bought(b) && profile.items[b].item == profile.items[at].item);
    (0..profile.items.len()).filter(|at| bought(*at) && first(*at)).count() as i64
}

/// Totals of every event type, those of merged customers among them, sorted by
/// type.
pub fn totals(profile: &Profile) -> Vec<EventStat> {
    let absorbed = profile.absorbed.iter().flat_map(|origin| &origin.stats);
    let mut events: Vec<_> = profile.stats.iter().chain(absorbed).map(|stat| stat.event).collect();
    events.sort_unstable();
    events.dedup();
    events.into_iter().filter_map(|event| profile.stat(event)).collect()
}
