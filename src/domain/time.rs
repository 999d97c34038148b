//! Moments and dates.

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds of a day.
pub const DAY_US: i64 = 86_400 * SECOND_US;

impl Timestamp {
    /// From milliseconds since 1970.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Milliseconds since 1970, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// This moment moved by microseconds.
    pub fn plus_us(self, us: i64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds from an earlier moment to this one.
    pub fn since_us(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The UTC date.
    pub fn date(self) -> Date {
        Date(self.0.div_euclid(DAY_US) as i32)
    }
}

/// A calendar date: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Date(pub i32);

impl Date {
    /// From year, month (1..=12) and day (1..=31); `None` when there is no such day.
    pub fn from_ymd(year: i16, month: i8, day: i8) -> Option<Self> {
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        let epoch = jiff::civil::date(1970, 1, 1);
        let days = (date - epoch).get_days();
        Some(Self(days))
    }

    /// Year, month and day.
    pub fn ymd(self) -> (i16, i8, i8) {
        let epoch = jiff::civil::date(1970, 1, 1);
        let span = jiff::Span::new().try_days(self.0).unwrap_or_default();
        let date = epoch.saturating_add(span);
        (date.year(), date.month(), date.day())
    }

    /// Parses `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        let date: jiff::civil::Date = text.parse().ok()?;
        Self::from_ymd(date.year(), date.month(), date.day())
    }
}
