//! Parts of moments, dates and durations: CEL's `getFullYear()` and the like.

use jiff::{civil::DateTime, tz::TimeZone};

use super::{scalar::Scalar, types::Type};
use crate::domain::Date;

/// A part of a moment, as CEL counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    FullYear,
    /// 0 is January.
    Month,
    /// Day of the month from 1.
    Date,
    /// Day of the month from 0.
    DayOfMonth,
    /// 0 is Sunday.
    DayOfWeek,
    /// 0 is the first of January.
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// The accessors and their parts.
pub(super) const ACCESSORS: [(&str, Part); 10] = [
    ("getFullYear", Part::FullYear),
    ("getMonth", Part::Month),
    ("getDate", Part::Date),
    ("getDayOfMonth", Part::DayOfMonth),
    ("getDayOfWeek", Part::DayOfWeek),
    ("getDayOfYear", Part::DayOfYear),
    ("getHours", Part::Hours),
    ("getMinutes", Part::Minutes),
    ("getSeconds", Part::Seconds),
    ("getMilliseconds", Part::Milliseconds),
];

/// The part an accessor is about.
pub(super) fn accessor(name: &str) -> Option<Part> {
    ACCESSORS.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
}

/// A part, where a moment's local time is that of the zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moment {
    pub part: Part,
    pub zone: TimeZone,
}

impl Part {
    /// Whether values of a type have the part. CEL's own descriptions differ in
    /// what the milliseconds of a duration are, so a duration has none.
    pub fn stands_on(self, kind: Type) -> bool {
        let clock = matches!(self, Part::Hours | Part::Minutes | Part::Seconds);
        match kind {
            Type::Time => true,
            Type::Date => !clock && self != Part::Milliseconds,
            Type::Duration => clock,
            _ => false,
        }
    }
}

impl Moment {
    /// The part of a value; of a duration its whole length.
    pub fn of<'a>(&self, value: Scalar<'_>) -> Scalar<'a> {
        let part = match value {
            Scalar::Time(us) => {
                jiff::Timestamp::from_microsecond(us).ok().map(|at| self.of_local(self.zone.to_datetime(at)))
            }
            Scalar::Date(days) => {
                let (year, month, day) = Date(days).ymd();
                jiff::civil::Date::new(year, month, day)
                    .ok()
                    .map(|date| self.of_local(date.to_datetime(jiff::civil::Time::midnight())))
            }
            Scalar::Duration(us) => match self.part {
                Part::Hours => Some(us / 3_600_000_000),
                Part::Minutes => Some(us / 60_000_000),
                Part::Seconds => Some(us / 1_000_000),
                _ => None,
            },
            _ => None,
        };
        part.map_or(Scalar::Unknown, Scalar::Int)
    }

    fn of_local(&self, local: DateTime) -> i64 {
        match self.part {
            Part::FullYear => i64::from(local.year()),
            Part::Month => i64::from(local.month()) - 1,
            Part::Date => i64::from(local.day()),
            Part::DayOfMonth => i64::from(local.day()) - 1,
            Part::DayOfWeek => i64::from(local.weekday().to_sunday_zero_offset()),
            Part::DayOfYear => i64::from(local.day_of_year()) - 1,
            Part::Hours => i64::from(local.hour()),
            Part::Minutes => i64::from(local.minute()),
            Part::Seconds => i64::from(local.second()),
            Part::Milliseconds => i64::from(local.millisecond()),
        }
    }
}

/// A time zone by its name, as in `Europe/London`, or by its offset, as in `+02:00`.
pub(super) fn zone(text: &str) -> Option<TimeZone> {
    if let Some(offset) = offset(text) {
        return Some(TimeZone::fixed(offset));
    }
    TimeZone::get(text).ok()
}

fn offset(text: &str) -> Option<jiff::tz::Offset> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let plain = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    if !plain(hours) || !plain(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    jiff::tz::Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}
