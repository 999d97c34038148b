//! Series: what a profile keeps of events for traits that look at a window.
//!
//! What a series holds is a function of the set of events that fed it, in
//! whatever order they came, within these bounds:
//! - an event in a slot older than the newest kept ones is not counted; nor
//!   would it be had it come in time;
//! - of more than [`NAMES_MAX`](crate::domain::series::NAMES_MAX) names, or
//!   [`NAME_SLOTS_MAX`](crate::domain::series::NAME_SLOTS_MAX) pairs of name and
//!   slot, those kept are right, but the count of one that went and came back
//!   misses what was before;
//! - pairs of moments are sought among the newest
//!   [`MOMENTS_MAX`](crate::domain::series::MOMENTS_MAX) of each series;
//! - sums stop at the ends of 64 bits.

mod numbers;
mod read;
mod states;
mod window;

#[cfg(test)]
mod tests;

pub use read::{SeriesValue, read};

use crate::domain::{
    Event, EventId, Profile, StoredSeries, Timestamp,
    profile::{NameSum, SeriesState, SlotSum},
    series::{Feed, FeedValue, Keep, SERIES_MAX},
};

/// Adds what an event feeds.
pub(super) fn feed(profile: &mut Profile, event: &Event) {
    for feed in &event.feeds {
        if let Some(state) = alone(feed, (event.at, event.id)) {
            unite_one(&mut profile.series, StoredSeries { id: feed.series, keep: feed.keep, state });
        }
    }
}

/// Adds the series of another customer, or of another part of the same.
pub(super) fn unite(series: &mut Vec<StoredSeries>, other: &[StoredSeries]) {
    for one in other {
        unite_one(series, one.clone());
    }
}

/// INVARIANT: sorted by id, each once, at most [`SERIES_MAX`].
fn unite_one(series: &mut Vec<StoredSeries>, other: StoredSeries) {
    match series.binary_search_by_key(&other.id, |s| s.id) {
        // the id is a hash of what is kept, so that the two never differ
        Ok(at) if series[at].keep == other.keep => states::unite(other.keep, &mut series[at].state, other.state),
        Ok(_) => {}
        Err(at) => {
            series.insert(at, other);
            series.truncate(SERIES_MAX);
        }
    }
}

/// What a series holds when it was fed once.
fn alone(feed: &Feed, (at, event): (Timestamp, EventId)) -> Option<SeriesState> {
    Some(match feed.keep {
        Keep::Slots { .. } => SeriesState::Sums(vec![one_sum(feed.slot, &feed.value)]),
        Keep::Total => SeriesState::Sums(vec![one_sum(0, &feed.value)]),
        Keep::Latest | Keep::Earliest => SeriesState::One(at, event, feed.value.clone()),
        Keep::Names { .. } => {
            let name = name(&feed.value)?;
            SeriesState::Names(vec![NameSum { name, slot: feed.slot, count: 1, last: at }])
        }
        Keep::Moments => SeriesState::Moments(vec![(at, event)]),
    })
}

fn one_sum(slot: i32, value: &FeedValue) -> SlotSum {
    let number = match value {
        FeedValue::Number(number) => *number,
        FeedValue::Moment(at) => at.0,
        FeedValue::Nothing | FeedValue::Text(_) => 0,
    };
    SlotSum { slot, count: 1, sum: number, min: number, max: number }
}

/// Numbers are names too; what has none is not counted.
fn name(value: &FeedValue) -> Option<Box<str>> {
    match value {
        FeedValue::Text(text) => Some(text.clone()),
        FeedValue::Number(number) => Some(number.to_string().into()),
        FeedValue::Moment(_) | FeedValue::Nothing => None,
    }
}
