//! Where the windows of limits and budgets begin and end, local time.

use jiff::{civil, tz::TimeZone};

use crate::domain::Timestamp;

use super::policy::Window;

impl Window {
    /// The first moment that a window counts which holds a moment. A rolling one
    /// ends with it.
    pub fn from(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Window::Rolling(us) => now.plus_us(us.saturating_neg()).plus_us(1),
            calendar => midnight(calendar.first_date(now, zone), zone),
        }
    }

    /// The first moment that a window counts no more which holds a moment.
    pub fn until(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let span = match self {
            Window::Rolling(_) => return now.plus_us(1),
            Window::Day => jiff::Span::new().days(1),
            Window::Week => jiff::Span::new().days(7),
            Window::Month => jiff::Span::new().months(1),
        };
        midnight(self.first_date(now, zone).saturating_add(span), zone)
    }

    /// Its length, microseconds; of a calendar one the most it may have.
    pub fn length_us(self) -> i64 {
        use crate::domain::time::DAY_US;
        match self {
            Window::Rolling(us) => us,
            // a day and the change of an hour
            Window::Day => 2 * DAY_US,
            Window::Week => 8 * DAY_US,
            Window::Month => 32 * DAY_US,
        }
    }

    fn first_date(self, now: Timestamp, zone: &TimeZone) -> civil::Date {
        let today = local(now, zone).date();
        match self {
            Window::Rolling(_) | Window::Day => today,
            Window::Week => {
                let since_monday = i64::from(today.weekday().to_monday_zero_offset());
                today.saturating_sub(jiff::Span::new().days(since_monday))
            }
            Window::Month => today.first_of_month(),
        }
    }
}

/// The time of day that clocks of a zone show.
pub(crate) fn local(at: Timestamp, zone: &TimeZone) -> civil::DateTime {
    zone.to_datetime(jiff::Timestamp::from_microsecond(at.0).unwrap_or_default())
}

/// The moment of a time of day in a zone; `choose` says which of two.
pub(crate) fn timestamp(
    local: civil::DateTime,
    zone: &TimeZone,
    choose: impl Fn(jiff::tz::AmbiguousTimestamp) -> Result<jiff::Timestamp, jiff::Error>,
) -> Timestamp {
    choose(zone.to_ambiguous_timestamp(local)).map_or(Timestamp(0), |t| Timestamp(t.as_microsecond()))
}

fn midnight(date: civil::Date, zone: &TimeZone) -> Timestamp {
    timestamp(date.at(0, 0, 0, 0), zone, |ambiguous| ambiguous.compatible())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_window_ends_where_the_next_begins() {
        let zone = TimeZone::get("Europe/London").unwrap();
        // 2026-03-29 is 23 hours long there
        let at: jiff::Timestamp = "2026-03-29T12:00:00Z".parse().unwrap();
        let at = Timestamp(at.as_microsecond());
        for window in [Window::Day, Window::Week, Window::Month] {
            let (from, until) = (window.from(at, &zone), window.until(at, &zone));
            assert!(from <= at && at < until, "{window:?}");
            assert_eq!(window.from(until, &zone), until, "{window:?}");
            assert_eq!(window.until(from, &zone), until, "{window:?}");
            assert!(until.since_us(from) <= window.length_us(), "{window:?}");
        }
        assert_eq!(Window::Day.until(at, &zone).since_us(Window::Day.from(at, &zone)), 23 * 3_600_000_000);
    }
}
