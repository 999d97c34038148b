//! What stands in log records: a public part in the clear, bound to a sealed
//! body. What belongs to no customer is sealed with the store's own key.

use crate::{
    domain::{CustomerKey, DecisionId, Event, EventId, EventKind, OutcomeType},
    predict::SegmentsChanged,
};

use super::{
    DecisionRecord, HotProfile, StoreError, codec,
    codec::DecodedDecision,
    log::LogRecord,
    seal::{self, DataKey},
};

/// An event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventHead {
    pub customer: Option<CustomerKey>,
    pub id: EventId,
    pub content: u64,
    /// The outcome it tells of, if it is one.
    pub outcome: Option<OutcomeType>,
}

/// First byte of a frame.
const VERSION: u8 = 1;
/// The same of events and decisions. In version 1 what belongs to no customer
/// was in the clear.
const SEALED_VERSION: u8 = 2;
const NO_OUTCOME: u8 = 0xff;

fn put_customer(customer: Option<CustomerKey>, writer: &mut codec::Writer<'_>) {
    writer.bool(customer.is_some());
    writer.u128(customer.unwrap_or_default().0);
}

fn read_customer(reader: &mut codec::Reader<'_>) -> Result<Option<CustomerKey>, StoreError> {
    let known = reader.bool()?;
    let key = CustomerKey(reader.u128()?);
    Ok(known.then_some(key))
}

/// Buffers that payloads are made in.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    payload: Vec<u8>,
    part: Vec<u8>,
}

impl Buffers {
    /// A buffer that grew beyond this is given back, bytes.
    const KEEP_BYTES: usize = 1 << 20;

    /// Begins a payload.
    fn begin(&mut self, version: u8) -> codec::Writer<'_> {
        self.payload.clear();
        self.payload.shrink_to(Self::KEEP_BYTES);
        self.payload.push(version);
        codec::Writer::new(&mut self.payload)
    }

    /// Appends the body that `write` makes, sealed, and answers the payload.
    fn seal(&mut self, key: &DataKey, sequence: u64, write: impl FnOnce(&mut Vec<u8>)) -> Result<&[u8], StoreError> {
        let public_bytes = self.payload.len();
        write(&mut self.payload);
        seal::seal(key, sequence, &mut self.payload, public_bytes)?;
        Ok(&self.payload)
    }
}

/// Opens a body; without a key it is in the clear.
fn read_body(key: Option<&DataKey>, record: &LogRecord<'_>, body: &[u8]) -> Result<Vec<u8>, StoreError> {
    let Some(key) = key else { return Ok(body.to_vec()) };
    let public = &record.payload[..record.payload.len() - body.len()];
    seal::open(key, record.sequence, public, body)
}

/// Whether the body of such a frame is in the clear.
fn is_clear(version: u8, customer: Option<CustomerKey>) -> bool {
    version == VERSION && customer.is_none()
}

/// Whose a record is, and what seals it.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub customer: Option<CustomerKey>,
    /// The customer's, or the store's.
    pub key: &'a DataKey,
}

/// The payload of an event, `content` the hash of its content.
pub(super) fn encode_event<'b>(
    owner: Owner<'_>,
    (event, content): (&Event, u64),
    sequence: u64,
    buffers: &'b mut Buffers,
) -> Result<&'b [u8], StoreError> {
    let mut writer = buffers.begin(SEALED_VERSION);
    put_customer(owner.customer, &mut writer);
    writer.u128(event.id.0);
    writer.u64(content);
    writer.u8(match &event.kind {
        EventKind::Outcome { outcome, .. } => *outcome as u8,
        _ => NO_OUTCOME,
    });
    buffers.seal(owner.key, sequence, |into| codec::encode_event(event, into))
}

fn event_reader<'a>(record: &LogRecord<'a>) -> Result<(EventHead, bool, &'a [u8]), StoreError> {
    let mut reader = codec::Reader::new("event record", record.payload);
    let version = reader.version_between(VERSION, SEALED_VERSION)?;
    let customer = read_customer(&mut reader)?;
    let id = EventId(reader.u128()?);
    let content = reader.u64()?;
    let outcome = OutcomeType::from_number(reader.u8()?);
    Ok((EventHead { customer, id, content, outcome }, is_clear(version, customer), reader.rest()))
}

/// The public part of an event.
pub(super) fn event_head(record: &LogRecord<'_>) -> Result<EventHead, StoreError> {
    Ok(event_reader(record)?.0)
}

/// The event itself; `key` is its customer's, or the store's.
pub(super) fn event_body(record: &LogRecord<'_>, key: &DataKey) -> Result<Event, StoreError> {
    let (_, clear, body) = event_reader(record)?;
    codec::decode_event(&read_body((!clear).then_some(key), record, body)?)
}

/// The payload of a decision; `store_key` seals what belongs to no customer.
pub(super) fn encode_decision<'b>(
    record: &DecisionRecord,
    store_key: &DataKey,
    sequence: u64,
    buffers: &'b mut Buffers,
) -> Result<&'b [u8], StoreError> {
    let mut public = std::mem::take(&mut buffers.part);
    public.clear();
    codec::encode_decision_public(record, &mut public);
    let mut writer = buffers.begin(SEALED_VERSION);
    writer.u128(record.id.0);
    put_customer(record.customer.as_ref().map(|c| c.profile.key), &mut writer);
    writer.bytes(&public);
    buffers.part = public;
    let key = record.customer.as_ref().map_or(store_key, |c| &c.data_key);
    buffers.seal(key, sequence, |into| codec::encode_decision_personal(record, into))
}

/// A decision's record, taken apart.
pub(super) struct DecisionFrame<'a> {
    pub id: DecisionId,
    pub customer: Option<CustomerKey>,
    clear: bool,
    public: &'a [u8],
    body: &'a [u8],
}

impl<'a> DecisionFrame<'a> {
    pub fn read(record: &LogRecord<'a>) -> Result<Self, StoreError> {
        let mut reader = codec::Reader::new("decision record", record.payload);
        let version = reader.version_between(VERSION, SEALED_VERSION)?;
        let id = DecisionId(reader.u128()?);
        let customer = read_customer(&mut reader)?;
        let public = reader.bytes()?;
        Ok(Self { id, customer, clear: is_clear(version, customer), public, body: reader.rest() })
    }

    /// Without what is personal.
    pub fn public(&self) -> Result<DecodedDecision, StoreError> {
        codec::decode_decision(self.public, None)
    }

    /// Everything; `key` is the customer's, or the store's. Without it only
    /// the public part.
    pub fn whole(&self, record: &LogRecord<'_>, key: Option<&DataKey>) -> Result<DecodedDecision, StoreError> {
        if !self.clear && key.is_none() {
            return self.public();
        }
        let key = key.filter(|_| !self.clear);
        codec::decode_decision(self.public, Some(&read_body(key, record, self.body)?))
    }
}

/// The payload of a profile's version.
pub(super) fn encode_profile<'b>(
    hot: &HotProfile,
    sequence: u64,
    buffers: &'b mut Buffers,
) -> Result<&'b [u8], StoreError> {
    let mut writer = buffers.begin(VERSION);
    writer.u128(hot.hash);
    writer.u128(hot.profile.key.0);
    buffers.seal(&hot.data_key, sequence, |into| into.extend_from_slice(hot.packed.encoded()))
}

/// Bytes of the hash and the customer of a profile's version.
const HEAD_BYTES: usize = 32;

/// The hash and the customer of a profile's version.
pub(super) fn profile_head(record: &LogRecord<'_>) -> Result<(u128, CustomerKey), StoreError> {
    let mut reader = codec::Reader::new("profile record", record.payload);
    reader.version(VERSION)?;
    Ok((reader.u128()?, CustomerKey(reader.u128()?)))
}

/// A profile's version.
pub(super) fn profile_body(record: &LogRecord<'_>, key: &DataKey) -> Result<HotProfile, StoreError> {
    let mut reader = codec::Reader::new("profile record", record.payload);
    reader.version(VERSION)?;
    reader.take(HEAD_BYTES)?;
    let encoded = read_body(Some(key), record, reader.rest())?;
    HotProfile::of_encoded(&encoded, key.clone())
}

/// The payload of a customer as it was read from Redis.
pub(super) fn encode_adopted<'b>(
    (hot, ids): (&HotProfile, &[EventId]),
    sequence: u64,
    buffers: &'b mut Buffers,
) -> Result<&'b [u8], StoreError> {
    let mut writer = buffers.begin(VERSION);
    writer.u128(hot.profile.key.0);
    buffers.seal(&hot.data_key, sequence, |into| {
        let mut writer = codec::Writer::new(into);
        writer.list(ids, |w, id| w.u128(id.0));
        into.extend_from_slice(hot.packed.encoded());
    })
}

/// Whose it is.
pub(super) fn adopted_head(record: &LogRecord<'_>) -> Result<CustomerKey, StoreError> {
    let mut reader = codec::Reader::new("adopted customer", record.payload);
    reader.version(VERSION)?;
    Ok(CustomerKey(reader.u128()?))
}

/// The customer, and the ids of what it holds.
pub(super) fn adopted_body(
    record: &LogRecord<'_>,
    key: &DataKey,
) -> Result<(crate::domain::Profile, Vec<EventId>), StoreError> {
    let mut reader = codec::Reader::new("adopted customer", record.payload);
    reader.version(VERSION)?;
    reader.u128()?;
    let plain = read_body(Some(key), record, reader.rest())?;
    let mut reader = codec::Reader::new("adopted customer", &plain);
    let ids = reader.list(16, |r| r.u128().map(EventId))?;
    Ok((codec::decode_profile(reader.rest())?, ids))
}

/// The payload of the segments that a customer entered and left.
pub(super) fn encode_segments<'b>(
    (changed, key): (&SegmentsChanged, &DataKey),
    sequence: u64,
    buffers: &'b mut Buffers,
) -> Result<&'b [u8], StoreError> {
    let mut writer = buffers.begin(SEALED_VERSION);
    writer.u128(changed.customer.0);
    buffers.seal(key, sequence, |into| codec::encode_segments(changed, into))
}

/// Who entered and left segments.
pub(super) fn segments_head(record: &LogRecord<'_>) -> Result<CustomerKey, StoreError> {
    Ok(segments_reader(record)?.0)
}

fn segments_reader<'a>(record: &LogRecord<'a>) -> Result<(CustomerKey, &'a [u8]), StoreError> {
    let mut reader = codec::Reader::new("segments record", record.payload);
    reader.version(SEALED_VERSION)?;
    Ok((CustomerKey(reader.u128()?), reader.rest()))
}

/// Which segments a customer entered and left.
pub(super) fn segments_body(record: &LogRecord<'_>, key: &DataKey) -> Result<SegmentsChanged, StoreError> {
    let (customer, body) = segments_reader(record)?;
    codec::decode_segments(customer, &read_body(Some(key), record, body)?)
}

/// The payload of item names.
pub(super) fn encode_names(names: &[Box<str>]) -> Vec<u8> {
    let mut payload = vec![VERSION];
    let mut writer = codec::Writer::new(&mut payload);
    writer.len(names.len());
    names.iter().for_each(|name| writer.text(name));
    payload
}

/// Item names.
pub(super) fn decode_names(record: &LogRecord<'_>) -> Result<Vec<Box<str>>, StoreError> {
    let mut reader = codec::Reader::new("item names", record.payload);
    reader.version(VERSION)?;
    let len = reader.len(1)?;
    (0..len).map(|_| reader.text().map(Box::from)).collect()
}
