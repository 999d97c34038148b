//! What series hold, united. Every union is commutative and associative; counts
//! add up, all else is idempotent.

use std::collections::BTreeMap;

use crate::domain::{
    EventId, Timestamp,
    profile::{NameSum, SeriesState, SlotSum},
    series::{FeedValue, Keep, MOMENTS_MAX, NAME_SLOTS_MAX, NAMES_MAX},
};

/// Unites the other into this.
pub(super) fn unite(keep: Keep, this: &mut SeriesState, other: SeriesState) {
    match (this, other) {
        (SeriesState::Sums(sums), SeriesState::Sums(others)) => {
            others.into_iter().for_each(|other| add_sum(sums, other));
            if let Keep::Slots { slots, .. } = keep {
                keep_sums(sums, slots);
            }
        }
        (SeriesState::One(at, event, value), SeriesState::One(new_at, new_event, new))
            if is_better(keep, (new_at, new_event, &new), (*at, *event, value)) =>
        {
            (*at, *event, *value) = (new_at, new_event, new);
        }
        (SeriesState::Names(names), SeriesState::Names(others)) => {
            others.into_iter().for_each(|other| add_name(names, other));
            if let Keep::Names { slots, .. } = keep {
                keep_names(names, slots);
            }
        }
        (SeriesState::Moments(moments), SeriesState::Moments(others)) => {
            others.into_iter().for_each(|other| add_moment(moments, other));
            keep_moments(moments);
        }
        // the known one is better; and a series keeps one kind of thing for ever
        _ => {}
    }
}

/// The later for the latest, the earlier for the earliest; of equal times and
/// events (an event may feed a series twice) by the value.
fn is_better(keep: Keep, new: (Timestamp, EventId, &FeedValue), known: (Timestamp, EventId, &FeedValue)) -> bool {
    if keep == Keep::Earliest { new < known } else { new > known }
}

fn add_sum(sums: &mut Vec<SlotSum>, other: SlotSum) {
    match sums.binary_search_by_key(&other.slot, |s| s.slot) {
        Ok(at) => {
            let sum = &mut sums[at];
            sum.count = sum.count.saturating_add(other.count);
            sum.sum = sum.sum.saturating_add(other.sum);
            sum.min = sum.min.min(other.min);
            sum.max = sum.max.max(other.max);
        }
        Err(at) => sums.insert(at, other),
    }
}

/// The first slot that is kept beside the newest.
pub(super) fn first_slot(newest: i32, slots: u16) -> i32 {
    newest.saturating_sub(i32::from(slots.max(1)) - 1)
}

fn keep_sums(sums: &mut Vec<SlotSum>, slots: u16) {
    let Some(newest) = sums.last() else { return };
    let first = first_slot(newest.slot, slots);
    let excess = sums.partition_point(|sum| sum.slot < first);
    sums.drain(..excess);
}

fn add_name(names: &mut Vec<NameSum>, other: NameSum) {
    match names.binary_search_by(|n| (&*n.name, n.slot).cmp(&(&*other.name, other.slot))) {
        Ok(at) => {
            let name = &mut names[at];
            name.count = name.count.saturating_add(other.count);
            name.last = name.last.max(other.last);
        }
        Err(at) => names.insert(at, other),
    }
}

fn keep_names(names: &mut Vec<NameSum>, slots: u16) {
    let newest = names.iter().map(|name| name.slot).max().unwrap_or(0);
    let first = first_slot(newest, slots);
    names.retain(|name| name.slot >= first);
    while names.len() > NAME_SLOTS_MAX {
        let oldest = names.iter().enumerate().min_by_key(|(_, n)| (n.slot, n.last)).map(|(at, _)| at);
        names.remove(oldest.unwrap_or(0));
    }
    if names.len() > NAMES_MAX {
        forget_names(names);
    }
}

/// Forgets the names seen longest ago; of equal ones the least name.
fn forget_names(names: &mut Vec<NameSum>) {
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for name in names.iter() {
        let seen = last.entry(&name.name).or_insert(name.last);
        *seen = name.last.max(*seen);
    }
    let excess = last.len().saturating_sub(NAMES_MAX);
    if excess == 0 {
        return;
    }
    let mut oldest: Vec<(Timestamp, &str)> = last.into_iter().map(|(name, seen)| (seen, name)).collect();
    oldest.sort_unstable();
    let gone: Vec<Box<str>> = oldest[..excess].iter().map(|(_, name)| (*name).into()).collect();
    names.retain(|name| !gone.contains(&name.name));
}

fn add_moment(moments: &mut Vec<(Timestamp, EventId)>, other: (Timestamp, EventId)) {
    if let Err(at) = moments.binary_search(&other) {
        moments.insert(at, other);
    }
}

fn keep_moments(moments: &mut Vec<(Timestamp, EventId)>) {
    let excess = moments.len().saturating_sub(MOMENTS_MAX);
    moments.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_slots_are_dropped_like_old_ones() {
        let sum = |slot| SlotSum { slot, count: 1, sum: 2, min: 2, max: 2 };
        let keep = Keep::Slots { width: crate::domain::series::SlotWidth::Day, slots: 3 };
        let mut state = SeriesState::Sums(vec![sum(10)]);
        for slot in [7, 8, 12, 10] {
            unite(keep, &mut state, SeriesState::Sums(vec![sum(slot)]));
        }
        let two = SlotSum { slot: 10, count: 2, sum: 4, min: 2, max: 2 };
        assert_eq!(state, SeriesState::Sums(vec![two, sum(12)]));
    }
}
