//! What a replica tells the others: a record of its log without what is its own.

use crate::domain::{CustomerKey, Event, EventId, Timestamp};

use super::super::{
    Erasure, ReplicaId, StoreError, codec,
    log::{LogRecord, Position, RecordKind},
    merge_record::{self, ChangeBody, ChangeHead},
    row_seal::{Nonces, RowKey, Table},
};

/// First byte of an entry.
const VERSION: u8 = 1;
/// Bytes of the fields that an entry is bound to.
const PLACE_BYTES: usize = 16;

/// One thing that a replica wrote.
#[derive(Clone, Debug)]
pub(in crate::store) struct Entry {
    /// Who wrote it.
    pub origin: ReplicaId,
    /// Its sequence in the log of that replica.
    pub sequence: u64,
    /// When it was written.
    pub time: Timestamp,
    /// What it is.
    pub what: What,
}

/// What was written.
#[derive(Clone, Debug)]
pub(in crate::store) enum What {
    /// Something happened to a customer, or to nobody who is known.
    Event { customer: Option<CustomerKey>, event: Box<Event>, content: u64 },
    /// Two customers became one, or are two again.
    Change { head: ChangeHead, body: ChangeBody },
    /// Customers were erased.
    Erased(Box<Erasure>),
    /// Names behind the hashes of items.
    Names(Vec<Box<str>>),
}

const EVENT: u8 = 1;
const CHANGE: u8 = 2;
const ERASED: u8 = 3;
const NAMES: u8 = 4;

impl Entry {
    /// By what a repetition is noticed.
    pub fn id(&self) -> EventId {
        match &self.what {
            What::Event { event, .. } => event.id,
            What::Erased(erasure) => EventId(erasure.id),
            What::Change { head, body } if body.id.0 != 0 => {
                let mut bytes = [0; 17];
                bytes[..16].copy_from_slice(&body.id.0.to_le_bytes());
                bytes[16] = head.change as u8;
                EventId(xxhash_rust::xxh3::xxh3_128(&bytes))
            }
            What::Change { .. } | What::Names(_) => {
                EventId(xxhash_rust::xxh3::xxh3_128(&place(self.origin, self.sequence)))
            }
        }
    }

    /// Whom it changes, if it is one.
    pub fn customer(&self) -> Option<CustomerKey> {
        match &self.what {
            What::Event { customer, .. } => *customer,
            What::Change { head, .. } => Some(head.absorbed),
            What::Erased(_) | What::Names(_) => None,
        }
    }

    /// Sealed for the stream.
    ///
    /// # Errors
    /// It is too long to seal.
    pub fn seal(&self, key: &RowKey, nonces: &mut Nonces) -> Result<Vec<u8>, StoreError> {
        let mut sealed = Vec::with_capacity(256);
        key.seal(nonces, (Table::Stream, &place(self.origin, self.sequence)), &mut sealed, |into| self.write(into))?;
        Ok(sealed)
    }

    fn write(&self, into: &mut Vec<u8>) {
        let mut writer = codec::Writer::new(into);
        writer.u8(VERSION);
        writer.signed(self.time.0);
        match &self.what {
            What::Event { customer, event, content } => {
                writer.u8(EVENT);
                writer.option(*customer, |w, key| w.u128(key.0));
                writer.u64(*content);
                codec::encode_event(event, into);
            }
            What::Change { head, body } => {
                writer.u8(CHANGE);
                merge_record::write_head(*head, &mut writer);
                merge_record::write_body(body, &mut writer);
            }
            What::Erased(erasure) => {
                writer.u8(ERASED);
                into.extend_from_slice(&erasure.encode());
            }
            What::Names(names) => {
                writer.u8(NAMES);
                writer.list(names, |w, name| w.text(name));
            }
        }
    }

    /// Opens what [`Entry::seal`] made.
    ///
    /// # Errors
    /// It is damaged, of another place, or of another shared store.
    pub fn open(key: &RowKey, (origin, sequence): (ReplicaId, u64), sealed: &[u8]) -> Result<Self, StoreError> {
        let plain = key.open((Table::Stream, &place(origin, sequence)), sealed)?;
        let mut reader = codec::Reader::new("entry of another replica", &plain);
        reader.version(VERSION)?;
        let time = Timestamp(reader.signed()?);
        let what = match reader.u8()? {
            EVENT => {
                let customer = reader.option(|r| r.u128().map(CustomerKey))?;
                let content = reader.u64()?;
                What::Event { customer, event: Box::new(codec::decode_event(reader.rest())?), content }
            }
            CHANGE => {
                let head = merge_record::read_head(&mut reader)?;
                What::Change { head, body: merge_record::read_body(&mut reader)? }
            }
            ERASED => What::Erased(Box::new(erasure(sequence, time, reader.rest())?)),
            NAMES => What::Names(reader.list(1, |r| r.text().map(Box::from))?),
            other => return Err(reader.error(&format!("`{other}` is no known kind"))),
        };
        Ok(Self { origin, sequence, time, what })
    }
}

fn erasure(sequence: u64, time: Timestamp, payload: &[u8]) -> Result<Erasure, StoreError> {
    let position = Position { segment: 0, offset: 0 };
    let record = LogRecord { sequence, time, kind: RecordKind::Customer, payload, position };
    Erasure::decode(&record)?
        .ok_or_else(|| StoreError::Corrupt("reading an entry of another replica: it is no erasure".to_owned()))
}

/// What an entry is bound to.
fn place(origin: ReplicaId, sequence: u64) -> [u8; PLACE_BYTES] {
    let mut place = [0; PLACE_BYTES];
    place[..8].copy_from_slice(&origin.0.to_be_bytes());
    place[8..].copy_from_slice(&sequence.to_be_bytes());
    place
}
