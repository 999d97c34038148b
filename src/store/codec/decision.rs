//! A decision as bytes: a public part, and a personal one to be sealed.

use std::sync::Arc;

use super::{
    Reader, Writer,
    request::{read_request, write_request},
};
use crate::{
    domain::{
        ChannelId, CustomerKey, DecisionId, DegradedSet, Match, OfferId, Pauses, Reason, RecordRef, Request,
        Reservation, RulesetHash, Timestamp,
    },
    store::{DecisionRecord, DeniedRecord, Eligible, HotProfile, StoreError, WinnerRecord},
};

/// Version 1 had no visitors, version 2 no records, version 3 none of what kept
/// its order.
const PERSONAL_VERSION: u8 = 4;
/// Version 1 had no pauses, version 2 no analysis.
const PUBLIC_VERSION: u8 = 3;
/// Fewest bytes of a winner, of what was denied, of a reservation, of a record
/// and whose it is.
const WINNER_BYTES_MIN: usize = 22;
const DENIED_BYTES_MIN: usize = 9;
const PLACED_BYTES_MIN: usize = 9;
const RESERVATION_BYTES_MIN: usize = 38;

const MATCHES: [Match; 4] = [Match::Known, Match::Anonymous, Match::New, Match::Ambiguous];

/// Bits of a winner's flags.
const COUNTS_NOW: u8 = 1;
const RESERVED: u8 = 2;

/// A decision read back, before its profile is found.
#[derive(Clone, Debug)]
pub struct DecodedDecision {
    /// The record: `customer` is `None`, `eligible` is empty, identity values
    /// are empty, of the pauses only the version is known. Without the personal part the
    /// request, the reservations and the consistency token are empty too, and nothing
    /// speaks of a record.
    pub record: DecisionRecord,
    /// Whose it was, and the hash of the profile it read.
    pub customer: Option<(CustomerKey, u128)>,
}

impl DecodedDecision {
    /// The whole record, given the profile and the pauses that were read.
    pub fn into_record(self, customer: Option<Arc<HotProfile>>, pauses: Arc<Pauses>) -> DecisionRecord {
        DecisionRecord { customer, pauses, ..self.record }
    }
}

/// Appends the public part of a decision.
pub fn encode_decision_public(record: &DecisionRecord, into: &mut Vec<u8>) {
    write_public(&mut Writer::new(into), record);
}

/// Appends the personal part of a decision.
pub fn encode_decision_personal(record: &DecisionRecord, into: &mut Vec<u8>) {
    let w = &mut Writer::new(into);
    w.u8(PERSONAL_VERSION);
    write_request(w, &record.request);
    w.list(&record.reservations, |w, reservation| write_reservation(w, reservation, record.now));
    w.text(&record.consistency_token);
    w.text(&record.public_url);
    // which records a person has is personal
    write_records(w, record.winners.iter().map(|winner| winner.record));
    write_records(w, record.denied.iter().map(|denied| denied.record));
    write_records(w, record.keep_order.iter().map(|kept| kept.1));
}

/// What speaks of a record: its place in its list, and the record.
fn write_records(w: &mut Writer<'_>, records: impl Iterator<Item = RecordRef>) {
    let placed: Vec<(usize, RecordRef)> = records.enumerate().filter(|(_, record)| record.is_some()).collect();
    w.list(&placed, |w, (place, record)| {
        w.len(*place);
        w.u64(record.0);
    });
}

/// Tells each that speaks of a record which.
fn read_records<'a>(r: &mut Reader<'_>, records: impl Iterator<Item = &'a mut RecordRef>) -> Result<(), StoreError> {
    let mut records: Vec<&mut RecordRef> = records.collect();
    for (place, read) in r.list(PLACED_BYTES_MIN, |r| Ok((r.varint()?, RecordRef(r.u64()?))))? {
        let place = usize::try_from(place).ok().and_then(|place| records.get_mut(place));
        **place.ok_or_else(|| r.error("a record of what is not there"))? = read;
    }
    Ok(())
}

/// Reads a decision. Without `personal` (erased, or not needed) only the
/// public part is filled in.
///
/// # Errors
/// The bytes are not exactly one encoded decision.
pub fn decode_decision(public: &[u8], personal: Option<&[u8]>) -> Result<DecodedDecision, StoreError> {
    let mut decoded = read_public(public)?;
    if let Some(bytes) = personal {
        let now = decoded.record.now;
        let r = &mut Reader::new("decision's personal part", bytes);
        r.version(PERSONAL_VERSION)?;
        decoded.record.request = read_request(r)?;
        decoded.record.reservations = r.list(RESERVATION_BYTES_MIN, |r| read_reservation(r, now))?;
        decoded.record.consistency_token = r.text()?.into();
        decoded.record.public_url = r.text()?.into();
        read_records(r, decoded.record.winners.iter_mut().map(|winner| &mut winner.record))?;
        read_records(r, decoded.record.denied.iter_mut().map(|denied| &mut denied.record))?;
        read_records(r, decoded.record.keep_order.iter_mut().map(|kept| &mut kept.1))?;
        r.end()?;
    }
    Ok(decoded)
}

fn write_public(w: &mut Writer<'_>, record: &DecisionRecord) {
    w.u8(PUBLIC_VERSION);
    w.u128(record.id.0);
    w.signed(record.now.0);
    w.u8(record.matched as u8);
    w.u64(record.ruleset.0);
    w.varint(record.model_version);
    w.varint(u64::from(record.signing_key));
    w.list(&record.exhausted, |w, offer| w.u64(offer.0));
    w.list(&record.denied, |w, denied| {
        w.u64(denied.offer.0);
        w.u8(denied.reason as u8);
    });
    w.list(&record.keep_order, |w, kept| w.u64(kept.0.0));
    w.u8(record.degraded.0);
    w.u64(record.digest);
    w.list(&record.winners, |w, winner| write_winner(w, winner, record.now));
    w.option(record.exposed, Writer::bool);
    w.option(record.customer.as_deref(), |w, hot| {
        w.u128(hot.profile.key.0);
        w.u128(hot.hash);
    });
    w.varint(record.pauses.version);
    w.varint(record.base_version);
}

fn read_public(bytes: &[u8]) -> Result<DecodedDecision, StoreError> {
    let r = &mut Reader::new("decision", bytes);
    r.version(PUBLIC_VERSION)?;
    let id = DecisionId(r.u128()?);
    let now = Timestamp(r.signed()?);
    // The fields are read in the order they are written in.
    let mut record = DecisionRecord {
        id,
        now,
        request: Request::default(),
        matched: r.choice(1, &MATCHES)?,
        customer: None,
        ruleset: RulesetHash(r.u64()?),
        model_version: r.varint()?,
        signing_key: r.narrow()?,
        reservations: Vec::new(),
        exhausted: r.list(8, |r| r.u64().map(OfferId))?,
        denied: r.list(DENIED_BYTES_MIN, read_denied)?,
        keep_order: r.list(8, |r| Ok((OfferId(r.u64()?), RecordRef::NONE)))?,
        degraded: DegradedSet(r.u8()?),
        consistency_token: "".into(),
        public_url: "".into(),
        digest: r.u64()?,
        winners: r.list(WINNER_BYTES_MIN, |r| read_winner(r, now))?,
        eligible: Eligible::default(),
        exposed: r.option(Reader::bool)?,
        pauses: Arc::default(),
        base_version: 0,
    };
    let customer = r.option(|r| Ok((CustomerKey(r.u128()?), r.u128()?)))?;
    record.pauses = Arc::new(Pauses { version: r.varint()?, list: Vec::new() });
    record.base_version = r.varint()?;
    r.end()?;
    Ok(DecodedDecision { record, customer })
}

fn read_denied(r: &mut Reader<'_>) -> Result<DeniedRecord, StoreError> {
    Ok(DeniedRecord { offer: OfferId(r.u64()?), reason: r.choice(1, Reason::ALL)?, record: RecordRef::NONE })
}

fn write_winner(w: &mut Writer<'_>, winner: &WinnerRecord, now: Timestamp) {
    let counts_now = if winner.counts_now { COUNTS_NOW } else { 0 };
    let reserved = if winner.reserved_until.is_some() { RESERVED } else { 0 };
    w.u8(counts_now | reserved);
    w.varint(u64::from(winner.placement));
    w.u64(winner.offer.0);
    w.u32(winner.channel.0);
    w.u32(winner.net_priority.to_bits());
    w.u32(winner.probability.to_bits());
    if let Some(until) = winner.reserved_until {
        w.signed(until.0.wrapping_sub(now.0));
    }
}

fn read_winner(r: &mut Reader<'_>, now: Timestamp) -> Result<WinnerRecord, StoreError> {
    let flags = r.u8()?;
    if flags > (COUNTS_NOW | RESERVED) {
        return Err(r.error(&format!("unknown flags `{flags}`")));
    }
    Ok(WinnerRecord {
        placement: r.narrow()?,
        offer: OfferId(r.u64()?),
        channel: ChannelId(r.u32()?),
        net_priority: f32::from_bits(r.u32()?),
        probability: f32::from_bits(r.u32()?),
        counts_now: flags & COUNTS_NOW != 0,
        reserved_until: if flags & RESERVED != 0 { Some(read_near(r, now)?) } else { None },
        record: RecordRef::NONE,
    })
}

fn write_reservation(w: &mut Writer<'_>, reservation: &Reservation, now: Timestamp) {
    w.u128(reservation.decision.0);
    w.u64(reservation.offer.0);
    w.u32(reservation.channel.0);
    w.signed(reservation.at.0.wrapping_sub(now.0));
    w.signed(reservation.expires_at.0.wrapping_sub(now.0));
    w.u64(reservation.record.0);
}

fn read_reservation(r: &mut Reader<'_>, now: Timestamp) -> Result<Reservation, StoreError> {
    Ok(Reservation {
        decision: DecisionId(r.u128()?),
        offer: OfferId(r.u64()?),
        channel: ChannelId(r.u32()?),
        at: read_near(r, now)?,
        expires_at: read_near(r, now)?,
        record: RecordRef(r.u64()?),
    })
}

/// A moment written as its distance from another.
fn read_near(r: &mut Reader<'_>, now: Timestamp) -> Result<Timestamp, StoreError> {
    Ok(Timestamp(now.0.wrapping_add(r.signed()?)))
}
