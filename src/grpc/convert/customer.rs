//! The one view of a customer, and what is written to it.

use crate::{
    app::{AppError, CustomerView, UpsertInput},
    domain::{
        ChannelId, Consent, ConsentPurpose, EventStat, EventTypeId, Interaction, ItemId, ItemTouch, OfferId,
        Permission, Profile, ReasonCode, RecordRef, Timestamp,
    },
    proto,
    rules::Ruleset,
};

use super::{
    Reading, event, preferences,
    reading::{REQUEST_ID_BYTES_MAX, money, timestamp},
    records, request, schema, value,
};

/// Most consents of one call.
pub const CONSENTS_MAX: usize = 64;
/// Most bytes of a consent's source and of its proof.
pub const CONSENT_BYTES_MAX: usize = 64;
/// The earliest time of a value or consent, 1980-01-01: what is older is a
/// mistaken unit, or the day that a program begins to count with.
pub const TIME_MIN: Timestamp = Timestamp(315_532_800_000_000);
/// Most bytes of the reason of a do-not-contact.
pub const REASON_BYTES_MAX: usize = 256;

/// Checks an upsert.
///
/// # Errors
/// Every violation at once.
pub fn read_upsert(mut reading: Reading<'_>, wire: proto::UpsertCustomerRequest) -> Result<UpsertInput, AppError> {
    let r = &mut reading;
    let input = UpsertInput {
        identities: r.identities_to_write("", wire.identities),
        attributes: schema::stored(r, wire.attributes),
        consents: consents(r, wire.consents),
        preferences: preferences::read(r, wire.preferences),
        records: records::read(r, wire.records),
        request_id: r.text("request_id", wire.request_id, REQUEST_ID_BYTES_MAX).into_string(),
        at: became_true(r, "time", wire.time),
        validate_only: wire.validate_only,
    };
    reading.done(input)
}

/// When something became true.
fn became_true(r: &mut Reading<'_>, field: &str, wire: Option<crate::grpc::timestamp::Timestamp>) -> Option<Timestamp> {
    let at = r.moment(field, wire)?;
    if at < TIME_MIN {
        r.wrong(field, "is before 1980-01-01: give the time when it became true, in seconds since 1970");
    }
    Some(at)
}

fn consents(r: &mut Reading<'_>, wire: Vec<proto::Consent>) -> Vec<Consent> {
    if !r.fits("consents", wire.len(), CONSENTS_MAX) {
        return Vec::new();
    }
    wire.into_iter().enumerate().filter_map(|(index, one)| consent(r, index, one)).collect()
}

fn consent(r: &mut Reading<'_>, index: usize, wire: proto::Consent) -> Option<Consent> {
    let at = |field: &str| format!("consents[{index}].{field}");
    let channel = r.ruleset.channel_by_name(&wire.channel).map(|c| c.id);
    if channel.is_none() && !wire.channel.is_empty() {
        r.unknown_channel(&at("channel"), &wire.channel);
    }
    let permission = request::permission(r, &at("permission"), wire.permission);
    if wire.permission == 0 {
        r.wrong(at("permission"), "is missing: give `PERMISSION_GRANTED` or `PERMISSION_DENIED`");
    }
    let source = r.text(&at("source"), wire.source, CONSENT_BYTES_MAX);
    let proof = r.text(&at("proof"), wire.proof, CONSENT_BYTES_MAX);
    // INVARIANT: a zero time stands for now.
    let moment = became_true(r, &at("time"), wire.time).unwrap_or(Timestamp(0));
    let purpose = match r.number(&at("purpose"), wire.purpose)? {
        proto::ConsentPurpose::Marketing => ConsentPurpose::Marketing,
        proto::ConsentPurpose::Service => ConsentPurpose::Service,
        proto::ConsentPurpose::Profiling => ConsentPurpose::Profiling,
        proto::ConsentPurpose::Unspecified => {
            r.wrong(at("purpose"), "is missing: say what the consent is for");
            return None;
        }
    };
    if purpose == ConsentPurpose::Profiling && !wire.channel.is_empty() {
        r.wrong(at("channel"), "must be empty: profiling is permitted or denied everywhere, not per channel");
    }
    Some(Consent { channel, purpose, permission, at: moment, source, proof })
}

/// What names the view needs beyond the customer.
pub struct Names<'a> {
    /// The rules.
    pub ruleset: &'a Ruleset,
    /// Names of items that events named.
    pub item: &'a dyn Fn(ItemId) -> Option<std::sync::Arc<str>>,
    /// The keys of the customer's records, see [`record_key`]; empty where one is
    /// not known.
    pub record: &'a dyn Fn(RecordRef) -> String,
}

/// The key of a customer's record; empty for none, or one that is forgotten.
pub fn record_key(profile: &Profile, record: RecordRef) -> String {
    profile.key_of(record).unwrap_or_default().to_owned()
}

/// The one view on the wire.
pub fn write(view: &CustomerView, names: &Names<'_>) -> proto::Customer {
    let profile = &view.profile;
    let currency = &names.ruleset.currency;
    let typed = |(name, v): &(std::sync::Arc<str>, crate::domain::Value)| (name.to_string(), value::write(currency, v));
    proto::Customer {
        identities: profile.identities.iter().map(|one| identity(one, names)).collect(),
        attributes: view.attributes.iter().map(typed).collect(),
        traits: view.traits.iter().map(typed).collect(),
        consents: profile.consents.iter().map(|one| write_consent(one, names)).collect(),
        do_not_contact: profile.do_not_contact.is_some(),
        segments: view.segments.iter().map(|name| name.to_string()).collect(),
        interactions: profile.interactions.iter().rev().map(|one| interaction(one, (profile, names))).collect(),
        items: profile.items.iter().rev().map(|one| item(one, names)).collect(),
        events: crate::customer::traits::totals(profile).iter().map(|one| event_total(one, names)).collect(),
        arm: arm(view.holdout).to_owned(),
        first_seen: Some(timestamp(profile.first_seen)),
        consistency_token: view.consistency_token.clone(),
        preferences: preferences::write(profile.preferences.iter().map(|p| &p.preference), names.ruleset),
        records: records::write(&profile.records, names.ruleset),
    }
}

/// The name of an arm.
pub fn arm(holdout: bool) -> &'static str {
    if holdout { "holdout" } else { "treated" }
}

/// An identity on the wire.
pub fn identity(one: &crate::domain::StoredIdentity, names: &Names<'_>) -> proto::Identity {
    let known = names.ruleset.schema.identities.iter().find(|def| def.id == one.kind);
    let kind = known.map_or_else(|| format!("{:08x}", one.kind.0), |def| def.name.to_string());
    proto::Identity { r#type: kind, value: one.value.to_string() }
}

/// A channel's id, or its hash when the rules no longer have it.
pub fn channel_name(ruleset: &Ruleset, id: ChannelId) -> String {
    let slot = ruleset.channel_slots.get(&id);
    slot.map_or_else(|| format!("{:08x}", id.0), |slot| ruleset.channel(*slot).name.to_string())
}

/// An offer's id, or its hash when the rules no longer have it.
pub fn offer_name(ruleset: &Ruleset, id: OfferId) -> String {
    let slot = ruleset.offer_slots.get(&id);
    slot.map_or_else(|| format!("{:016x}", id.0), |slot| ruleset.offer(*slot).name_id.to_string())
}

/// A decline's reason code, or its hash when the rules no longer have it; empty
/// for none.
pub fn reason_code(ruleset: &Ruleset, id: ReasonCode) -> String {
    let declared = ruleset.decline_reasons.iter().find(|reason| reason.id == id);
    let hash = || if id.0 == 0 { String::new() } else { format!("{:08x}", id.0) };
    declared.map_or_else(hash, |reason| reason.code.to_string())
}

/// An event type's name, or its hash when the rules no longer have it.
pub fn event_name(ruleset: &Ruleset, id: EventTypeId) -> String {
    let known = ruleset.schema.events.iter().find(|def| def.id == id);
    known.map_or_else(|| format!("{:08x}", id.0), |def| def.name.to_string())
}

/// An item's id, or its hash when it was not kept.
pub fn item_name(names: &Names<'_>, id: ItemId) -> String {
    (names.item)(id).map_or_else(|| format!("{:016x}", id.0), |name| name.to_string())
}

fn write_consent(one: &Consent, names: &Names<'_>) -> proto::Consent {
    let purpose = match one.purpose {
        ConsentPurpose::Marketing => proto::ConsentPurpose::Marketing,
        ConsentPurpose::Service => proto::ConsentPurpose::Service,
        ConsentPurpose::Profiling => proto::ConsentPurpose::Profiling,
    };
    let permission = match one.permission {
        Permission::Unknown => proto::Permission::Unspecified,
        Permission::Granted => proto::Permission::Granted,
        Permission::Denied => proto::Permission::Denied,
    };
    proto::Consent {
        channel: one.channel.map_or_else(String::new, |id| channel_name(names.ruleset, id)),
        purpose: purpose as i32,
        permission: permission as i32,
        time: Some(timestamp(one.at)),
        source: one.source.to_string(),
        proof: one.proof.to_string(),
    }
}

fn interaction(one: &Interaction, (profile, names): (&Profile, &Names<'_>)) -> proto::Interaction {
    let outcomes = one.outcomes.iter().map(event::write_outcome_type);
    proto::Interaction {
        time: Some(timestamp(one.at)),
        offer: offer_name(names.ruleset, one.offer),
        channel: channel_name(names.ruleset, one.channel),
        decision_id: one.decision.to_string(),
        outcomes: outcomes.filter(|o| *o != proto::OutcomeType::Unspecified).map(|o| o as i32).collect(),
        reason_code: reason_code(names.ruleset, one.reason),
        record_key: record_key(profile, one.record),
    }
}

fn item(one: &ItemTouch, names: &Names<'_>) -> proto::ItemTouch {
    proto::ItemTouch { time: Some(timestamp(one.at)), item: item_name(names, one.item), bought: one.bought }
}

fn event_total(one: &EventStat, names: &Names<'_>) -> proto::EventTotal {
    proto::EventTotal {
        r#type: event_name(names.ruleset, one.event),
        count: one.count,
        amount: Some(money(&names.ruleset.currency, one.amount)),
        first: Some(timestamp(one.first_at)),
        last: Some(timestamp(one.last_at)),
    }
}
