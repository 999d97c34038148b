//! Local time: where quiet hours begin and end.

use jiff::{civil, tz::TimeZone};

use crate::{
    domain::Timestamp,
    rules::{QuietHours, local, timestamp},
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
