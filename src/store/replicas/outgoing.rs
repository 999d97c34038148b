//! The log as what the other replicas are told: what customers did and what was
//! done to them, and of decisions only what they change by themselves.

use std::sync::atomic::Ordering::Relaxed;

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{Event, EventId, EventKind, OutcomeType};

use super::super::{
    DecisionRecord, Erasure, StoreError, decided,
    frames::{self, DecisionFrame},
    history::{self, log_dir},
    log::{LogReader, LogRecord, RecordKind},
    merge_record,
    shared::Shared,
};
use super::entry::{Entry, What};

/// Most records read at a time.
const RECORDS_MAX: usize = 512;
/// Most bytes of records read at a time; a single one may be larger.
const BYTES_MAX: usize = 1 << 20;
/// How long Redis remembers an id, microseconds.
const IDS_KEPT_US: i64 = 7 * crate::domain::time::DAY_US;

/// Reads the log from behind a sequence.
pub(super) struct Outgoing {
    reader: LogReader,
    /// The last sequence that was read.
    seen: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub entries: Vec<Entry>,
    /// Everything up to here was read.
    pub sequence: u64,
}

impl Outgoing {
    /// # Errors
    /// The log cannot be read.
    pub fn after(shared: &Shared, sequence: u64) -> Result<Self, StoreError> {
        let reader = LogReader::open(&log_dir(&shared.config.dir), sequence.saturating_add(1))?;
        Ok(Self { reader, seen: sequence })
    }

    /// What comes next, up to a sequence that was written. Blocking.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn piece(&mut self, shared: &Shared, until: u64) -> Result<Piece, StoreError> {
        let (mut piece, mut bytes, mut records) = (Piece::default(), 0, 0);
        while self.seen < until && records < RECORDS_MAX && bytes < BYTES_MAX {
            let Some(record) = self.reader.next()? else {
                // INVARIANT: everything up to there was in the log before
                self.seen = until;
                break;
            };
            let (sequence, position) = (record.sequence, record.position);
            if sequence > until {
                // may be taken back yet: read anew when it is written
                self.reader = LogReader::open_at(&log_dir(&shared.config.dir), position)?;
                self.seen = until;
                break;
            }
            records += 1;
            bytes += record.payload.len();
            let old = record.time < shared.latest().plus_us(-IDS_KEPT_US);
            let goes_with_customer = old && is_counted(record.kind);
            if !goes_with_customer && !shared.replicas.was_received(sequence) {
                match entries(shared, &record, &mut piece.entries) {
                    Err(StoreError::Corrupt(why)) => {
                        tracing::error!(sequence, why, "a record of the log cannot be shipped");
                        shared.replicas.counts.unreadable.fetch_add(1, Relaxed);
                    }
                    read => read?,
                }
            }
            self.seen = sequence;
        }
        piece.sequence = self.seen;
        Ok(piece)
    }
}

/// Whether a repetition of such a record is noticed by an id that is forgotten in
/// time: what is older is given to Redis with the customer, not one by one.
fn is_counted(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::Event | RecordKind::Decision)
}

/// What a record tells; nothing of who was erased since.
fn entries(shared: &Shared, record: &LogRecord<'_>, into: &mut Vec<Entry>) -> Result<(), StoreError> {
    let mut tell = |what| {
        into.push(Entry { origin: shared.replicas.replica, sequence: record.sequence, time: record.time, what });
    };
    match record.kind {
        RecordKind::Event => {
            let head = frames::event_head(record)?;
            let Some(key) = history::data_key(shared, head.customer)? else { return Ok(()) };
            let event = Box::new(frames::event_body(record, &key)?);
            tell(What::Event { customer: head.customer, event, content: head.content });
        }
        RecordKind::Decision => {
            for event in decided_events(shared, record)? {
                let customer = DecisionFrame::read(record)?.customer;
                tell(What::Event { customer, event: Box::new(event), content: 1 });
            }
        }
        RecordKind::Customer => match Erasure::decode(record)? {
            Some(erasure) => tell(What::Erased(Box::new(erasure))),
            None => {
                let head = merge_record::head(record)?;
                let Some(key) = shared.data_key(head.survivor)? else { return Ok(()) };
                tell(What::Change { head, body: merge_record::body(record, &key)? });
            }
        },
        RecordKind::Items => tell(What::Names(frames::decode_names(record)?)),
        _ => {}
    }
    Ok(())
}

/// What a decision changes by itself of a customer, each with an id of its own.
fn decided_events(shared: &Shared, record: &LogRecord<'_>) -> Result<Vec<Event>, StoreError> {
    let frame = DecisionFrame::read(record)?;
    if frame.customer.is_none() {
        return Ok(Vec::new());
    }
    let public = frame.public()?.record;
    if public.exposed.is_none() && !public.winners.iter().any(|winner| winner.counts_now) {
        return Ok(Vec::new());
    }
    let Some(key) = history::data_key(shared, frame.customer)? else { return Ok(Vec::new()) };
    let whole = frame.whole(record, Some(&key))?.record;
    Ok(of_decision(&whole, frame.customer))
}

fn of_decision(record: &DecisionRecord, customer: Option<crate::domain::CustomerKey>) -> Vec<Event> {
    let mut events = decided::events(record, customer);
    for event in &mut events {
        event.id = id_of(event);
    }
    events
}

/// The id of what a decision changes by itself.
fn id_of(event: &Event) -> EventId {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(&event.id.0.to_le_bytes());
    match &event.kind {
        EventKind::Outcome { presentation, outcome: OutcomeType::Decided, .. } => {
            bytes.extend_from_slice(&presentation.offer.0.to_le_bytes());
            bytes.extend_from_slice(&presentation.channel.0.to_le_bytes());
            bytes.extend_from_slice(&presentation.record.0.to_le_bytes());
        }
        _ => bytes.push(1),
    }
    EventId(xxh3_128(&bytes))
}
