//! Moments as files have them.

use jiff::{civil, tz::TimeZone};

use crate::domain::Timestamp;

/// Forms of moments beside RFC 3339 and ISO 8601; a date is its midnight.
const FORMS: [&str; 4] = ["%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S"];

/// A moment of a text. One without a time zone counts as UTC. Numbers with
/// slashes are month, day, year.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(at.as_microsecond()));
    }
    let civil = text.parse::<civil::DateTime>().ok();
    let other = || FORMS.iter().find_map(|form| civil::DateTime::strptime(form, text).ok());
    let at = civil.or_else(other)?.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp(at.timestamp().as_microsecond()))
}

/// A moment as RFC 3339.
pub(super) fn text(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}
