//! What happened to customers, in order of time: one sealed row per event, and
//! per decision that presented something. Rows of a merged customer stay under
//! its own key, sealed with its own data key: who reads asks for all keys.

use std::sync::Arc;

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::domain::{ChannelId, CustomerKey, DecisionId, Event, OfferId, RecordRef, Timestamp};

use super::{
    DecisionRecord, StoreError, codec, layer_rows,
    overlay::Layer,
    row_seal::{Nonces, RowKey, Table},
};

/// (customer, time, event) to receipt time and the sealed entry.
pub(super) const TIMELINE: TableDefinition<Place, &[u8]> = TableDefinition::new("timeline");
/// Most rows of a customer; the oldest go first, in the background.
pub const TIMELINE_ROWS_MAX: usize = 10_000;
/// Most rows that one reading looks at; then it answers what it has.
pub const TIMELINE_READ_MAX: usize = 20_000;
/// Rows that one step of the sweep looks at. INVARIANT: more than a customer may
/// keep, so that each step comes further.
const SWEEP_ROWS: usize = 2 * TIMELINE_ROWS_MAX;
/// Bytes of the receipt time before the sealed entry.
pub(super) const RECEIVED_BYTES: usize = 8;

/// Customer, time, event.
pub(super) type Place = (u128, i64, u128);

/// First byte of an entry.
mod kind {
    pub const EVENT: u8 = 1;
    pub const DECISION: u8 = 2;
}

/// Something that happened to a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineEntry {
    /// Where it stands.
    pub cursor: TimelineCursor,
    /// When it came in.
    pub received_at: Timestamp,
    /// What.
    pub what: TimelineWhat,
}

/// The place of an entry; entries are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelineCursor {
    /// When it happened.
    pub at: Timestamp,
    /// The event or the decision.
    pub id: u128,
    /// Whose it was.
    pub customer: CustomerKey,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum TimelineWhat {
    /// An event.
    Event(Box<Event>),
    /// A decision that presented these offers on these channels.
    Decision(DecisionId, Vec<(OfferId, ChannelId, RecordRef)>),
}

/// What is asked for.
pub struct TimelineQuery {
    /// Whose: the customer's and those that were merged into it.
    pub customers: Vec<CustomerKey>,
    /// Only what stands before this.
    pub before: Option<TimelineCursor>,
    /// Only what happened then or later.
    pub from: Option<Timestamp>,
    /// Most entries.
    pub len_max: usize,
}

/// A part of a timeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimelinePage {
    /// The newest first.
    pub entries: Vec<TimelineEntry>,
    /// Where to go on; `None` at the end.
    pub next: Option<TimelineCursor>,
}

/// An entry that is not stored yet.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub at: Timestamp,
    pub id: u128,
    pub received_at: Timestamp,
    pub entry: Arc<[u8]>,
}

impl Noted {
    pub fn event(event: &Event) -> Self {
        let mut entry = Vec::with_capacity(256);
        entry.push(kind::EVENT);
        codec::encode_event(event, &mut entry);
        Self { at: event.at, id: event.id.0, received_at: event.received_at, entry: entry.into() }
    }

    /// `None` when it presented nothing.
    pub fn decision(record: &DecisionRecord) -> Option<Self> {
        if record.winners.is_empty() {
            return None;
        }
        let mut entry = vec![kind::DECISION];
        let writer = &mut codec::Writer::new(&mut entry);
        writer.u128(record.id.0);
        writer.len(record.winners.len());
        for winner in &record.winners {
            writer.u64(winner.offer.0);
            writer.u32(winner.channel.0);
            writer.u64(winner.record.0);
        }
        Some(Self { at: record.now, id: record.id.0, received_at: record.now, entry: entry.into() })
    }
}

pub(super) fn decode(entry: &[u8]) -> Result<TimelineWhat, StoreError> {
    let unknown = || StoreError::Corrupt("reading a timeline: an entry is of an unknown kind".to_owned());
    match entry.split_first() {
        Some((&kind::EVENT, event)) => Ok(TimelineWhat::Event(Box::new(codec::decode_event(event)?))),
        Some((&kind::DECISION, rest)) => {
            let reader = &mut codec::Reader::new("timeline entry", rest);
            let id = DecisionId(reader.u128()?);
            let winners = reader.list(20, |r| Ok((OfferId(r.u64()?), ChannelId(r.u32()?), RecordRef(r.u64()?))))?;
            reader.end()?;
            Ok(TimelineWhat::Decision(id, winners))
        }
        _ => Err(unknown()),
    }
}

/// What a row is bound to.
pub(super) fn bound(place: Place, received_at: Timestamp) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(&place.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&place.1.to_le_bytes());
    bytes[24..40].copy_from_slice(&place.2.to_le_bytes());
    bytes[40..].copy_from_slice(&received_at.0.to_le_bytes());
    bytes
}

pub(super) fn place(customer: CustomerKey, at: Timestamp, id: u128) -> Place {
    (customer.0, at.0, id)
}

/// Writes the rows of a layer, sealed: in order of their customers, so that
/// neighbours are written together; one key per customer.
pub(super) fn write(
    transaction: &WriteTransaction,
    layer: &Layer,
    nonces: &mut Nonces,
    key_of: &dyn Fn(CustomerKey) -> Result<Option<RowKey>, redb::Error>,
) -> Result<(), redb::Error> {
    let mut customers: Vec<_> = layer.timeline.iter().collect();
    customers.sort_unstable_by_key(|(key, _)| **key);
    let mut table = transaction.open_table(TIMELINE)?;
    let (mut sealed, mut row) = (Vec::with_capacity(512), Vec::with_capacity(512));
    for (customer, noted) in customers {
        // without a key it was erased
        let Some(key) = key_of(*customer)? else { continue };
        for one in noted {
            let at = place(*customer, one.at, one.id);
            let bound = bound(at, one.received_at);
            let write = |into: &mut Vec<u8>| into.extend_from_slice(&one.entry);
            key.seal(nonces, (Table::Timeline, &bound), &mut sealed, write).map_err(layer_rows::refused)?;
            row.clear();
            row.extend_from_slice(&one.received_at.0.to_le_bytes());
            row.extend_from_slice(&sealed);
            table.insert(at, &row[..])?;
        }
    }
    Ok(())
}

/// A row as it is at rest.
pub(super) type Row = (Place, Vec<u8>);

/// Reads at most so many rows of a customer before a place, newest first.
pub(super) fn read_rows(
    database: &Database,
    customer: CustomerKey,
    query: &TimelineQuery,
    most: usize,
) -> Result<Vec<Row>, redb::Error> {
    let table = database.begin_read()?.open_table(TIMELINE)?;
    let from = (customer.0, query.from.map_or(i64::MIN, |at| at.0), 0);
    let mut rows = Vec::new();
    let mut keep = |row: Result<(redb::AccessGuard<'_, Place>, redb::AccessGuard<'_, &[u8]>), redb::StorageError>| {
        let (at, value) = row?;
        rows.push((at.value(), value.value().to_vec()));
        Ok::<_, redb::Error>(())
    };
    match before_place(customer, query.before) {
        Some(before) if before > from => table.range(from..before)?.rev().take(most).try_for_each(&mut keep)?,
        Some(_) => {}
        None => table.range(from..=(customer.0, i64::MAX, u128::MAX))?.rev().take(most).try_for_each(&mut keep)?,
    }
    Ok(rows)
}

/// The first place of a customer that does not stand before a cursor; `None`
/// for all before it.
fn before_place(customer: CustomerKey, before: Option<TimelineCursor>) -> Option<Place> {
    let before = before?;
    if customer < before.customer {
        // an entry of the same time and id stands before the cursor's
        match before.id.checked_add(1) {
            Some(id) => Some(place(customer, before.at, id)),
            None => Some(place(customer, before.at.plus_us(1), 0)),
        }
    } else {
        Some(place(customer, before.at, before.id))
    }
}

/// Removes every row of a customer; answers how many.
pub(super) fn remove(transaction: &WriteTransaction, customer: CustomerKey) -> Result<u64, redb::Error> {
    let mut table = transaction.open_table(TIMELINE)?;
    let mut removed = 0;
    table.retain_in((customer.0, i64::MIN, 0)..=(customer.0, i64::MAX, u128::MAX), |_, _| {
        removed += 1;
        false
    })?;
    Ok(removed)
}

/// One step of the sweep from a customer on: which rows go, and where the next
/// step begins; `None` at the end of the table.
pub(super) fn sweep_step(
    database: &Database,
    from: u128,
    received_before: Timestamp,
) -> Result<(Vec<Place>, Option<u128>), redb::Error> {
    let table = database.begin_read()?.open_table(TIMELINE)?;
    let (mut gone, mut seen) = (Vec::new(), 0);
    let mut current: Vec<(Place, bool)> = Vec::new();
    for row in table.range((from, i64::MIN, 0)..)? {
        let (at, value) = row?;
        let at = at.value();
        if current.first().is_some_and(|(first, _)| first.0 != at.0) {
            settle(&mut current, &mut gone);
            if seen >= SWEEP_ROWS {
                return Ok((gone, Some(at.0)));
            }
        }
        let received = value.value().first_chunk::<RECEIVED_BYTES>().map_or(i64::MIN, |b| i64::from_le_bytes(*b));
        current.push((at, received < received_before.0));
        seen += 1;
        if seen >= 2 * SWEEP_ROWS {
            // one customer has this many: what is too old or too much goes, the
            // next step begins with the same customer
            let customer = current.first().map(|(first, _)| first.0);
            settle(&mut current, &mut gone);
            return Ok((gone, customer));
        }
    }
    settle(&mut current, &mut gone);
    Ok((gone, None))
}

/// Rows of one customer, oldest first: those that are too old, and the oldest of
/// too many.
fn settle(rows: &mut Vec<(Place, bool)>, gone: &mut Vec<Place>) {
    let excess = rows.len().saturating_sub(TIMELINE_ROWS_MAX);
    let goes = |(at, (_, old)): &(usize, (Place, bool))| *old || *at < excess;
    gone.extend(rows.drain(..).enumerate().filter(goes).map(|(_, (place, _))| place));
}

/// Removes rows; answers how many there were.
pub(super) fn remove_rows(database: &Database, gone: &[Place]) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let mut removed = 0;
    {
        let mut table = transaction.open_table(TIMELINE)?;
        for place in gone {
            removed += u64::from(table.remove(place)?.is_some());
        }
    }
    transaction.commit()?;
    Ok(removed)
}

/// Rows of a customer at rest.
pub(super) fn count(database: &Database, customer: CustomerKey) -> Result<u64, redb::Error> {
    let table = database.begin_read()?.open_table(TIMELINE)?;
    let rows = table.range((customer.0, i64::MIN, 0)..=(customer.0, i64::MAX, u128::MAX))?;
    Ok(rows.count() as u64)
}
