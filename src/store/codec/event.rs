//! An event as bytes.

use super::{
    Reader, Writer,
    parts::{
        CONSENT_BYTES_MIN, IDENTITY_BYTES_MIN, read_consent, read_identity, read_value, write_consent, write_identity,
        write_value,
    },
    series::{FEED_BYTES_MIN, read_feed, write_feed},
    wishes::{PREFERENCE_BYTES_MIN, RECORD_BYTES_MIN, read_preference, read_record, write_preference, write_record},
};
use crate::{
    domain::{
        AttrId, ChannelId, CustomerKey, DecisionId, Event, EventId, EventKind, EventTypeId, ItemId, ItemLine, OfferId,
        OutcomeType, PresentationRef, Purpose, ReasonCode, RecordRef, Timestamp,
    },
    store::StoreError,
};

/// Version 3 had neither feeds, nor preferences and records; 4 no links; 5 did not
/// say of which record an outcome is.
const VERSION: u8 = 6;

/// Purposes by their number, from 1.
const PURPOSES: [Purpose; 2] = [Purpose::Marketing, Purpose::Service];

/// Numbers of the kinds at rest.
mod kind {
    pub const OUTCOME: u8 = 1;
    pub const CUSTOMER: u8 = 2;
    pub const UPSERT: u8 = 3;
    pub const DO_NOT_CONTACT: u8 = 4;
    pub const EXPOSED: u8 = 5;
}

/// Fewest bytes of an entry.
const ITEM_BYTES_MIN: usize = 10;
const ATTRIBUTE_BYTES_MIN: usize = 5;

/// Appends an event.
pub fn encode_event(event: &Event, into: &mut Vec<u8>) {
    let w = &mut Writer::new(into);
    w.u8(VERSION);
    w.u128(event.id.0);
    w.signed(event.at.0);
    w.signed(event.received_at.0.wrapping_sub(event.at.0));
    w.list(&event.identities, write_identity);
    w.list(&event.feeds, write_feed);
    write_kind(w, &event.kind);
}

/// Reads an event.
///
/// # Errors
/// The bytes are not exactly one encoded event.
pub fn decode_event(bytes: &[u8]) -> Result<Event, StoreError> {
    let r = &mut Reader::new("event", bytes);
    r.version(VERSION)?;
    let id = EventId(r.u128()?);
    let at = Timestamp(r.signed()?);
    let received_at = Timestamp(at.0.wrapping_add(r.signed()?));
    let identities = r.list(IDENTITY_BYTES_MIN, read_identity)?;
    let feeds = r.list(FEED_BYTES_MIN, read_feed)?;
    let kind = read_kind(r)?;
    r.end()?;
    Ok(Event { id, at, received_at, identities, feeds, kind })
}

fn write_kind(w: &mut Writer<'_>, event: &EventKind) {
    match event {
        EventKind::Outcome { presentation, outcome, reason, value, note, agent, call, purpose, link } => {
            w.u8(kind::OUTCOME);
            write_presentation(w, presentation);
            w.u8(*outcome as u8);
            w.u32(reason.0);
            w.option(*value, Writer::signed);
            w.text(note);
            w.text(agent);
            w.text(call);
            w.u8(*purpose as u8);
            w.text(link);
        }
        EventKind::Customer { .. } => write_customer(w, event),
        EventKind::Upsert { attributes, consents, preferences, records } => {
            w.u8(kind::UPSERT);
            w.list(attributes, |w, (id, value)| {
                w.u32(id.0);
                write_value(w, value.as_ref());
            });
            w.list(consents, write_consent);
            w.list(preferences, write_preference);
            w.list(records, write_record);
        }
        EventKind::DoNotContact { on, reason } => {
            w.u8(kind::DO_NOT_CONTACT);
            w.bool(*on);
            w.text(reason);
        }
        EventKind::Exposed { holdout } => {
            w.u8(kind::EXPOSED);
            w.bool(*holdout);
        }
    }
}

fn write_customer(w: &mut Writer<'_>, kind: &EventKind) {
    if let EventKind::Customer { event, channel, amount, items, bought, conversion, data } = kind {
        w.u8(kind::CUSTOMER);
        w.u32(event.0);
        w.option(*channel, |w, channel| w.u32(channel.0));
        w.option(*amount, Writer::signed);
        w.list(items, |w, line| {
            w.u64(line.item.0);
            w.signed(i64::from(line.quantity));
            w.signed(line.unit_price);
        });
        w.bool(*bought);
        w.bool(*conversion);
        w.text(data);
    }
}

fn write_presentation(w: &mut Writer<'_>, presentation: &PresentationRef) {
    w.u128(presentation.decision.0);
    w.option(presentation.customer, |w, customer| w.u128(customer.0));
    w.u64(presentation.offer.0);
    w.u32(presentation.channel.0);
    w.option(presentation.record.is_some().then_some(presentation.record), |w, record| w.u64(record.0));
    w.signed(presentation.expires_at.0);
}

fn read_presentation(r: &mut Reader<'_>) -> Result<PresentationRef, StoreError> {
    Ok(PresentationRef {
        decision: DecisionId(r.u128()?),
        customer: r.option(|r| r.u128().map(CustomerKey))?,
        offer: OfferId(r.u64()?),
        channel: ChannelId(r.u32()?),
        record: r.option(|r| r.u64().map(RecordRef))?.unwrap_or_default(),
        expires_at: Timestamp(r.signed()?),
    })
}

fn read_kind(r: &mut Reader<'_>) -> Result<EventKind, StoreError> {
    Ok(match r.u8()? {
        kind::OUTCOME => EventKind::Outcome {
            presentation: read_presentation(r)?,
            outcome: r.choice(0, &OutcomeType::ALL)?,
            reason: ReasonCode(r.u32()?),
            value: r.option(Reader::signed)?,
            note: r.text()?.into(),
            agent: r.text()?.into(),
            call: r.text()?.into(),
            purpose: r.choice(1, &PURPOSES)?,
            link: r.text()?.into(),
        },
        kind::CUSTOMER => EventKind::Customer {
            event: EventTypeId(r.u32()?),
            channel: r.option(|r| r.u32().map(ChannelId))?,
            amount: r.option(Reader::signed)?,
            items: r.list(ITEM_BYTES_MIN, read_line)?,
            bought: r.bool()?,
            conversion: r.bool()?,
            data: r.text()?.into(),
        },
        kind::UPSERT => EventKind::Upsert {
            attributes: r.list(ATTRIBUTE_BYTES_MIN, |r| Ok((AttrId(r.u32()?), read_value(r)?)))?,
            consents: r.list(CONSENT_BYTES_MIN, read_consent)?,
            preferences: r.list(PREFERENCE_BYTES_MIN, read_preference)?,
            records: r.list(RECORD_BYTES_MIN, read_record)?,
        },
        kind::DO_NOT_CONTACT => EventKind::DoNotContact { on: r.bool()?, reason: r.text()?.into() },
        kind::EXPOSED => EventKind::Exposed { holdout: r.bool()? },
        other => return Err(r.error(&format!("`{other}` is no kind of event"))),
    })
}

fn read_line(r: &mut Reader<'_>) -> Result<ItemLine, StoreError> {
    let item = ItemId(r.u64()?);
    let quantity = r.signed()?;
    let quantity = i32::try_from(quantity).map_err(|_| r.error("a quantity out of range"))?;
    Ok(ItemLine { item, quantity, unit_price: r.signed()? })
}
