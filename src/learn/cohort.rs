//! Cohorts: who first bought in a month, and how many of them bought in each
//! month after it.

use std::collections::{BTreeMap, BTreeSet};

/// Most months that are told, from the latest back.
pub const MONTHS_MAX: usize = 120;

/// A month: years since 0 times 12 and the months of the year before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i32);

impl Month {
    /// The month of a day since 1970 in the calendar of Gregory, after Hinnant
    /// <https://howardhinnant.github.io/date_algorithms.html>, `civil_from_days`.
    pub fn of_day(day: i32) -> Self {
        let days = i64::from(day) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // from March, so that the leap day is the last
        let month = (5 * day + 2) / 153;
        let months = (era * 400 + year) * 12 + month + 2;
        Self(i32::try_from(months).unwrap_or(i32::MAX))
    }

    /// As `2011-12`.
    pub fn text(self) -> String {
        format!("{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

/// Who first bought in one month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohort {
    /// The month.
    pub month: Month,
    /// How many of them bought 0, 1, 2... months later; the first is all of
    /// them.
    pub active: Vec<u64>,
}

/// Counts customers by cohort.
#[derive(Clone, Debug, Default)]
pub struct Cohorts {
    counted: BTreeMap<Month, Vec<u64>>,
    last: Option<Month>,
}

impl Cohorts {
    /// Counts a customer by the days of the purchases.
    pub fn add(&mut self, days: impl IntoIterator<Item = i32>) {
        let months: BTreeSet<Month> = days.into_iter().map(Month::of_day).collect();
        let (Some(first), Some(last)) = (months.first().copied(), months.last().copied()) else { return };
        self.last = self.last.max(Some(last));
        let active = self.counted.entry(first).or_default();
        for month in months {
            let since = usize::try_from(month.0 - first.0).unwrap_or(0);
            if active.len() <= since {
                active.resize(since + 1, 0);
            }
            active[since] += 1;
        }
    }

    /// The cohorts, earliest first, each up to the last month of all; at most
    /// [`MONTHS_MAX`] of them and of their months.
    pub fn told(&self) -> Vec<Cohort> {
        let Some(last) = self.last else { return Vec::new() };
        let after = self.counted.len().saturating_sub(MONTHS_MAX);
        let cohorts = self.counted.iter().skip(after);
        let told = cohorts.map(|(month, active)| {
            let mut active = active.clone();
            let months = usize::try_from(last.0 - month.0).unwrap_or(0) + 1;
            active.resize(months.min(MONTHS_MAX), 0);
            Cohort { month: *month, active }
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_months() {
        for (day, month) in
            [(0, "1970-01"), (-1, "1969-12"), (15_309, "2011-12"), (19_782, "2024-02"), (19_783, "2024-03")]
        {
            assert_eq!(Month::of_day(day).text(), month, "{day}");
        }
        assert_eq!(Month::of_day(-719_529).text(), "-001-12");
    }

    #[test]
    fn a_customer_counts_once_a_month() {
        let mut cohorts = Cohorts::default();
        cohorts.add([0, 1, 40, 41]);
        cohorts.add([5]);
        cohorts.add([100]);
        cohorts.add([]);
        let told = cohorts.told();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].month.text().as_str(), told[0].active.as_slice()), ("1970-01", &[2, 1, 0, 0][..]));
        assert_eq!((told[1].month.text().as_str(), told[1].active.as_slice()), ("1970-04", &[1][..]));
    }
}
