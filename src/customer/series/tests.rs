//! Series against a slow reference that keeps every event and computes anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{SeriesValue, read};
use crate::{
    customer::{apply, flattened, merge},
    domain::{
        profile::{NameSum, SeriesState},
        series::*,
        time::DAY_US,
        *,
    },
};

const HOUR_US: i64 = DAY_US / 24;
/// Wednesday, 15 November 2023, 13:20.
const NOW: Timestamp = Timestamp(1_700_054_400_000_000);
const HISTORIES: u64 = 500;
const A: SeriesId = SeriesId(1);
const B: SeriesId = SeriesId(2);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// What an event fed, kept for ever.
#[derive(Clone, Debug)]
struct Fed {
    at: Timestamp,
    event: EventId,
    feed: Feed,
}

fn slot(at: Timestamp, width: SlotWidth) -> i32 {
    at.0.div_euclid(if width == SlotWidth::Hour { HOUR_US } else { DAY_US }) as i32
}

fn now_slots(now: Timestamp) -> NowSlots {
    let day = slot(now, SlotWidth::Day);
    let (year, month, _) = Date(day).ymd();
    let first = |month| Date::from_ymd(year, month, 1).unwrap().0;
    let week_from = day - (day + 3).rem_euclid(7);
    NowSlots { hour: slot(now, SlotWidth::Hour), day, week_from, month_from: first(month), year_from: first(1) }
}

fn keeps() -> Vec<Keep> {
    let (hour, day) = (SlotWidth::Hour, SlotWidth::Day);
    vec![
        Keep::Slots { width: day, slots: 90 },
        Keep::Slots { width: day, slots: 3 },
        Keep::Slots { width: hour, slots: 48 },
        Keep::Total,
        Keep::Latest,
        Keep::Earliest,
        Keep::Names { width: day, slots: 30 },
        Keep::Names { width: hour, slots: 24 },
        Keep::Moments,
    ]
}

fn windows() -> Vec<Window> {
    let rolling = |width, slots| Window::Rolling { width, slots };
    let periods = [Period::Day, Period::Week, Period::Month, Period::Year];
    let mut all = vec![Window::Lifetime, rolling(SlotWidth::Hour, 5), rolling(SlotWidth::Day, 1)];
    all.extend([2, 7, 90].map(|slots| rolling(SlotWidth::Day, slots)));
    all.extend(periods.map(Window::Calendar));
    all
}

fn aggregates() -> Vec<Aggregate> {
    let hour = |hours: i64| hours * HOUR_US;
    vec![
        Aggregate::Count,
        Aggregate::Sum,
        Aggregate::Mean,
        Aggregate::Min,
        Aggregate::Max,
        Aggregate::Last,
        Aggregate::First,
        Aggregate::Distinct,
        Aggregate::Top(1),
        Aggregate::Top(3),
        Aggregate::DaysSince,
        Aggregate::FollowedBy { then: B, within_us: hour(2) },
        Aggregate::FollowedBy { then: A, within_us: hour(1) },
        Aggregate::Abandoned { unless: B, after_us: hour(3), within_us: i64::MAX },
        Aggregate::Abandoned { unless: B, after_us: hour(3), within_us: hour(30) },
    ]
}

/// Events of the 100 days before, many of the last hours, some a bit after.
fn fed(random: &mut Random, keep: Keep, until: Timestamp) -> Fed {
    let back = match random.below(4) {
        0 => -(random.below(5) as i64) * 60_000_000,
        1 => random.below(8) as i64 * HOUR_US / 2,
        _ => (random.next() % (100 * DAY_US as u64)) as i64,
    };
    let at = until.plus_us(-back);
    let series = if keep == Keep::Moments { if random.below(6) > 0 { A } else { B } } else { A };
    let value = match keep {
        Keep::Names { .. } => FeedValue::Text(format!("name {}", random.below(12)).into()),
        _ => FeedValue::Number(random.below(3_000_000) as i64 - 900_000),
    };
    let slot = match keep {
        Keep::Slots { width, .. } | Keep::Names { width, .. } => slot(at, width),
        _ => 0,
    };
    Fed { at, event: EventId(random.next().into()), feed: Feed { series, keep, slot, value } }
}

/// One customer, made of three that were merged; each event came to one.
fn profile(random: &mut Random, all: &[Fed]) -> Profile {
    let mut parts = [1_u128, 2, 3].map(|key| Profile { key: CustomerKey(key), ..Profile::default() });
    for fed in all {
        let event = Event {
            id: fed.event,
            at: fed.at,
            received_at: fed.at,
            identities: Vec::new(),
            feeds: vec![fed.feed.clone()],
            kind: EventKind::Exposed { holdout: false },
        };
        apply(&mut parts[random.below(3)], &event);
    }
    merge(&merge(&parts[0], &parts[1]), &parts[2])
}

/// Whether a slot is in a window, by its date and hour.
fn in_window(window: Window, slot: i32, width: SlotWidth) -> bool {
    let now = now_slots(NOW);
    let (day, hour) = match width {
        SlotWidth::Hour => (slot.div_euclid(24), slot),
        SlotWidth::Day => (slot, slot * 24),
    };
    let ahead = if width == SlotWidth::Hour { slot == now.hour + 1 } else { slot == now.day + 1 };
    let (then, today) = (Date(day).ymd(), Date(now.day).ymd());
    let monday = |day: i32| day - (day + 3).rem_euclid(7);
    match window {
        Window::Lifetime => true,
        Window::Rolling { width: SlotWidth::Day, slots } => now.day - day < i32::from(slots),
        Window::Rolling { width: SlotWidth::Hour, slots } if width == SlotWidth::Hour => {
            now.hour - hour < i32::from(slots)
        }
        // a day counts whole when one of its hours does
        Window::Rolling { slots, .. } => (hour..hour + 24).any(|hour| now.hour - hour < i32::from(slots)),
        _ if ahead => true,
        Window::Calendar(Period::Day) => day == now.day,
        Window::Calendar(Period::Week) => monday(day) == monday(now.day),
        Window::Calendar(Period::Month) => (then.0, then.1) == (today.0, today.1),
        Window::Calendar(Period::Year) => then.0 == today.0,
    }
}

/// Whether a moment is in a window that is counted in hours and days of 24.
fn since(window: Window, at: Timestamp) -> bool {
    let now = now_slots(NOW);
    let hours = match window {
        Window::Lifetime => return true,
        Window::Rolling { width: SlotWidth::Hour, slots } => i64::from(slots),
        Window::Rolling { width: SlotWidth::Day, slots } => i64::from(slots) * 24,
        Window::Calendar(period) => {
            let from = [now.day, now.week_from, now.month_from, now.year_from][period as usize - 1];
            i64::from(now.day + 1 - from) * 24
        }
    };
    NOW.0 - at.0 <= hours * HOUR_US
}

fn slow(wanted: &SeriesTrait, all: &[Fed]) -> SeriesValue {
    let mine: Vec<&Fed> = all.iter().filter(|fed| fed.feed.series == wanted.series).collect();
    let newest = mine.iter().map(|fed| fed.feed.slot).max().unwrap_or(0);
    let kept = |fed: &&&Fed, slots: u16| newest - fed.feed.slot < i32::from(slots);
    match wanted.keep {
        Keep::Slots { width, slots } => {
            let seen = mine.iter().filter(|fed| kept(fed, slots) && in_window(wanted.window, fed.feed.slot, width));
            let seen: Vec<&Fed> = seen.copied().collect();
            match (&wanted.aggregate, seen.iter().map(|fed| fed.feed.slot).max()) {
                (Aggregate::DaysSince, None) => SeriesValue::Missing,
                (Aggregate::DaysSince, Some(latest)) => {
                    let (now, per_day) =
                        if width == SlotWidth::Hour { (slot(NOW, width), 24) } else { (slot(NOW, width), 1) };
                    SeriesValue::Int(i64::from(((now - latest) / per_day).max(0)))
                }
                _ => slow_numbers(wanted, &seen),
            }
        }
        Keep::Total => slow_numbers(wanted, &mine),
        Keep::Latest | Keep::Earliest => {
            let key = |fed: &&&Fed| (fed.at, fed.event);
            let one =
                if wanted.keep == Keep::Latest { mine.iter().max_by_key(key) } else { mine.iter().min_by_key(key) };
            let one = one.filter(|fed| since(wanted.window, fed.at));
            match (&wanted.aggregate, one) {
                (Aggregate::Count, one) => SeriesValue::Int(one.is_some().into()),
                (Aggregate::DaysSince, Some(fed)) => SeriesValue::Int(((NOW.0 - fed.at.0) / DAY_US).max(0)),
                (Aggregate::Last | Aggregate::First, Some(fed)) => typed(number_of(fed) as f64, wanted.unit),
                _ => SeriesValue::Missing,
            }
        }
        Keep::Names { width, slots } => slow_names(wanted, &mine, |fed| {
            (newest - fed.feed.slot < i32::from(slots)).then(|| in_window(wanted.window, fed.feed.slot, width))
        }),
        Keep::Moments => slow_moments(wanted, all),
    }
}

fn number_of(fed: &Fed) -> i64 {
    let FeedValue::Number(number) = fed.feed.value else { panic!("{fed:?}") };
    number
}

/// Sums stay far below 2^53 here, so that a double holds them.
fn typed(value: f64, unit: Unit) -> SeriesValue {
    match unit {
        Unit::Int => SeriesValue::Int(value as i64),
        Unit::Double => SeriesValue::Double(value / 1e6),
        Unit::Money => SeriesValue::Money(value.round() as i64),
        Unit::Timestamp => SeriesValue::Moment(Timestamp(value.round() as i64)),
        Unit::Text => SeriesValue::Missing,
    }
}

fn slow_numbers(wanted: &SeriesTrait, seen: &[&Fed]) -> SeriesValue {
    let numbers: Vec<f64> = seen.iter().map(|fed| number_of(fed) as f64).collect();
    let sum: f64 = numbers.iter().sum();
    let unit = wanted.unit;
    match wanted.aggregate {
        Aggregate::Count => SeriesValue::Int(numbers.len() as i64),
        Aggregate::Sum if unit == Unit::Timestamp => SeriesValue::Missing,
        Aggregate::Sum => typed(sum, unit),
        Aggregate::Mean | Aggregate::Min | Aggregate::Max if numbers.is_empty() => SeriesValue::Missing,
        Aggregate::Mean if unit == Unit::Int => SeriesValue::Double(sum / numbers.len() as f64),
        Aggregate::Mean => typed(sum / numbers.len() as f64, unit),
        Aggregate::Min => typed(numbers.iter().copied().fold(f64::MAX, f64::min), unit),
        Aggregate::Max => typed(numbers.iter().copied().fold(f64::MIN, f64::max), unit),
        _ => SeriesValue::Missing,
    }
}

fn slow_names(wanted: &SeriesTrait, mine: &[&Fed], counts: impl Fn(&Fed) -> Option<bool>) -> SeriesValue {
    let mut names: BTreeMap<String, (i64, Timestamp)> = BTreeMap::new();
    for fed in mine {
        let (Some(counts), FeedValue::Text(name)) = (counts(fed), &fed.feed.value) else { continue };
        let name = names.entry(name.to_string()).or_default();
        *name = (name.0 + i64::from(counts), name.1.max(fed.at));
    }
    names.retain(|_, name| name.0 > 0);
    let mut by_count: Vec<(i64, Timestamp, String)> = names.into_iter().map(|(n, (c, at))| (c, at, n)).collect();
    by_count.sort();
    by_count.reverse();
    let text = |name: &(i64, Timestamp, String)| name.2.as_str().into();
    match wanted.aggregate {
        Aggregate::Count => SeriesValue::Int(by_count.iter().map(|name| name.0).sum()),
        Aggregate::Distinct => SeriesValue::Int(by_count.len() as i64),
        Aggregate::DaysSince => by_count
            .iter()
            .map(|name| name.1)
            .max()
            .map_or(SeriesValue::Missing, |last| SeriesValue::Int(((NOW.0 - last.0) / DAY_US).max(0))),
        Aggregate::Top(1) => by_count.first().map_or(SeriesValue::Missing, |name| SeriesValue::Text(text(name))),
        Aggregate::Top(_) if by_count.is_empty() => SeriesValue::Missing,
        Aggregate::Top(most) => SeriesValue::Texts(by_count.iter().take(most.into()).map(text).collect()),
        _ => SeriesValue::Missing,
    }
}

fn slow_moments(wanted: &SeriesTrait, all: &[Fed]) -> SeriesValue {
    let moments = |series: SeriesId| -> Vec<(Timestamp, EventId)> {
        let all: BTreeSet<_> = all.iter().filter(|f| f.feed.series == series).map(|f| (f.at, f.event)).collect();
        let newest: BTreeSet<_> = all.into_iter().rev().take(MOMENTS_MAX).collect();
        newest.into_iter().collect()
    };
    let seen: Vec<_> = moments(wanted.series).into_iter().filter(|one| since(wanted.window, one.0)).collect();
    let missing = SeriesValue::Missing;
    match wanted.aggregate {
        Aggregate::Count => SeriesValue::Int(seen.len() as i64),
        Aggregate::Last => seen.last().map_or(missing, |one| SeriesValue::Moment(one.0)),
        Aggregate::First => seen.first().map_or(missing, |one| SeriesValue::Moment(one.0)),
        Aggregate::DaysSince => {
            seen.last().map_or(missing, |one| SeriesValue::Int(((NOW.0 - one.0.0) / DAY_US).max(0)))
        }
        Aggregate::FollowedBy { then, within_us } => {
            let mut found = false;
            for a in &seen {
                for b in moments(then) {
                    found |= a.1 != b.1 && (0..=within_us).contains(&(b.0.0 - a.0.0));
                }
            }
            SeriesValue::Bool(found)
        }
        Aggregate::Abandoned { unless, after_us, within_us } => SeriesValue::Bool(seen.last().is_some_and(|a| {
            NOW.0 - a.0.0 > after_us
                && NOW.0 - a.0.0 <= within_us
                && moments(unless).iter().filter(|b| b.1 != a.1).all(|b| b.0 < a.0)
        })),
        _ => missing,
    }
}

fn equal(found: &SeriesValue, wanted: &SeriesValue) -> bool {
    match (found, wanted) {
        (SeriesValue::Double(a), SeriesValue::Double(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
        _ => found == wanted,
    }
}

#[test]
fn reading_agrees_with_the_reference() {
    let slots = now_slots(NOW);
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let random = &mut Random(seed);
        let keep = random.of(&keeps());
        // half of the customers were not heard of for half a day
        let until = NOW.plus_us(-random.of(&[0, DAY_US / 2]));
        let all: Vec<Fed> = (0..random.below(60)).take(random.below(60)).map(|_| fed(random, keep, until)).collect();
        let merged = profile(random, &all);
        let flat = flattened(&merged);
        let unit = random.of(&[Unit::Int, Unit::Double, Unit::Money, Unit::Timestamp, Unit::Text]);
        for aggregate in aggregates() {
            for window in windows() {
                let wanted = SeriesTrait { series: A, keep, aggregate: aggregate.clone(), window, unit };
                let found = read(&wanted, &merged, NOW, &slots);
                let expected = slow(&wanted, &all);
                assert!(equal(&found, &expected), "{seed}: {wanted:?}\n{found:?}, not {expected:?}\n{all:#?}");
                assert_eq!(found, read(&wanted, &flat, NOW, &slots), "{seed}: {wanted:?}");
                let interesting = !matches!(found, SeriesValue::Missing | SeriesValue::Bool(false));
                *answered.entry(format!("{aggregate:?}")).or_default() += u64::from(interesting);
            }
        }
    }
    assert_eq!(answered.len(), aggregates().len());
    assert!(answered.values().all(|answers| *answers > 30), "{answered:?}");
}

fn names_of(profile: &Profile) -> Vec<NameSum> {
    match &profile.series[0].state {
        SeriesState::Names(names) => names.clone(),
        other => panic!("{other:?}"),
    }
}

/// Past the limit the names kept are those seen last, whatever the order; a count
/// may miss what was before its name went, never more.
#[test]
fn too_many_names_forget_those_seen_longest_ago() {
    let keep = Keep::Names { width: SlotWidth::Day, slots: 400 };
    for seed in 0..100 {
        let random = &mut Random(seed);
        let mut all: Vec<Fed> = (0..300).map(|_| fed(random, keep, NOW)).collect();
        for one in &mut all {
            one.feed.value = FeedValue::Number(random.below(60) as i64);
            one.feed.slot = 0;
        }
        let found = names_of(&flattened(&profile(random, &all)));
        let mut known: BTreeMap<String, (u32, Timestamp)> = BTreeMap::new();
        for one in &all {
            let name = known.entry(number_of(one).to_string()).or_default();
            *name = (name.0 + 1, name.1.max(one.at));
        }
        let mut last: Vec<(Timestamp, &String)> = known.iter().map(|(name, (_, at))| (*at, name)).collect();
        last.sort();
        let wanted: BTreeSet<&str> = last.iter().rev().take(NAMES_MAX).map(|(_, name)| name.as_str()).collect();
        assert_eq!(found.iter().map(|name| &*name.name).collect::<BTreeSet<_>>(), wanted, "{seed}");
        for name in &found {
            let (count, last) = known[&*name.name];
            assert!((1..=count).contains(&name.count) && name.last == last, "{seed}: {name:?}");
        }
    }
}

#[test]
fn lists_stay_bounded() {
    let random = &mut Random(1);
    let slots = Keep::Slots { width: SlotWidth::Hour, slots: SLOTS_MAX };
    let names = Keep::Names { width: SlotWidth::Hour, slots: SLOTS_MAX };
    let mut profile = Profile::default();
    for n in 0..3_000_i64 {
        let at = NOW.plus_us(n * HOUR_US);
        let feed =
            |series: u32, keep, value| Feed { series: SeriesId(series), keep, slot: slot(at, SlotWidth::Hour), value };
        let value = FeedValue::Number(n % 30);
        let mut feeds =
            vec![feed(1, slots, value.clone()), feed(2, names, value.clone()), feed(3, Keep::Moments, value)];
        feeds.extend((0..10).map(|_| feed(random.next() as u32 | 16, Keep::Total, FeedValue::Nothing)));
        let id = EventId(n as u128);
        let kind = EventKind::Exposed { holdout: false };
        apply(&mut profile, &Event { id, at, received_at: at, identities: Vec::new(), feeds, kind });
    }
    assert_eq!(profile.series.len(), SERIES_MAX);
    let lengths = [0, 1, 2].map(|at| match &profile.series[at].state {
        SeriesState::Sums(sums) => sums.len(),
        SeriesState::Names(names) => names.len(),
        SeriesState::Moments(moments) => moments.len(),
        SeriesState::One(..) => 1,
    });
    assert_eq!(lengths, [usize::from(SLOTS_MAX), usize::from(SLOTS_MAX), MOMENTS_MAX]);
}

#[test]
fn a_series_keeps_what_it_was_made_for() {
    let mut profile = Profile::default();
    for keep in [Keep::Total, Keep::Latest] {
        let feeds = vec![Feed { series: A, keep, slot: 9, value: FeedValue::Number(4) }];
        let kind = EventKind::Exposed { holdout: false };
        let event = Event { id: EventId(1), at: NOW, received_at: NOW, identities: Vec::new(), feeds, kind };
        apply(&mut profile, &event);
    }
    assert_eq!((profile.series.len(), profile.series[0].keep), (1, Keep::Total));
    let wanted = SeriesTrait {
        series: A,
        keep: Keep::Latest,
        aggregate: Aggregate::Last,
        window: Window::Lifetime,
        unit: Unit::Int,
    };
    assert_eq!(read(&wanted, &profile, NOW, &now_slots(NOW)), SeriesValue::Missing);
}

#[test]
fn texts_become_a_set() {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).into()).collect::<Vec<Box<str>>>();
    let set = SeriesValue::Texts(texts(&["hats", "boots"])).into_value();
    assert_eq!(set, Some(Value::Set(texts(&["boots", "hats"]).into())));
    assert_eq!(SeriesValue::Missing.into_value(), None);
}
