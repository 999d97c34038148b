//! Slots of time: the hours and calendar days that series count in.

use jiff::{
    civil::{Date, DateTime, Weekday},
    tz::TimeZone,
};

use crate::domain::{
    Timestamp,
    series::{NowSlots, SlotWidth},
};

/// Hours of a day of the wall clock.
const HOURS_PER_DAY: i32 = 24;

/// The slot of a moment in a time zone: the calendar day since 1970, or the hour
/// of the wall clock, 24 to a day.
pub fn slot_of(at: Timestamp, width: SlotWidth, zone: &TimeZone) -> i32 {
    let local = local(at, zone);
    let day = day_of(local.date());
    match width {
        SlotWidth::Hour => day.saturating_mul(HOURS_PER_DAY).saturating_add(i32::from(local.hour())),
        SlotWidth::Day => day,
    }
}

/// The slots of now in a time zone.
pub fn now_slots(now: Timestamp, zone: &TimeZone) -> NowSlots {
    let local = local(now, zone);
    let today = local.date();
    let day = day_of(today);
    let since_monday = i32::from(today.weekday().since(Weekday::Monday));
    NowSlots {
        hour: day.saturating_mul(HOURS_PER_DAY).saturating_add(i32::from(local.hour())),
        day,
        week_from: day - since_monday,
        month_from: day_of(today.first_of_month()),
        year_from: day_of(today.first_of_year()),
    }
}

/// The wall clock at a moment; at the ends of what jiff can tell for what lies
/// beyond them.
fn local(at: Timestamp, zone: &TimeZone) -> DateTime {
    let ends = (jiff::Timestamp::MIN.as_microsecond(), jiff::Timestamp::MAX.as_microsecond());
    let moment = jiff::Timestamp::from_microsecond(at.0.clamp(ends.0, ends.1));
    zone.to_datetime(moment.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

fn day_of(date: Date) -> i32 {
    let epoch = jiff::civil::date(1970, 1, 1);
    // INVARIANT: all dates that jiff knows are less than 2^31 days apart.
    epoch.until((jiff::Unit::Day, date)).map_or(0, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::DAY_US;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn a_day_begins_at_midnight_of_the_zone() {
        let london = TimeZone::get("Europe/London").unwrap();
        let (before, after) = (at("2011-06-30T22:59:59Z"), at("2011-06-30T23:00:00Z"));
        let day = slot_of(before, SlotWidth::Day, &london);
        assert_eq!(slot_of(after, SlotWidth::Day, &london), day + 1);
        assert_eq!(slot_of(after, SlotWidth::Day, &TimeZone::UTC), day);
        assert_eq!(i64::from(day) * DAY_US, at("2011-06-30T00:00:00Z").0);
        assert_eq!(slot_of(after, SlotWidth::Hour, &london), slot_of(before, SlotWidth::Hour, &london) + 1);
        assert_eq!(slot_of(at("1969-12-31T23:00:00Z"), SlotWidth::Day, &TimeZone::UTC), -1);
        assert_eq!(slot_of(at("1969-12-31T23:00:00Z"), SlotWidth::Hour, &TimeZone::UTC), -1);
    }

    #[test]
    fn a_week_begins_on_monday() {
        // 1 June 2011 was a Wednesday.
        let slots = now_slots(at("2011-06-01T12:00:00Z"), &TimeZone::UTC);
        assert_eq!(slots.day - slots.week_from, 2);
        assert_eq!(slots.month_from, slots.day);
        assert_eq!(slots.day - slots.year_from, 151);
        let sunday = now_slots(at("2011-06-05T12:00:00Z"), &TimeZone::UTC);
        assert_eq!((sunday.day - sunday.week_from, sunday.week_from), (6, slots.week_from));
        let monday = now_slots(at("2011-06-06T00:00:00Z"), &TimeZone::UTC);
        assert_eq!(monday.week_from, monday.day);
    }
}
