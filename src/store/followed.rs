//! What a record of the log tells who follows it.

use crate::{
    domain::{CustomerKey, DecisionId, Event, EventKind, RecordRef, Timestamp},
    predict::SegmentsChanged,
};

use super::{
    StoreError, WinnerRecord, codec,
    frames::{self, DecisionFrame},
    history,
    log::{LogRecord, RecordKind},
    shared::Shared,
};

/// The kind of what happened. The discriminant is its bit in [`ChangeKinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// Something a customer did, or that was done to one.
    Event = 0,
    /// A decision.
    Decision = 1,
    /// What followed a presentation.
    Outcome = 2,
    /// What is known or allowed of a customer was changed.
    Customer = 3,
    /// Two customers became one.
    Merge = 4,
    /// A merge was taken back.
    Unmerge = 5,
    /// A customer was erased.
    Erasure = 6,
    /// A customer entered or left segments.
    Segments = 7,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [ChangeKind; 8] = [
        ChangeKind::Event,
        ChangeKind::Decision,
        ChangeKind::Outcome,
        ChangeKind::Customer,
        ChangeKind::Merge,
        ChangeKind::Unmerge,
        ChangeKind::Erasure,
        ChangeKind::Segments,
    ];
}

/// A set of [`ChangeKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ChangeKinds(u16);

impl ChangeKinds {
    /// Whether it is in the set.
    pub fn has(self, kind: ChangeKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}

impl FromIterator<ChangeKind> for ChangeKinds {
    fn from_iter<I: IntoIterator<Item = ChangeKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |all, kind| all | 1 << kind as u16))
    }
}

/// What a record of the log tells.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Its sequence in the log.
    pub sequence: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Whose it is.
    pub customer: Option<CustomerKey>,
    /// What kind it is. Of an erased event only whether it was an outcome is
    /// known.
    pub kind: ChangeKind,
    /// What it says; `None` when that was erased since.
    pub content: Option<Content>,
    /// The keys of the records that it speaks of, as far as the customer still has
    /// them.
    pub record_keys: Vec<(RecordRef, Box<str>)>,
}

impl Followed {
    /// With the keys of the records that it speaks of.
    fn named(mut self, shared: &Shared) -> Result<Self, StoreError> {
        let spoken: Vec<RecordRef> = match &self.content {
            Some(Content::Event(event)) => match &event.kind {
                EventKind::Outcome { presentation, .. } => vec![presentation.record],
                _ => return Ok(self),
            },
            Some(Content::Decision(_, winners)) => winners.iter().map(|winner| winner.record).collect(),
            _ => return Ok(self),
        };
        let Some(customer) = self.customer.filter(|_| spoken.iter().any(|record| record.is_some())) else {
            return Ok(self);
        };
        let Some(hot) = shared.load(customer)? else { return Ok(self) };
        let key = |record: RecordRef| Some((record, hot.profile.key_of(record)?.into()));
        self.record_keys = spoken.into_iter().filter_map(key).collect();
        Ok(self)
    }
}

/// What a record says.
#[derive(Clone, Debug)]
pub enum Content {
    /// Something happened to the customer.
    Event(Box<Event>),
    /// A decision presented these.
    Decision(DecisionId, Vec<WinnerRecord>),
    /// Customers who were taken in or let go; of an erasure those who had been
    /// taken in.
    Others(Vec<CustomerKey>),
    /// Segments that the customer entered and left.
    Segments(SegmentsChanged),
}

/// What a record tells of these kinds; `None` when it is of no such kind.
pub(super) fn read(
    shared: &Shared,
    record: &LogRecord<'_>,
    kinds: ChangeKinds,
) -> Result<Option<Followed>, StoreError> {
    let told = match record.kind {
        RecordKind::Event => event(shared, record, kinds)?,
        RecordKind::Decision if kinds.has(ChangeKind::Decision) => Some(decision(shared, record)?),
        RecordKind::Customer => customer(record)?,
        RecordKind::Segments if kinds.has(ChangeKind::Segments) => Some(segments(shared, record)?),
        _ => None,
    };
    told.filter(|told| kinds.has(told.kind)).map(|told| told.named(shared)).transpose()
}

fn event(shared: &Shared, record: &LogRecord<'_>, kinds: ChangeKinds) -> Result<Option<Followed>, StoreError> {
    let head = frames::event_head(record)?;
    let wanted = match head.outcome {
        Some(_) => kinds.has(ChangeKind::Outcome),
        None => kinds.has(ChangeKind::Event) || kinds.has(ChangeKind::Customer),
    };
    if !wanted {
        return Ok(None);
    }
    let told = |kind, content| Followed {
        sequence: record.sequence,
        time: record.time,
        customer: head.customer,
        kind,
        content,
        record_keys: Vec::new(),
    };
    let Some(key) = history::data_key(shared, head.customer)? else {
        let kind = if head.outcome.is_some() { ChangeKind::Outcome } else { ChangeKind::Event };
        return Ok(Some(told(kind, None)));
    };
    let event = frames::event_body(record, &key)?;
    let kind = match &event.kind {
        EventKind::Outcome { .. } => ChangeKind::Outcome,
        EventKind::Customer { .. } => ChangeKind::Event,
        EventKind::Upsert { .. } | EventKind::DoNotContact { .. } => ChangeKind::Customer,
        // counts for the lift only
        EventKind::Exposed { .. } => return Ok(None),
    };
    Ok(Some(told(kind, Some(Content::Event(Box::new(event))))))
}

fn decision(shared: &Shared, record: &LogRecord<'_>) -> Result<Followed, StoreError> {
    let frame = DecisionFrame::read(record)?;
    let content = match history::data_key(shared, frame.customer)? {
        Some(key) => Some(Content::Decision(frame.id, frame.whole(record, Some(&key))?.record.winners)),
        None => None,
    };
    Ok(Followed {
        sequence: record.sequence,
        time: record.time,
        customer: frame.customer,
        kind: ChangeKind::Decision,
        content,
        record_keys: Vec::new(),
    })
}

/// Of records of customers.
const VERSION: u8 = 1;
/// Their second byte.
const MERGED: u8 = 1;
const PARTED: u8 = 2;
const ERASED: u8 = 3;

/// A merge, one taken back, or an erasure; what led to it is not told.
fn customer(record: &LogRecord<'_>) -> Result<Option<Followed>, StoreError> {
    let mut reader = codec::Reader::new("record of a customer", record.payload);
    reader.version(VERSION)?;
    let (kind, customers) = match reader.u8()? {
        MERGED => (ChangeKind::Merge, two(&mut reader)?),
        PARTED => (ChangeKind::Unmerge, two(&mut reader)?),
        ERASED => (ChangeKind::Erasure, erased(&mut reader)?),
        _ => return Ok(None),
    };
    let mut customers = customers.into_iter();
    Ok(Some(Followed {
        sequence: record.sequence,
        time: record.time,
        customer: customers.next(),
        kind,
        content: Some(Content::Others(customers.collect())),
        record_keys: Vec::new(),
    }))
}

/// Who lives on, and the other one.
fn two(reader: &mut codec::Reader<'_>) -> Result<Vec<CustomerKey>, StoreError> {
    Ok(vec![CustomerKey(reader.u128()?), CustomerKey(reader.u128()?)])
}

/// Everybody whom an erasure is of, behind its id, its time and why.
fn erased(reader: &mut codec::Reader<'_>) -> Result<Vec<CustomerKey>, StoreError> {
    reader.u128()?;
    reader.signed()?;
    reader.text()?;
    reader.list(16, |r| Ok(CustomerKey(r.u128()?)))
}

fn segments(shared: &Shared, record: &LogRecord<'_>) -> Result<Followed, StoreError> {
    let customer = Some(frames::segments_head(record)?);
    let key = history::data_key(shared, customer)?;
    let changed = key.map(|key| frames::segments_body(record, &key)).transpose()?;
    Ok(Followed {
        sequence: record.sequence,
        time: record.time,
        customer,
        kind: ChangeKind::Segments,
        content: changed.map(Content::Segments),
        record_keys: Vec::new(),
    })
}
