//! The window of a trait, in slots or as a moment.

use crate::domain::{
    Timestamp,
    series::{NowSlots, Period, SlotWidth, Window},
    time::{DAY_US, SECOND_US},
};

const HOURS_PER_DAY: i32 = 24;
const HOUR_US: i64 = 3_600 * SECOND_US;

/// The slots of a window, both included. An event may lie up to five minutes
/// ahead of the clock, so the slot after that of now counts too: what was
/// acknowledged is seen at once.
pub(super) fn slots(window: Window, width: SlotWidth, now: &NowSlots) -> (i32, i32) {
    let until = match (window, width) {
        (Window::Lifetime, _) => i32::MAX,
        (_, SlotWidth::Hour) => now.hour.saturating_add(1),
        (_, SlotWidth::Day) => now.day.saturating_add(1),
    };
    (first_slot(window, width, now), until)
}

fn first_slot(window: Window, width: SlotWidth, now: &NowSlots) -> i32 {
    let (from, of) = match window {
        Window::Lifetime => return i32::MIN,
        Window::Rolling { width: SlotWidth::Hour, slots } => (back(now.hour, slots), SlotWidth::Hour),
        Window::Rolling { width: SlotWidth::Day, slots } => (back(now.day, slots), SlotWidth::Day),
        Window::Calendar(period) => (first_day(period, now), SlotWidth::Day),
    };
    match (of, width) {
        (SlotWidth::Day, SlotWidth::Hour) => from.saturating_mul(HOURS_PER_DAY),
        (SlotWidth::Hour, SlotWidth::Day) => from.div_euclid(HOURS_PER_DAY),
        _ => from,
    }
}

fn back(now: i32, slots: u16) -> i32 {
    now.saturating_sub(i32::from(slots) - 1)
}

fn first_day(period: Period, now: &NowSlots) -> i32 {
    match period {
        Period::Day => now.day,
        Period::Week => now.week_from,
        Period::Month => now.month_from,
        Period::Year => now.year_from,
    }
}

/// From when on moments count that are kept without a slot: rolling windows go
/// back in hours and in days of 24 hours from now; of the days of a calendar's
/// period each counts 24 hours.
pub(super) fn moment(window: Window, now: Timestamp, slots: &NowSlots) -> Timestamp {
    let back_us = match window {
        Window::Lifetime => return Timestamp(i64::MIN),
        Window::Rolling { width: SlotWidth::Hour, slots } => i64::from(slots) * HOUR_US,
        Window::Rolling { width: SlotWidth::Day, slots } => i64::from(slots) * DAY_US,
        Window::Calendar(period) => (i64::from(slots.day) - i64::from(first_day(period, slots)) + 1) * DAY_US,
    };
    now.plus_us(-back_us)
}
