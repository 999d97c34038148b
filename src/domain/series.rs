//! What profiles keep of events for the traits that look at a window of them.
//!
//! The rules say which events feed which series; what an event feeds is worked
//! out once, when it comes in, and stands in the event itself, so that a profile
//! is a function of its events alone.

use super::Timestamp;

/// A series: the stable hash of (event type, filter, field, what is kept). Two
/// traits that need the same share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeriesId(pub u32);

/// The event type whose events are purchases for the analysis of the base.
pub const PURCHASE_EVENT: &str = "purchase";
/// The days with purchases: fed by every purchase whatever the rules ask for,
/// since the model of repeat purchase counts days.
pub const PURCHASE_DAYS: SeriesId = SeriesId(0x6275_7973);
/// What [`PURCHASE_DAYS`] keeps.
pub const PURCHASE_DAYS_KEEP: Keep = Keep::Slots { width: SlotWidth::Day, slots: SLOTS_MAX };

/// What an event adds to a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// Which.
    pub series: SeriesId,
    /// What is kept.
    pub keep: Keep,
    /// The slot of time of the event: hours or days since 1970 in the time zone
    /// of the rules, as `keep` says; 0 where it has none.
    pub slot: i32,
    /// The value.
    pub value: FeedValue,
}

/// What a series keeps. Closed; part of what its id is a hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Count, sum, least and largest per slot of time; slots older than the
    /// newest by this many go.
    Slots {
        /// How long a slot is.
        width: SlotWidth,
        /// Slots kept, 1 to [`SLOTS_MAX`].
        slots: u16,
    },
    /// Count, sum, least and largest of all there ever were.
    Total,
    /// The value of the latest event; of equal times the one with the larger id.
    Latest,
    /// The value of the earliest event; of equal times the one with the smaller id.
    Earliest,
    /// Per name: how often, and when last, per slot of time; slots older than
    /// the newest by `slots` go. Of more than [`NAMES_MAX`] names those seen
    /// longest ago go; their counts begin anew when they come back. What is kept
    /// for ever has one slot, 0.
    Names {
        /// How long a slot is.
        width: SlotWidth,
        /// Slots kept, 1 to [`SLOTS_MAX`].
        slots: u16,
    },
    /// The moments of the latest [`MOMENTS_MAX`] events.
    Moments,
}

/// How long a slot of time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SlotWidth {
    /// An hour.
    Hour = 1,
    /// A calendar day in the time zone of the rules.
    Day = 2,
}

/// Most slots of a series.
pub const SLOTS_MAX: u16 = 400;
/// Most names of a series.
pub const NAMES_MAX: usize = 32;
/// Most (name, slot) pairs of a series; of more those of the oldest slots go.
pub const NAME_SLOTS_MAX: usize = 1_024;
/// Most moments of a series.
pub const MOMENTS_MAX: usize = 16;
/// Most series of a customer; of more those with the largest ids go.
pub const SERIES_MAX: usize = 256;

/// A value that is fed. Numbers are whole so that sums do not depend on the
/// order: money in minor units, doubles in millionths, rounded half away from
/// zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeedValue {
    /// Only that it happened.
    Nothing,
    /// A number.
    Number(i64),
    /// A text, at most 64 bytes.
    Text(Box<str>),
    /// A moment.
    Moment(Timestamp),
}

/// How a trait reads a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesTrait {
    /// The series.
    pub series: SeriesId,
    /// What the series keeps.
    pub keep: Keep,
    /// What is computed.
    pub aggregate: Aggregate,
    /// Over which time.
    pub window: Window,
    /// What the numbers are.
    pub unit: Unit,
}

/// What is computed of a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// How many (int, 0 when none).
    Count,
    /// The sum (0 when none).
    Sum,
    /// The mean (missing when none).
    Mean,
    /// The least (missing when none).
    Min,
    /// The largest (missing when none).
    Max,
    /// The value of the latest (missing when none).
    Last,
    /// The value of the earliest (missing when none).
    First,
    /// How many different names (int, 0 when none).
    Distinct,
    /// The names seen most often, most often first, of equals the one seen last
    /// (string for one, set for more; missing when none).
    Top(u8),
    /// Whole days since the latest (int, missing when none).
    DaysSince,
    /// Whether one of this series was followed by one of the other within a
    /// time (bool).
    FollowedBy {
        /// The other series; it keeps [`Keep::Moments`].
        then: SeriesId,
        /// Within, microseconds.
        within_us: i64,
    },
    /// Whether the latest of this series is older than a time, not older than
    /// another, and was followed by none of the other (bool).
    Abandoned {
        /// The other series; it keeps [`Keep::Moments`].
        unless: SeriesId,
        /// After, microseconds.
        after_us: i64,
        /// At most so long ago, microseconds; the largest number for ever.
        within_us: i64,
    },
}

/// The time that a trait looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Everything there ever was.
    Lifetime,
    /// This slot and those before it, so many in all: `90d` is today and the 89
    /// days before.
    Rolling {
        /// How long a slot is.
        width: SlotWidth,
        /// Slots.
        slots: u16,
    },
    /// The calendar day, week (from Monday), month or year that it is, in the
    /// time zone of the rules.
    Calendar(Period),
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Period {
    /// A day.
    Day = 1,
    /// A week, from Monday.
    Week = 2,
    /// A month.
    Month = 3,
    /// A year.
    Year = 4,
}

/// What the numbers of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Unit {
    /// Whole numbers.
    Int = 1,
    /// Millionths.
    Double = 2,
    /// Minor units of the currency.
    Money = 3,
    /// Texts.
    Text = 4,
    /// Moments.
    Timestamp = 5,
}

/// The slots of now, worked out once per reading, in the time zone of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NowSlots {
    /// Hours of the wall clock since 1970: 24 to a `day`, so that an hour tells
    /// its day.
    pub hour: i32,
    /// Days since 1970.
    pub day: i32,
    /// The first day of this week.
    pub week_from: i32,
    /// The first day of this month.
    pub month_from: i32,
    /// The first day of this year.
    pub year_from: i32,
}
