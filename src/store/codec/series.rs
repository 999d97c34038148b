//! Series, and what feeds them.

use super::{Reader, Writer, parts::Moments};
use crate::{
    domain::{
        EventId, StoredSeries, Timestamp,
        profile::{NameSum, SeriesState, SlotSum},
        series::{Feed, FeedValue, Keep, SeriesId, SlotWidth},
    },
    store::StoreError,
};

/// Fewest bytes of an entry.
pub(super) const FEED_BYTES_MIN: usize = 7;
pub(super) const SERIES_BYTES_MIN: usize = 7;
const SUM_BYTES_MIN: usize = 3;
const NAME_BYTES_MIN: usize = 3;
const MOMENT_BYTES_MIN: usize = 17;

/// Numbers of what is kept.
mod keep {
    pub const SLOTS: u8 = 1;
    pub const TOTAL: u8 = 2;
    pub const LATEST: u8 = 3;
    pub const EARLIEST: u8 = 4;
    pub const NAMES: u8 = 5;
    pub const MOMENTS: u8 = 6;
}

/// Numbers of what is held.
mod state {
    pub const SUMS: u8 = 1;
    pub const ONE: u8 = 2;
    pub const NAMES: u8 = 3;
    pub const MOMENTS: u8 = 4;
}

/// Numbers of what is fed.
mod value {
    pub const NOTHING: u8 = 0;
    pub const NUMBER: u8 = 1;
    pub const TEXT: u8 = 2;
    pub const MOMENT: u8 = 3;
}

const WIDTHS: [SlotWidth; 2] = [SlotWidth::Hour, SlotWidth::Day];

pub(super) fn write_feed(w: &mut Writer<'_>, feed: &Feed) {
    w.u32(feed.series.0);
    write_keep(w, feed.keep);
    w.signed(feed.slot.into());
    write_feed_value(w, &feed.value);
}

pub(super) fn read_feed(r: &mut Reader<'_>) -> Result<Feed, StoreError> {
    Ok(Feed { series: SeriesId(r.u32()?), keep: read_keep(r)?, slot: read_slot(r, 0)?, value: read_feed_value(r)? })
}

pub(super) fn write_series(w: &mut Writer<'_>, series: &StoredSeries) {
    w.u32(series.id.0);
    write_keep(w, series.keep);
    match &series.state {
        SeriesState::Sums(sums) => {
            w.u8(state::SUMS);
            write_sums(w, sums);
        }
        SeriesState::One(at, event, value) => {
            w.u8(state::ONE);
            w.signed(at.0);
            w.u128(event.0);
            write_feed_value(w, value);
        }
        SeriesState::Names(names) => {
            w.u8(state::NAMES);
            write_names(w, names);
        }
        SeriesState::Moments(moments) => {
            w.u8(state::MOMENTS);
            let mut times = Moments::begin(w, moments.iter().map(|moment| moment.0));
            w.list(moments, |w, (at, event)| {
                times.write_next(w, *at);
                w.u128(event.0);
            });
        }
    }
}

pub(super) fn read_series(r: &mut Reader<'_>) -> Result<StoredSeries, StoreError> {
    let (id, keep) = (SeriesId(r.u32()?), read_keep(r)?);
    let state = match r.u8()? {
        state::SUMS => SeriesState::Sums(read_sums(r)?),
        state::ONE => SeriesState::One(Timestamp(r.signed()?), EventId(r.u128()?), read_feed_value(r)?),
        state::NAMES => SeriesState::Names(read_names(r)?),
        state::MOMENTS => {
            let mut times = Moments::read(r)?;
            SeriesState::Moments(r.list(MOMENT_BYTES_MIN, |r| Ok((times.read_next(r)?, EventId(r.u128()?))))?)
        }
        other => return Err(r.error(&format!("`{other}` is nothing a series holds"))),
    };
    Ok(StoredSeries { id, keep, state })
}

fn write_keep(w: &mut Writer<'_>, keep: Keep) {
    let mut slotted = |number: u8, width: SlotWidth, slots: u16| {
        w.u8(number);
        w.u8(width as u8);
        w.varint(slots.into());
    };
    match keep {
        Keep::Slots { width, slots } => slotted(keep::SLOTS, width, slots),
        Keep::Names { width, slots } => slotted(keep::NAMES, width, slots),
        Keep::Total => w.u8(keep::TOTAL),
        Keep::Latest => w.u8(keep::LATEST),
        Keep::Earliest => w.u8(keep::EARLIEST),
        Keep::Moments => w.u8(keep::MOMENTS),
    }
}

fn read_keep(r: &mut Reader<'_>) -> Result<Keep, StoreError> {
    Ok(match r.u8()? {
        keep::SLOTS => Keep::Slots { width: r.choice(1, &WIDTHS)?, slots: r.narrow()? },
        keep::NAMES => Keep::Names { width: r.choice(1, &WIDTHS)?, slots: r.narrow()? },
        keep::TOTAL => Keep::Total,
        keep::LATEST => Keep::Latest,
        keep::EARLIEST => Keep::Earliest,
        keep::MOMENTS => Keep::Moments,
        other => return Err(r.error(&format!("`{other}` is nothing a series keeps"))),
    })
}

/// A slot by its distance from the one before.
fn read_slot(r: &mut Reader<'_>, before: i32) -> Result<i32, StoreError> {
    let slot = i64::from(before).checked_add(r.signed()?);
    slot.and_then(|slot| i32::try_from(slot).ok()).ok_or_else(|| r.error("a slot out of range"))
}

fn write_feed_value(w: &mut Writer<'_>, fed: &FeedValue) {
    match fed {
        FeedValue::Nothing => w.u8(value::NOTHING),
        FeedValue::Number(number) => {
            w.u8(value::NUMBER);
            w.signed(*number);
        }
        FeedValue::Text(text) => {
            w.u8(value::TEXT);
            w.text(text);
        }
        FeedValue::Moment(at) => {
            w.u8(value::MOMENT);
            w.signed(at.0);
        }
    }
}

fn read_feed_value(r: &mut Reader<'_>) -> Result<FeedValue, StoreError> {
    Ok(match r.u8()? {
        value::NOTHING => FeedValue::Nothing,
        value::NUMBER => FeedValue::Number(r.signed()?),
        value::TEXT => FeedValue::Text(r.text()?.into()),
        value::MOMENT => FeedValue::Moment(Timestamp(r.signed()?)),
        other => return Err(r.error(&format!("`{other}` is nothing that is fed"))),
    })
}

/// The least and the largest are left out where they are the sum, as of one.
fn write_sums(w: &mut Writer<'_>, sums: &[SlotSum]) {
    let mut before = 0;
    w.list(sums, |w, sum| {
        let alike = sum.min == sum.sum && sum.max == sum.sum;
        w.signed(i64::from(sum.slot) - before);
        w.varint(u64::from(sum.count) << 1 | u64::from(alike));
        w.signed(sum.sum);
        if !alike {
            w.signed(sum.min);
            w.signed(sum.max);
        }
        before = sum.slot.into();
    });
}

fn read_sums(r: &mut Reader<'_>) -> Result<Vec<SlotSum>, StoreError> {
    let mut before = 0;
    r.list(SUM_BYTES_MIN, |r| {
        let slot = read_slot(r, before)?;
        let (count, alike) = read_flagged_count(r)?;
        let sum = r.signed()?;
        let (min, max) = if alike { (sum, sum) } else { (r.signed()?, r.signed()?) };
        before = slot;
        Ok(SlotSum { slot, count, sum, min, max })
    })
}

fn read_flagged_count(r: &mut Reader<'_>) -> Result<(u32, bool), StoreError> {
    let packed = r.varint()?;
    let count = u32::try_from(packed >> 1).map_err(|_| r.error("a count out of range"))?;
    Ok((count, packed & 1 == 1))
}

/// A name is written once for all its slots.
fn write_names(w: &mut Writer<'_>, names: &[NameSum]) {
    let mut times = Moments::begin(w, names.iter().map(|name| name.last));
    let mut before: (Option<&str>, i64) = (None, 0);
    w.len(names.len());
    for name in names {
        let same = before.0 == Some(&*name.name);
        w.varint(u64::from(name.count) << 1 | u64::from(same));
        if !same {
            w.text(&name.name);
        }
        w.signed(i64::from(name.slot) - before.1);
        times.write_next(w, name.last);
        before = (Some(&name.name), name.slot.into());
    }
}

fn read_names(r: &mut Reader<'_>) -> Result<Vec<NameSum>, StoreError> {
    let mut times = Moments::read(r)?;
    let (mut before, mut before_slot): (Option<Box<str>>, i32) = (None, 0);
    r.list(NAME_BYTES_MIN, |r| {
        let (count, same) = read_flagged_count(r)?;
        let name: Box<str> = match before.take() {
            Some(name) if same => name,
            None if same => return Err(r.error("no name before this one")),
            _ => r.text()?.into(),
        };
        let slot = read_slot(r, before_slot)?;
        (before, before_slot) = (Some(name.clone()), slot);
        Ok(NameSum { name, slot, count, last: times.read_next(r)? })
    })
}
