//! Sums over slots, and what is computed of them.

use super::SeriesValue;
use crate::domain::{
    Timestamp,
    profile::SlotSum,
    series::{Aggregate, Unit},
};

/// Doubles are kept in millionths.
const MILLIONTHS: f64 = 1e6;

/// Slots added up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    count: u64,
    sum: i128,
    /// The least and the largest, if any.
    ends: Option<(i64, i64)>,
}

impl Numbers {
    pub fn add(&mut self, slot: &SlotSum) {
        self.count += u64::from(slot.count);
        self.sum += i128::from(slot.sum);
        self.ends =
            Some(self.ends.map_or((slot.min, slot.max), |(least, most)| (least.min(slot.min), most.max(slot.max))));
    }

    pub fn value(&self, aggregate: &Aggregate, unit: Unit) -> SeriesValue {
        match aggregate {
            Aggregate::Count => SeriesValue::Int(i64::try_from(self.count).unwrap_or(i64::MAX)),
            Aggregate::Sum if unit == Unit::Timestamp => SeriesValue::Missing,
            Aggregate::Sum => number(self.sum, unit),
            Aggregate::Mean => self.mean(unit),
            Aggregate::Min => self.ends.map_or(SeriesValue::Missing, |(least, _)| number(least.into(), unit)),
            Aggregate::Max => self.ends.map_or(SeriesValue::Missing, |(_, most)| number(most.into(), unit)),
            _ => SeriesValue::Missing,
        }
    }

    /// Money and moments are rounded half away from zero; the mean of whole
    /// numbers is a double.
    fn mean(&self, unit: Unit) -> SeriesValue {
        if self.count == 0 {
            return SeriesValue::Missing;
        }
        match unit {
            Unit::Int => SeriesValue::Double(self.sum as f64 / self.count as f64),
            Unit::Double => SeriesValue::Double(self.sum as f64 / MILLIONTHS / self.count as f64),
            Unit::Money | Unit::Timestamp => {
                let count = i128::from(self.count);
                let half = if self.sum < 0 { -count / 2 } else { count / 2 };
                number((self.sum + half) / count, unit)
            }
            Unit::Text => SeriesValue::Missing,
        }
    }
}

/// A number of a unit, at most what 64 bits hold.
pub(super) fn number(value: i128, unit: Unit) -> SeriesValue {
    let whole = i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX });
    match unit {
        Unit::Int => SeriesValue::Int(whole),
        Unit::Double => SeriesValue::Double(whole as f64 / MILLIONTHS),
        Unit::Money => SeriesValue::Money(whole),
        Unit::Timestamp => SeriesValue::Moment(Timestamp(whole)),
        Unit::Text => SeriesValue::Missing,
    }
}
