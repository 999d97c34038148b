//! What an event adds to the series that traits are read from: worked out once,
//! when the event comes in.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use crate::domain::{
    AttrId, AttrSlot, Cell, Cells, ChannelId, Event, EventKind, EventTypeId, Facts, ItemLine, Profile, Request, Schema,
    Timestamp, Value, ValueRef,
    series::{Feed, FeedValue, Keep, PURCHASE_DAYS, PURCHASE_DAYS_KEEP, PURCHASE_EVENT, SeriesId, SlotWidth},
};

use super::{Condition, Ruleset, slots::slot_of};

/// Longest text that is fed, bytes; longer ones are cut.
pub const FEED_TEXT_BYTES_MAX: usize = 64;
/// Doubles are fed in so many parts of one.
const DOUBLE_PARTS: f64 = 1_000_000.0;

/// What events feed, by event type.
#[derive(Debug)]
pub struct Feeds {
    by_event: HashMap<EventTypeId, EventFeeds>,
    zone: TimeZone,
    /// Events that the analysis of the whole base looks at.
    purchase: EventTypeId,
    /// Filters read the event alone: these stand where conditions expect them.
    nobody: Profile,
    nothing: Request,
}

/// What events of one type feed.
#[derive(Debug)]
pub(super) struct EventFeeds {
    /// The fields of the event, as `e.NAME`.
    pub schema: Schema,
    /// Where the value of each slot comes from.
    pub sources: Vec<FieldSource>,
    /// The series.
    pub series: Vec<FedSeries>,
}

/// Where a field of an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldSource {
    /// The total amount.
    Amount,
    /// The name of the channel.
    Channel,
    /// The first item.
    Item,
    /// All items.
    Items,
    /// Pieces over all items.
    Quantity,
    /// A declared field.
    Declared(AttrId),
}

/// A series that events of one type feed.
#[derive(Debug)]
pub(super) struct FedSeries {
    /// Which.
    pub id: SeriesId,
    /// What it keeps.
    pub keep: Keep,
    /// What is fed; `None`: only that it happened.
    pub of: Option<AttrSlot>,
    /// Which events feed it; `None`: every one.
    pub filter: Option<Condition>,
    /// Whether time does not count: everything falls into slot 0.
    pub timeless: bool,
}

/// An event with what does not stand in it.
struct Given<'a> {
    event: &'a Event,
    fields: &'a [(AttrId, Value)],
    items: &'a [Box<str>],
}

impl Default for Feeds {
    fn default() -> Self {
        Self::new(HashMap::new(), TimeZone::UTC)
    }
}

impl Feeds {
    pub(super) fn new(by_event: HashMap<EventTypeId, EventFeeds>, zone: TimeZone) -> Self {
        let purchase = EventTypeId::of(PURCHASE_EVENT);
        Self { by_event, zone, purchase, nobody: Profile::default(), nothing: Request::default() }
    }

    /// How many series there are.
    pub fn series_len(&self) -> usize {
        self.by_event.values().map(|feeds| feeds.series.len()).sum()
    }
}

impl Ruleset {
    /// What an event adds to the series of its customer: nothing, unless a trait
    /// looks at events of its type, or the analysis of the whole base does. `fields` are its declared fields, sorted by
    /// id, `items` the names of its lines.
    pub fn feeds(&self, event: &Event, fields: &[(AttrId, Value)], items: &[Box<str>]) -> Vec<Feed> {
        let EventKind::Customer { event: of, .. } = &event.kind else { return Vec::new() };
        let mut slots = Slots { at: event.at, zone: &self.feeds.zone, day: None };
        let mut feeds = Vec::new();
        if *of == self.feeds.purchase {
            let keep = PURCHASE_DAYS_KEEP;
            feeds.push(Feed { series: PURCHASE_DAYS, keep, slot: slots.of(keep), value: FeedValue::Nothing });
        }
        let Some(fed) = self.feeds.by_event.get(of) else { return feeds };
        let given = Given { event, fields, items };
        let mut cells = Cells::of(vec![Cell::Missing; fed.sources.len()]);
        for (at, source) in fed.sources.iter().enumerate() {
            if let Some(value) = self.field(*source, &given) {
                cells.put(AttrSlot(at as u16), value);
            }
        }
        let facts = Facts {
            cells: &cells.list,
            derived: &cells.derived,
            schema: &fed.schema,
            profile: &self.feeds.nobody,
            request: &self.feeds.nothing,
            now: event.at,
            record: None,
        };
        feeds.reserve(fed.series.len());
        for series in &fed.series {
            if series.filter.as_ref().is_none_or(|filter| filter.holds(&facts)) {
                series.feed(&facts, &mut slots, &mut feeds);
            }
        }
        feeds
    }

    fn field(&self, source: FieldSource, given: &Given<'_>) -> Option<Value> {
        let EventKind::Customer { channel, amount, items, .. } = &given.event.kind else { return None };
        Some(match source {
            FieldSource::Amount => Value::Money((*amount)?),
            FieldSource::Channel => Value::Text(self.channel_name((*channel)?)?.into()),
            FieldSource::Item => Value::Text(given.items.first()?.clone()),
            FieldSource::Items => Value::Set(members(given.items)),
            FieldSource::Quantity => Value::Int(pieces(items)?),
            FieldSource::Declared(id) => {
                let at = given.fields.binary_search_by_key(&id, |field| field.0).ok()?;
                given.fields[at].1.clone()
            }
        })
    }

    fn channel_name(&self, id: ChannelId) -> Option<&str> {
        self.channel_slots.get(&id).map(|slot| &*self.channel(*slot).name)
    }
}

fn members(items: &[Box<str>]) -> Box<[Box<str>]> {
    let mut members = items.to_vec();
    members.sort();
    members.dedup();
    members.into()
}

fn pieces(items: &[ItemLine]) -> Option<i64> {
    (!items.is_empty()).then(|| items.iter().map(|line| i64::from(line.quantity)).sum())
}

/// The slots of one event, each worked out once.
struct Slots<'a> {
    at: Timestamp,
    zone: &'a TimeZone,
    day: Option<i32>,
}

impl Slots<'_> {
    fn of(&mut self, keep: Keep) -> i32 {
        let (Keep::Slots { width, .. } | Keep::Names { width, .. }) = keep else { return 0 };
        match width {
            SlotWidth::Hour => slot_of(self.at, width, self.zone),
            SlotWidth::Day => *self.day.get_or_insert_with(|| slot_of(self.at, width, self.zone)),
        }
    }
}

impl FedSeries {
    fn feed(&self, facts: &Facts<'_>, slots: &mut Slots<'_>, feeds: &mut Vec<Feed>) {
        let slot = if self.timeless { 0 } else { slots.of(self.keep) };
        let mut add = |value| feeds.push(Feed { series: self.id, keep: self.keep, slot, value });
        let Some(of) = self.of else { return add(FeedValue::Nothing) };
        match facts.get(of) {
            ValueRef::Int(value) | ValueRef::Money(value) => add(FeedValue::Number(value)),
            // Saturates where it does not fit.
            ValueRef::Double(value) => add(FeedValue::Number((value * DOUBLE_PARTS).round() as i64)),
            ValueRef::Timestamp(at) => add(FeedValue::Moment(at)),
            ValueRef::Text(text) => name(text).into_iter().for_each(|text| add(FeedValue::Text(text))),
            ValueRef::Set(texts) => {
                texts.iter().filter_map(|text| name(text)).for_each(|text| add(FeedValue::Text(text)));
            }
            // Never compiled: the reader refuses them.
            ValueRef::Missing | ValueRef::Bool(_) | ValueRef::Date(_) => {}
        }
    }
}

/// A text as it is fed; none when it is empty.
fn name(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    let mut end = text.len().min(FEED_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (end > 0).then(|| text[..end].into())
}
