//! Local time: where windows begin and quiet hours end.

use jiff::{civil, tz::TimeZone};

use crate::{
    domain::Timestamp,
    rules::{QuietHours, Window},
};

/// Most time zones of customers remembered by a worker.
const ZONES_LEN_MAX: usize = 64;

/// Time zones by name, so that a name is parsed once.
#[derive(Default)]
pub(super) struct Zones {
    known: Vec<(Box<str>, Option<TimeZone>)>,
}

impl Zones {
    /// A time zone by its IANA name.
    pub fn get(&mut self, name: &str) -> Option<&TimeZone> {
        let at = match self.known.iter().position(|k| &*k.0 == name) {
            Some(at) => at,
            None => {
                if self.known.len() == ZONES_LEN_MAX {
                    self.known.clear();
                }
                self.known.push((name.into(), TimeZone::get(name).ok()));
                self.known.len() - 1
            }
        };
        self.known[at].1.as_ref()
    }
}

/// The first moment a window counts; it ends now. The calendar is the ruleset's.
pub(super) fn window_from(window: Window, now: Timestamp, zone: &TimeZone) -> Timestamp {
    let date = || local(now, zone).date();
    match window {
        Window::Rolling(us) => now.plus_us(us.saturating_neg()).plus_us(1),
        Window::Day => midnight(date(), zone),
        Window::Week => {
            let today = date();
            let since_monday = i64::from(today.weekday().to_monday_zero_offset());
            midnight(today.saturating_sub(jiff::Span::new().days(since_monday)), zone)
        }
        Window::Month => midnight(date().first_of_month(), zone),
    }
}

/// When quiet hours end that hold now; `None` when they do not hold.
pub(super) fn quiet_until(hours: &QuietHours, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let local = local(now, zone);
    let minute = local.hour() as u16 * 60 + local.minute() as u16;
    let (from, until) = (hours.from_minute, hours.until_minute);
    let spans_midnight = until < from;
    let holds = if spans_midnight { minute >= from || minute < until } else { minute >= from && minute < until };
    if !holds {
        return None;
    }
    let date = if spans_midnight && minute >= from { local.date().tomorrow().ok()? } else { local.date() };
    let end = date.at((until / 60 % 24) as i8, (until % 60) as i8, 0, 0);
    let end = if until >= 24 * 60 { date.tomorrow().ok()?.at(0, 0, 0, 0) } else { end };
    // The later of two equal local times, so that the clock going back does not
    // lead into quiet hours again.
    Some(timestamp(end, zone, |ambiguous| ambiguous.later()))
}

/// When quiet hours begin next after a moment outside of them; `None` when there
/// are none.
pub(super) fn quiet_from(hours: &QuietHours, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if hours.from_minute == hours.until_minute {
        return None;
    }
    let minute = i8::try_from(hours.from_minute % 60).ok()?;
    let hour = i8::try_from(hours.from_minute / 60 % 24).ok()?;
    let today = local(after, zone).date();
    // The earlier of two equal local times: hours that come twice begin with the first.
    let begin = |date: civil::Date| timestamp(date.at(hour, minute, 0, 0), zone, |ambiguous| ambiguous.earlier());
    [Some(today), today.tomorrow().ok()].into_iter().flatten().map(begin).find(|begin| *begin > after)
}

fn local(at: Timestamp, zone: &TimeZone) -> civil::DateTime {
    zone.to_datetime(jiff::Timestamp::from_microsecond(at.0).unwrap_or_default())
}

fn midnight(date: civil::Date, zone: &TimeZone) -> Timestamp {
    timestamp(date.at(0, 0, 0, 0), zone, |ambiguous| ambiguous.compatible())
}

fn timestamp(
    local: civil::DateTime,
    zone: &TimeZone,
    choose: impl Fn(jiff::tz::AmbiguousTimestamp) -> Result<jiff::Timestamp, jiff::Error>,
) -> Timestamp {
    choose(zone.to_ambiguous_timestamp(local)).map_or(Timestamp(0), |t| Timestamp(t.as_microsecond()))
}
