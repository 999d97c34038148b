//! A profile as bytes.

use super::{
    Reader, Writer,
    parts::{
        CONSENT_BYTES_MIN, IDENTITY_BYTES_MIN, Moments, Repeated, read_consent, read_identity, read_value,
        write_consent, write_identity, write_value,
    },
    series::{SERIES_BYTES_MIN, read_series, write_series},
    wishes::{PREFERENCE_BYTES_MIN, RECORD_BYTES_MIN, read_preference, read_record, write_preference, write_record},
};
use crate::{
    domain::{
        ArmKey, AttrId, ChannelId, CustomerKey, DecisionId, EventStat, EventTypeId, Interaction, ItemId, ItemTouch,
        OfferId, Origin, OutcomeSet, Profile, ReasonCode, RecordRef, StoredAttribute, StoredPreference, StoredRecord,
        Timestamp,
    },
    store::StoreError,
};

/// Version 1 had no series, preferences and records, and nothing of merged ones;
/// version 2 did not say of which record an interaction is.
const VERSION: u8 = 3;

/// Fewest bytes of an entry.
const ATTRIBUTE_BYTES_MIN: usize = 6;
const STAT_BYTES_MIN: usize = 8;
const INTERACTION_BYTES_MIN: usize = 6;
const ITEM_BYTES_MIN: usize = 2;
const ORIGIN_BYTES_MIN: usize = 20;

/// Bits of the flags byte.
const OWN_ARM: u8 = 1;
const DO_NOT_CONTACT: u8 = 2;
const EXPOSED: u8 = 4;
const EXPOSED_HOLDOUT: u8 = 8;
const CONVERTED: u8 = 16;
const CONTACT_ALLOWED: u8 = 32;
const FLAGS_END: u8 = 64;

/// Appends a profile.
pub fn encode_profile(profile: &Profile, into: &mut Vec<u8>) {
    let w = &mut Writer::new(into);
    w.u8(VERSION);
    write_head(w, profile);
    w.list(&profile.identities, write_identity);
    write_attributes(w, &profile.attributes);
    write_stats(w, &profile.stats);
    write_interactions(w, &profile.interactions);
    write_items(w, &profile.items);
    w.list(&profile.consents, write_consent);
    w.list(&profile.preferences, |w, wish| {
        write_preference(w, &wish.preference);
        w.signed(wish.at.0);
    });
    let mut moments = Moments::begin(w, profile.records.iter().map(|r| r.at));
    w.list(&profile.records, |w, record| {
        write_record(w, &record.change);
        moments.write_next(w, record.at);
    });
    w.list(&profile.series, write_series);
    w.list(&profile.absorbed, write_origin);
}

/// Reads a profile.
///
/// # Errors
/// The bytes are not exactly one encoded profile.
pub fn decode_profile(bytes: &[u8]) -> Result<Profile, StoreError> {
    let r = &mut Reader::new("profile", bytes);
    r.version(VERSION)?;
    let mut profile = read_head(r)?;
    profile.identities = r.list(IDENTITY_BYTES_MIN, read_identity)?;
    profile.attributes = read_attributes(r)?;
    profile.stats = read_stats(r)?;
    profile.interactions = read_interactions(r)?;
    profile.items = read_items(r)?;
    profile.consents = r.list(CONSENT_BYTES_MIN, read_consent)?;
    profile.preferences = r.list(PREFERENCE_BYTES_MIN + 1, |r| {
        Ok(StoredPreference { preference: read_preference(r)?, at: Timestamp(r.signed()?) })
    })?;
    let mut moments = Moments::read(r)?;
    profile.records =
        r.list(RECORD_BYTES_MIN + 1, |r| Ok(StoredRecord { change: read_record(r)?, at: moments.read_next(r)? }))?;
    profile.series = r.list(SERIES_BYTES_MIN, read_series)?;
    profile.absorbed = r.list(ORIGIN_BYTES_MIN, read_origin)?;
    r.end()?;
    Ok(profile)
}

fn write_head(w: &mut Writer<'_>, profile: &Profile) {
    let own_arm = profile.arm_key.0 == profile.key.0;
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    w.u8(bit(own_arm, OWN_ARM)
        | bit(profile.do_not_contact.is_some(), DO_NOT_CONTACT)
        | bit(profile.exposed_at.is_some(), EXPOSED)
        | bit(profile.exposed_holdout, EXPOSED_HOLDOUT)
        | bit(profile.converted_at.is_some(), CONVERTED)
        | bit(profile.contact_allowed_at.is_some(), CONTACT_ALLOWED));
    w.u128(profile.key.0);
    if !own_arm {
        w.u128(profile.arm_key.0);
    }
    w.varint(profile.version);
    w.signed(profile.first_seen.0);
    let marks = [profile.do_not_contact, profile.contact_allowed_at, profile.exposed_at, profile.converted_at];
    for moment in marks.into_iter().flatten() {
        w.signed(moment.0);
    }
}

fn read_head(r: &mut Reader<'_>) -> Result<Profile, StoreError> {
    let flags = r.u8()?;
    if flags >= FLAGS_END {
        return Err(r.error(&format!("unknown flags `{flags}`")));
    }
    let key = CustomerKey(r.u128()?);
    let arm_key = if flags & OWN_ARM != 0 { ArmKey(key.0) } else { ArmKey(r.u128()?) };
    let version = r.varint()?;
    let first_seen = Timestamp(r.signed()?);
    let mut mark = |flag: u8| if flags & flag != 0 { r.signed().map(|at| Some(Timestamp(at))) } else { Ok(None) };
    let (do_not_contact, contact_allowed_at) = (mark(DO_NOT_CONTACT)?, mark(CONTACT_ALLOWED)?);
    let (exposed_at, converted_at) = (mark(EXPOSED)?, mark(CONVERTED)?);
    Ok(Profile {
        key,
        arm_key,
        version,
        first_seen,
        do_not_contact,
        contact_allowed_at,
        exposed_at,
        converted_at,
        exposed_holdout: flags & EXPOSED_HOLDOUT != 0,
        ..Profile::default()
    })
}

fn write_attributes(w: &mut Writer<'_>, attributes: &[StoredAttribute]) {
    let mut moments = Moments::begin(w, attributes.iter().map(|a| a.at));
    w.list(attributes, |w, attribute| {
        w.u32(attribute.id.0);
        write_value(w, attribute.value.as_ref());
        moments.write_next(w, attribute.at);
    });
}

fn read_attributes(r: &mut Reader<'_>) -> Result<Vec<StoredAttribute>, StoreError> {
    let mut moments = Moments::read(r)?;
    r.list(ATTRIBUTE_BYTES_MIN, |r| {
        Ok(StoredAttribute { id: AttrId(r.u32()?), value: read_value(r)?, at: moments.read_next(r)? })
    })
}

fn write_stats(w: &mut Writer<'_>, stats: &[EventStat]) {
    let mut moments = Moments::begin(w, stats.iter().flat_map(|s| [s.first_at, s.last_at]));
    w.list(stats, |w, stat| {
        w.u32(stat.event.0);
        w.varint(stat.count);
        w.signed(stat.amount);
        moments.write_next(w, stat.first_at);
        moments.write_next(w, stat.last_at);
    });
}

fn read_stats(r: &mut Reader<'_>) -> Result<Vec<EventStat>, StoreError> {
    let mut moments = Moments::read(r)?;
    r.list(STAT_BYTES_MIN, |r| {
        Ok(EventStat {
            event: EventTypeId(r.u32()?),
            count: r.varint()?,
            amount: r.signed()?,
            first_at: moments.read_next(r)?,
            last_at: moments.read_next(r)?,
        })
    })
}

fn write_origin(w: &mut Writer<'_>, origin: &Origin) {
    w.u128(origin.key.0);
    w.varint(origin.version);
    write_stats(w, &origin.stats);
    w.list(&origin.series, write_series);
}

fn read_origin(r: &mut Reader<'_>) -> Result<Origin, StoreError> {
    Ok(Origin {
        key: CustomerKey(r.u128()?),
        version: r.varint()?,
        stats: read_stats(r)?,
        series: r.list(SERIES_BYTES_MIN, read_series)?,
    })
}

fn write_items(w: &mut Writer<'_>, items: &[ItemTouch]) {
    let mut moments = Moments::begin(w, items.iter().map(|i| i.at));
    let mut ids = Repeated::default();
    w.list(items, |w, touch| {
        moments.write_next(w, touch.at);
        ids.write_flagged(w, touch.item.0, touch.bought);
    });
}

fn read_items(r: &mut Reader<'_>) -> Result<Vec<ItemTouch>, StoreError> {
    let mut moments = Moments::read(r)?;
    let mut ids = Repeated::default();
    r.list(ITEM_BYTES_MIN, |r| {
        let at = moments.read_next(r)?;
        let (item, bought) = ids.read_flagged(r)?;
        Ok(ItemTouch { at, item: ItemId(item), bought })
    })
}

/// Bits of an interaction's first two bytes, above 12 bits of its decision.
const SAME_DECISION: u16 = 1 << 12;
const OTHER_UUID: u16 = 1 << 13;
const ANSWERED: u16 = 1 << 14;
const HAS_REASON: u16 = 1 << 15;
/// A bit above those of the outcomes: the record follows.
const OF_RECORD: u64 = 1 << 16;
const NEVER: Timestamp = Timestamp(0);
const RAND_A: u16 = SAME_DECISION - 1;
const RAND_B: u64 = (1 << 62) - 1;

/// What the interactions written before gave: ids and the last decision.
#[derive(Default)]
struct Before {
    offers: Repeated,
    channels: Repeated,
    reasons: Repeated,
    decision: Option<DecisionId>,
}

fn write_interactions(w: &mut Writer<'_>, interactions: &[Interaction]) {
    let mut moments = Moments::begin(w, interactions.iter().flat_map(|i| [i.at, i.answered_at, i.reason_at]));
    let mut before = Before::default();
    w.list(interactions, |w, interaction| write_interaction(w, interaction, &mut moments, &mut before));
}

fn write_interaction(w: &mut Writer<'_>, interaction: &Interaction, moments: &mut Moments, before: &mut Before) {
    let decision = interaction.decision;
    let (rand_a, rand_b) = ((decision.0 >> 64) as u16 & RAND_A, decision.0 as u64 & RAND_B);
    let same = before.decision.replace(decision) == Some(decision);
    let uuid_v7 = uuid_v7(decision.unix_ms(), rand_a, rand_b) == decision;
    let answered = interaction.answered_at != NEVER;
    let has_reason = (interaction.reason.0, interaction.reason_at) != (0, NEVER);
    let mut head = match (same, uuid_v7) {
        (true, _) => SAME_DECISION,
        (false, true) => rand_a,
        (false, false) => OTHER_UUID,
    };
    head |= if answered { ANSWERED } else { 0 };
    head |= if has_reason { HAS_REASON } else { 0 };
    w.u8(head as u8);
    w.u8((head >> 8) as u8);
    moments.write_next(w, interaction.at);
    if !same && uuid_v7 {
        w.u64(rand_b);
        w.signed(interaction.at.millis().wrapping_sub(decision.unix_ms().cast_signed()));
    } else if !same {
        w.u128(decision.0);
    }
    before.offers.write_u64(w, interaction.offer.0);
    before.channels.write_u32(w, interaction.channel.0);
    let of_record = interaction.record.is_some();
    w.varint(u64::from(interaction.outcomes.0) | if of_record { OF_RECORD } else { 0 });
    if of_record {
        w.u64(interaction.record.0);
    }
    if answered {
        moments.write_aside(w, interaction.answered_at);
    }
    if has_reason {
        before.reasons.write_u32(w, interaction.reason.0);
        moments.write_aside(w, interaction.reason_at);
    }
}

fn read_interactions(r: &mut Reader<'_>) -> Result<Vec<Interaction>, StoreError> {
    let mut moments = Moments::read(r)?;
    let mut before = Before::default();
    r.list(INTERACTION_BYTES_MIN, |r| read_interaction(r, &mut moments, &mut before))
}

fn read_interaction(r: &mut Reader<'_>, moments: &mut Moments, before: &mut Before) -> Result<Interaction, StoreError> {
    let head = u16::from_le_bytes([r.u8()?, r.u8()?]);
    let at = moments.read_next(r)?;
    let decision = match head & (SAME_DECISION | OTHER_UUID) {
        0 => {
            let rand_b = r.u64()?;
            let unix_ms = at.millis().wrapping_sub(r.signed()?).cast_unsigned();
            uuid_v7(unix_ms, head & RAND_A, rand_b & RAND_B)
        }
        OTHER_UUID => DecisionId(r.u128()?),
        _ => before.decision.ok_or_else(|| r.error("no decision before this one"))?,
    };
    before.decision = Some(decision);
    let (offer, channel) = (OfferId(before.offers.read_u64(r)?), ChannelId(before.channels.read_u32(r)?));
    let outcomes = r.varint()?;
    let record = if outcomes & OF_RECORD == 0 { RecordRef::NONE } else { RecordRef(r.u64()?) };
    let outcomes = u16::try_from(outcomes & !OF_RECORD).map_err(|_| r.error("outcomes out of range"))?;
    let mut read = Interaction {
        decision,
        at,
        offer,
        channel,
        record,
        outcomes: OutcomeSet(outcomes),
        answered_at: if head & ANSWERED != 0 { moments.read_aside(r)? } else { NEVER },
        reason: ReasonCode::default(),
        reason_at: NEVER,
    };
    if head & HAS_REASON != 0 {
        (read.reason, read.reason_at) = (ReasonCode(before.reasons.read_u32(r)?), moments.read_aside(r)?);
    }
    Ok(read)
}

/// A UUIDv7 of its parts: 48, 12 and 62 bits.
fn uuid_v7(unix_ms: u64, rand_a: u16, rand_b: u64) -> DecisionId {
    DecisionId::new(unix_ms, (u128::from(rand_a) << 62) | u128::from(rand_b))
}
