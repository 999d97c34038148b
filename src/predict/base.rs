//! What the whole base of customers lends to one of them: scores and the model
//! of repeat purchase.

use crate::domain::{
    Cell, EventTypeId, Profile, Timestamp,
    profile::{SeriesState, SlotSum},
    schema::ModelTrait,
    series::{PURCHASE_DAYS, PURCHASE_EVENT},
};

use super::{Purchases, Quantiles, RepeatModel};

/// The analysis of the whole base that decisions read.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct BaseModel {
    /// Counts the analyses that found something else than the one before; 0
    /// before the first.
    pub version: u64,
    /// The end of the time that was looked at.
    pub observed_until: Timestamp,
    /// What parts those who bought; `None` when nobody did.
    pub rfm: Option<RfmQuantiles>,
    /// The model of repeat purchase; `None` when there is too little to fit.
    pub repeat: Option<RepeatModel>,
}

/// What parts those who bought into five groups each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RfmQuantiles {
    /// Days since the last purchase.
    pub recency_days: Quantiles<u32>,
    /// Days with purchases.
    pub frequency: Quantiles<u32>,
    /// What was spent, minor units.
    pub monetary: Quantiles<i64>,
}

/// What one customer bought, as far as the profile has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bought {
    /// Days with purchases, at least one.
    pub days: u32,
    /// The first of them: days since 1970.
    pub first_day: i32,
    /// The last of them.
    pub last_day: i32,
    /// What was spent, minor units.
    pub spent: i64,
}

impl Bought {
    /// What a customer bought; `None` for who never did.
    ///
    /// Exact while the purchases of the last [`crate::domain::series::SLOTS_MAX`]
    /// days are all there are. Those before them are known as a number of
    /// events: it is taken that they fell on days as often as the later ones
    /// did. Without any kept day (events from before the days were kept) each
    /// event counts as a day, as far as there are days.
    pub fn of(profile: &Profile) -> Option<Self> {
        let totals = Totals::of(profile)?;
        let kept = kept_days(profile);
        let (Some(oldest), Some(newest)) = (kept.first(), kept.last()) else {
            return Some(totals.without_days());
        };
        let (first_day, last_day) = (totals.first_day.min(oldest.slot), totals.last_day.max(newest.slot));
        let kept_events: u64 = kept.iter().map(|day| u64::from(day.count)).sum();
        let older_events = totals.events.saturating_sub(kept_events);
        let mut days = kept.len() as u64;
        if older_events > 0 && first_day < oldest.slot {
            let alike = (older_events * days).div_ceil(kept_events.max(1));
            days += alike.min(u64::from(oldest.slot.abs_diff(first_day)));
        }
        let days = u32::try_from(days).unwrap_or(u32::MAX);
        Some(Self { days, first_day, last_day, spent: totals.spent })
    }

    /// Days since the last purchase on a day.
    pub fn recency_days(&self, today: i32) -> u32 {
        u32::try_from(i64::from(today) - i64::from(self.last_day)).unwrap_or(0)
    }

    /// What the model of repeat purchase reads on a day.
    pub fn purchases(&self, today: i32) -> Purchases {
        let days = |until: i32| u32::try_from(i64::from(until) - i64::from(self.first_day)).unwrap_or(0);
        Purchases {
            repeats: self.days.saturating_sub(1).min(days(self.last_day)),
            last_days: days(self.last_day),
            age_days: days(today.max(self.last_day)),
        }
    }
}

/// Purchases over all that were merged into a customer.
struct Totals {
    events: u64,
    first_day: i32,
    last_day: i32,
    spent: i64,
}

impl Totals {
    fn of(profile: &Profile) -> Option<Self> {
        let event = EventTypeId::of(PURCHASE_EVENT);
        let absorbed = profile.absorbed.iter().flat_map(|origin| &origin.stats);
        let stats = profile.stats.iter().chain(absorbed).filter(|stat| stat.event == event && stat.count > 0);
        stats.fold(None, |sum: Option<Self>, stat| {
            let (first, last) = (stat.first_at.date().0, stat.last_at.date().0);
            let sum = sum.unwrap_or(Self { events: 0, first_day: first, last_day: last, spent: 0 });
            Some(Self {
                events: sum.events.saturating_add(stat.count),
                first_day: sum.first_day.min(first),
                last_day: sum.last_day.max(last),
                spent: sum.spent.saturating_add(stat.amount),
            })
        })
    }

    fn without_days(&self) -> Bought {
        let span = u64::from(self.last_day.abs_diff(self.first_day)) + 1;
        // the first and the last day are known to be two
        let days = self.events.clamp(1.min(span), span).max(span.min(2));
        let (first_day, last_day) = (self.first_day, self.last_day);
        Bought { days: u32::try_from(days).unwrap_or(u32::MAX), first_day, last_day, spent: self.spent }
    }
}

/// The days with purchases, in order, over all that were merged.
fn kept_days(profile: &Profile) -> Vec<SlotSum> {
    let absorbed = profile.absorbed.iter().flat_map(|origin| &origin.series);
    let kept = profile.series.iter().chain(absorbed).filter(|series| series.id == PURCHASE_DAYS);
    let sums = kept.filter_map(|series| match &series.state {
        SeriesState::Sums(sums) => Some(sums),
        _ => None,
    });
    let mut days: Vec<SlotSum> = sums.flatten().filter(|day| day.count > 0).copied().collect();
    days.sort_by_key(|day| day.slot);
    days.dedup_by(|later, kept| {
        let same = later.slot == kept.slot;
        if same {
            kept.count = kept.count.saturating_add(later.count);
        }
        same
    });
    days
}

impl BaseModel {
    /// What the base lends to a customer on a day (days since 1970 in the time
    /// zone of the rules). Missing for who never bought, and where there was too
    /// little to learn from.
    pub fn read(&self, wanted: ModelTrait, profile: &Profile, today: i32) -> Cell {
        if self.version == 0 {
            return Cell::Missing;
        }
        let Some(bought) = Bought::of(profile) else { return Cell::Missing };
        let score = |score: fn(&RfmQuantiles, &Bought, i32) -> u8| {
            self.rfm.as_ref().map_or(Cell::Missing, |rfm| Cell::Int(i64::from(score(rfm, &bought, today))))
        };
        let modelled = |of: &dyn Fn(&RepeatModel, &Purchases) -> f64| {
            let value = self.repeat.as_ref().map(|model| of(model, &bought.purchases(today)));
            value.filter(|value| value.is_finite()).map_or(Cell::Missing, Cell::Double)
        };
        match wanted {
            ModelTrait::RecencyScore => score(|rfm, bought, today| rfm.scores(bought, today)[0]),
            ModelTrait::FrequencyScore => score(|rfm, bought, today| rfm.scores(bought, today)[1]),
            ModelTrait::MonetaryScore => score(|rfm, bought, today| rfm.scores(bought, today)[2]),
            ModelTrait::AliveProbability => modelled(&RepeatModel::alive),
            ModelTrait::ExpectedPurchases { days } => modelled(&|model, seen| model.expected(seen, f64::from(days))),
        }
    }
}

impl RfmQuantiles {
    /// The scores of recency, frequency and monetary value, 1 to 5 each.
    pub fn scores(&self, bought: &Bought, today: i32) -> [u8; 3] {
        [
            self.recency_days.score_of_less(bought.recency_days(today)),
            self.frequency.score(bought.days),
            self.monetary.score(bought.spent),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        profile::{EventStat, Origin, StoredSeries},
        series::PURCHASE_DAYS_KEEP,
        time::DAY_US,
    };

    fn stat(count: u64, (first, last): (i32, i32), amount: i64) -> EventStat {
        let at = |day: i32| Timestamp(i64::from(day) * DAY_US + 7);
        EventStat { event: EventTypeId::of(PURCHASE_EVENT), count, amount, first_at: at(first), last_at: at(last) }
    }

    fn days(list: &[(i32, u32)]) -> StoredSeries {
        let sums = list.iter().map(|(slot, count)| SlotSum { slot: *slot, count: *count, sum: 0, min: 0, max: 0 });
        StoredSeries { id: PURCHASE_DAYS, keep: PURCHASE_DAYS_KEEP, state: SeriesState::Sums(sums.collect()) }
    }

    #[test]
    fn days_are_counted_and_not_events() {
        let profile = Profile {
            stats: vec![stat(5, (10, 40), 900)],
            series: vec![days(&[(10, 3), (40, 2)])],
            ..Profile::default()
        };
        let bought = Bought::of(&profile).unwrap();
        assert_eq!(bought, Bought { days: 2, first_day: 10, last_day: 40, spent: 900 });
        assert_eq!(bought.purchases(100), Purchases { repeats: 1, last_days: 30, age_days: 90 });
        assert_eq!(bought.recency_days(100), 60);
    }

    #[test]
    fn a_day_on_which_two_merged_customers_bought_is_one() {
        let origin =
            Origin { stats: vec![stat(2, (5, 40), 50)], series: vec![days(&[(5, 1), (40, 1)])], ..Origin::default() };
        let profile = Profile {
            stats: vec![stat(2, (10, 40), 100)],
            series: vec![days(&[(10, 1), (40, 1)])],
            absorbed: vec![origin],
            ..Profile::default()
        };
        assert_eq!(Bought::of(&profile), Some(Bought { days: 3, first_day: 5, last_day: 40, spent: 150 }));
    }

    #[test]
    fn days_that_are_not_kept_any_more_are_taken_as_alike() {
        // 6 events on 3 kept days, 4 events before them: 2 more days
        let profile = Profile {
            stats: vec![stat(10, (0, 1_000), 0)],
            series: vec![days(&[(700, 2), (800, 2), (1_000, 2)])],
            ..Profile::default()
        };
        assert_eq!(Bought::of(&profile).unwrap().days, 5);
        let without = Profile { stats: vec![stat(10, (0, 3), 0)], ..Profile::default() };
        assert_eq!(Bought::of(&without).unwrap().days, 4);
        assert_eq!(Bought::of(&Profile::default()), None);
    }

    #[test]
    fn a_customer_is_read_against_the_base() {
        let rfm = RfmQuantiles {
            recency_days: Quantiles([10, 20, 30, 40]),
            frequency: Quantiles([1, 2, 3, 4]),
            monetary: Quantiles([100, 200, 300, 400]),
        };
        let repeat = RepeatModel { r: 0.8, alpha: 60.0, a: 0.4, b: 3.0 };
        let base = BaseModel { version: 1, rfm: Some(rfm), repeat: Some(repeat), ..BaseModel::default() };
        let profile = Profile {
            stats: vec![stat(2, (10, 40), 400)],
            series: vec![days(&[(10, 1), (40, 1)])],
            ..Profile::default()
        };
        let read = |wanted| base.read(wanted, &profile, 55);
        assert_eq!(read(ModelTrait::RecencyScore), Cell::Int(4));
        assert_eq!(read(ModelTrait::FrequencyScore), Cell::Int(2));
        assert_eq!(read(ModelTrait::MonetaryScore), Cell::Int(4));
        let Cell::Double(alive) = read(ModelTrait::AliveProbability) else { panic!("no probability") };
        assert!(alive > 0.5 && alive < 1.0);
        let later = base.read(ModelTrait::AliveProbability, &profile, 900);
        assert!(matches!(later, Cell::Double(later) if later < alive), "silence grows");
        assert!(matches!(read(ModelTrait::ExpectedPurchases { days: 30 }), Cell::Double(n) if n > 0.0 && n < 30.0));
        assert_eq!(base.read(ModelTrait::RecencyScore, &Profile::default(), 55), Cell::Missing);
        assert_eq!(BaseModel::default().read(ModelTrait::RecencyScore, &profile, 55), Cell::Missing);
    }
}
