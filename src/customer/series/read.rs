//! A series read by a trait, at a moment.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::{
    numbers::{self, Numbers},
    states, window,
};
use crate::domain::{
    EventId, Profile, Timestamp, Value,
    profile::{NameSum, SeriesState},
    series::{Aggregate, FeedValue, Keep, MOMENTS_MAX, NAMES_MAX, NowSlots, SeriesId, SeriesTrait, SlotWidth, Unit},
    time::DAY_US,
};

/// What a trait finds.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesValue {
    /// Nothing.
    Missing,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Minor units.
    Money(i64),
    /// A text.
    Text(Box<str>),
    /// Texts, the one seen most often first.
    Texts(Vec<Box<str>>),
    /// A moment.
    Moment(Timestamp),
}

impl SeriesValue {
    /// As a value; texts become a set, which has an order of its own. `None`
    /// when missing.
    pub fn into_value(self) -> Option<Value> {
        Some(match self {
            SeriesValue::Missing => return None,
            SeriesValue::Bool(value) => Value::Bool(value),
            SeriesValue::Int(value) => Value::Int(value),
            SeriesValue::Double(value) => Value::Double(value),
            SeriesValue::Money(value) => Value::Money(value),
            SeriesValue::Text(value) => Value::Text(value),
            SeriesValue::Texts(mut values) => {
                values.sort();
                Value::Set(values.into())
            }
            SeriesValue::Moment(value) => Value::Timestamp(value),
        })
    }
}

/// Moments of events, oldest first; of two customers before they are cut.
type Moments = SmallVec<[(Timestamp, EventId); 2 * MOMENTS_MAX]>;

/// What the trait finds at `now`: in what the customer's own series holds and in
/// those of merged ones, as if it all were one.
///
/// Whole days are periods of 24 hours for what keeps moments, slots for what
/// keeps slots; never negative.
pub fn read(wanted: &SeriesTrait, profile: &Profile, now: Timestamp, slots: &NowSlots) -> SeriesValue {
    match wanted.keep {
        Keep::Slots { width, slots: kept } => read_sums(wanted, profile, (width, Some(kept)), slots),
        Keep::Total => read_sums(wanted, profile, (SlotWidth::Day, None), slots),
        Keep::Latest | Keep::Earliest => read_one(wanted, profile, now, slots),
        Keep::Names { width, slots: kept } => Names::gather(wanted, profile, (width, kept), slots).value(wanted, now),
        Keep::Moments => read_moments(wanted, profile, now, slots),
    }
}

/// What is held of a series, by the customer and by merged ones.
fn states(profile: &Profile, id: SeriesId, keep: Keep) -> impl Iterator<Item = &SeriesState> + Clone {
    let absorbed = profile.absorbed.iter().map(|origin| &origin.series);
    std::iter::once(&profile.series).chain(absorbed).filter_map(move |series| {
        let at = series.binary_search_by_key(&id, |s| s.id).ok()?;
        (series[at].keep == keep).then_some(&series[at].state)
    })
}

fn read_sums(
    wanted: &SeriesTrait,
    profile: &Profile,
    (width, kept): (SlotWidth, Option<u16>),
    now: &NowSlots,
) -> SeriesValue {
    let sums = states(profile, wanted.series, wanted.keep).filter_map(|state| match state {
        SeriesState::Sums(sums) => Some(&sums[..]),
        _ => None,
    });
    let (mut from, mut until) = (i32::MIN, i32::MAX);
    if let Some(kept) = kept {
        let newest = sums.clone().filter_map(|sums| sums.last()).map(|sum| sum.slot).max().unwrap_or(0);
        (from, until) = window::slots(wanted.window, width, now);
        from = from.max(states::first_slot(newest, kept));
    }
    let (mut numbers, mut latest) = (Numbers::default(), None);
    for sums in sums {
        let first = sums.partition_point(|sum| sum.slot < from);
        for sum in sums[first..].iter().take_while(|sum| sum.slot <= until) {
            numbers.add(sum);
            latest = latest.max(Some(sum.slot));
        }
    }
    match (&wanted.aggregate, latest) {
        (Aggregate::DaysSince, Some(slot)) if kept.is_some() => SeriesValue::Int(days_between(slot, width, now)),
        (aggregate, _) => numbers.value(aggregate, wanted.unit),
    }
}

fn days_between(slot: i32, width: SlotWidth, now: &NowSlots) -> i64 {
    let (now, per_day) = match width {
        SlotWidth::Hour => (now.hour, 24),
        SlotWidth::Day => (now.day, 1),
    };
    ((i64::from(now) - i64::from(slot)) / per_day).max(0)
}

fn read_one(wanted: &SeriesTrait, profile: &Profile, now: Timestamp, slots: &NowSlots) -> SeriesValue {
    let held = states(profile, wanted.series, wanted.keep).filter_map(|state| match state {
        SeriesState::One(at, event, value) => Some((*at, *event, value)),
        _ => None,
    });
    let found = if wanted.keep == Keep::Earliest { held.min() } else { held.max() };
    let from = window::moment(wanted.window, now, slots);
    match (found.filter(|one| one.0 >= from), &wanted.aggregate) {
        (Some((at, ..)), Aggregate::DaysSince) => days_since(at, now),
        (Some((at, ..)), Aggregate::Count) => SeriesValue::Int(i64::from(at >= from)),
        (None, Aggregate::Count) => SeriesValue::Int(0),
        (Some((at, _, value)), Aggregate::Last | Aggregate::First) => fed(value, at, wanted.unit),
        _ => SeriesValue::Missing,
    }
}

fn days_since(at: Timestamp, now: Timestamp) -> SeriesValue {
    SeriesValue::Int((now.since_us(at) / DAY_US).max(0))
}

/// A fed value; of an event that fed nothing but itself its moment.
fn fed(value: &FeedValue, at: Timestamp, unit: Unit) -> SeriesValue {
    match value {
        FeedValue::Nothing => SeriesValue::Moment(at),
        FeedValue::Number(number) => numbers::number((*number).into(), unit),
        FeedValue::Text(text) => SeriesValue::Text(text.clone()),
        FeedValue::Moment(moment) => SeriesValue::Moment(*moment),
    }
}

/// A name, how often it was seen in the window, and when last.
struct Name<'a> {
    name: &'a str,
    count: u64,
    last: Timestamp,
}

struct Names<'a>(SmallVec<[Name<'a>; NAMES_MAX]>);

impl<'a> Names<'a> {
    /// The names that one customer would have kept. Those that were not seen in
    /// the window have a count of 0.
    fn gather(wanted: &SeriesTrait, profile: &'a Profile, kept: (SlotWidth, u16), now: &NowSlots) -> Self {
        let (width, kept) = kept;
        let names = states(profile, wanted.series, wanted.keep).filter_map(|state| match state {
            SeriesState::Names(names) => Some(&names[..]),
            _ => None,
        });
        let newest = names.clone().flatten().map(|name| name.slot).max().unwrap_or(0);
        let first_kept = states::first_slot(newest, kept);
        let (from, until) = window::slots(wanted.window, width, now);
        let mut found: SmallVec<[Name<'a>; NAMES_MAX]> = SmallVec::new();
        for sum in names.flatten().filter(|sum| sum.slot >= first_kept) {
            add(&mut found, sum, (from..=until).contains(&sum.slot));
        }
        if found.len() > NAMES_MAX {
            found.sort_by_key(|name| Reverse((name.last, name.name)));
            found.truncate(NAMES_MAX);
        }
        Self(found)
    }

    fn value(mut self, wanted: &SeriesTrait, now: Timestamp) -> SeriesValue {
        self.0.retain(|name| name.count > 0);
        match wanted.aggregate {
            Aggregate::Count => {
                let count = self.0.iter().fold(0_u64, |sum, name| sum.saturating_add(name.count));
                SeriesValue::Int(i64::try_from(count).unwrap_or(i64::MAX))
            }
            Aggregate::Distinct => SeriesValue::Int(self.0.len() as i64),
            Aggregate::DaysSince => {
                self.0.iter().map(|name| name.last).max().map_or(SeriesValue::Missing, |last| days_since(last, now))
            }
            Aggregate::Top(wanted) => self.top(usize::from(wanted)),
            _ => SeriesValue::Missing,
        }
    }

    fn top(mut self, wanted: usize) -> SeriesValue {
        self.0.sort_by(|a, b| (b.count, b.last, b.name).cmp(&(a.count, a.last, a.name)));
        match (&self.0[..], wanted) {
            ([], _) => SeriesValue::Missing,
            ([first, ..], 1) => SeriesValue::Text(first.name.into()),
            (names, wanted) => SeriesValue::Texts(names.iter().take(wanted).map(|name| name.name.into()).collect()),
        }
    }
}

fn add<'a>(found: &mut SmallVec<[Name<'a>; NAMES_MAX]>, sum: &'a NameSum, in_window: bool) {
    let count = if in_window { u64::from(sum.count) } else { 0 };
    match found.iter_mut().find(|name| name.name == &*sum.name) {
        Some(known) => {
            known.count = known.count.saturating_add(count);
            known.last = known.last.max(sum.last);
        }
        None => found.push(Name { name: &sum.name, count, last: sum.last }),
    }
}

fn read_moments(wanted: &SeriesTrait, profile: &Profile, now: Timestamp, slots: &NowSlots) -> SeriesValue {
    let from = window::moment(wanted.window, now, slots);
    let mut seen = moments(profile, wanted.series);
    seen.retain(|moment| moment.0 >= from);
    match wanted.aggregate {
        Aggregate::Count => SeriesValue::Int(seen.len() as i64),
        Aggregate::DaysSince => seen.last().map_or(SeriesValue::Missing, |(at, _)| days_since(*at, now)),
        Aggregate::Last => seen.last().map_or(SeriesValue::Missing, |(at, _)| SeriesValue::Moment(*at)),
        Aggregate::First => seen.first().map_or(SeriesValue::Missing, |(at, _)| SeriesValue::Moment(*at)),
        Aggregate::FollowedBy { then, within_us } => {
            let others = moments(profile, then);
            let near = |a: &(Timestamp, EventId), b: &(Timestamp, EventId)| b.0.since_us(a.0) <= within_us;
            SeriesValue::Bool(seen.iter().any(|a| others.iter().any(|b| follows(a, b) && near(a, b))))
        }
        Aggregate::Abandoned { unless, after_us, within_us } => {
            let others = moments(profile, unless);
            SeriesValue::Bool(seen.last().is_some_and(|latest| {
                let since_us = now.since_us(latest.0);
                since_us > after_us && since_us <= within_us && !others.iter().any(|other| follows(latest, other))
            }))
        }
        _ => SeriesValue::Missing,
    }
}

/// Whether the second came after the first, or at the same moment as another
/// event: times are often whole seconds.
fn follows(first: &(Timestamp, EventId), second: &(Timestamp, EventId)) -> bool {
    second.0 >= first.0 && second.1 != first.1
}

/// The newest moments of all that are one customer now.
fn moments(profile: &Profile, id: SeriesId) -> Moments {
    let mut all = Moments::new();
    for state in states(profile, id, Keep::Moments) {
        if let SeriesState::Moments(moments) = state {
            all.extend_from_slice(moments);
        }
    }
    all.sort_unstable();
    all.dedup();
    let excess = all.len().saturating_sub(MOMENTS_MAX);
    all.drain(..excess);
    all
}
