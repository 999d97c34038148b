//! Events and outcomes.

use xxhash_rust::xxh3::Xxh3;

use crate::{
    app::{AppError, Bearer, EventInput, Meant, OutcomeInput, Recorded, RecordedStatus, RespondInput},
    domain::{AttrId, EventId, EventKind, ItemId, ItemLine, OutcomeType, Timestamp, Value},
    proto,
    store::Strength,
};

use super::{
    Reading, browser, data, page, presentation,
    reading::{NOTE_BYTES_MAX, REQUEST_ID_BYTES_MAX, TOKEN_BYTES_MAX},
    request,
};

/// What is said where the person did not permit that behaviour is remembered.
const NOT_PERMITTED: &str = "a page's event is behaviour, which is recorded with consent to profiling only: ask the person, and send `page_consent.profiling` as `PERMISSION_GRANTED`";

/// Most events of one call.
pub const EVENTS_MAX: usize = 100;
/// Most bytes of an event id.
pub const EVENT_ID_BYTES_MAX: usize = 128;
/// Most bytes of a source.
pub const SOURCE_BYTES_MAX: usize = 64;
/// Most items of an event.
pub const ITEMS_MAX: usize = 200;
/// Most bytes of an item's id.
pub const ITEM_BYTES_MAX: usize = 64;
/// Most bytes of a caller's own id (agent, call).
pub const CALLER_ID_BYTES_MAX: usize = 128;
/// Most bytes of a decline's reason code.
pub const REASON_CODE_BYTES_MAX: usize = 64;

/// The most that one event may be worth, minor units: sums of them stay far from
/// what a number holds.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

/// The earliest time of an event, 2000-01-01: what is older is a mistaken unit.
pub const TIME_MIN: Timestamp = Timestamp(946_684_800_000_000);

/// The id of an event at rest: XXH3-128 of the length of its source, its source
/// and its id.
pub fn event_id(source: &str, id: &str) -> EventId {
    let mut hasher = Xxh3::new();
    hasher.update(&(source.len() as u64).to_le_bytes());
    hasher.update(source.as_bytes());
    hasher.update(id.as_bytes());
    EventId(hasher.digest128())
}

/// The source of an event that names none.
pub fn or_default(source: &str) -> &str {
    if source.is_empty() { "default" } else { source }
}

/// Checks one event.
///
/// # Errors
/// Every violation at once.
pub fn read(mut reading: Reading<'_>, wire: proto::Event) -> Result<EventInput, AppError> {
    let r = &mut reading;
    browser::event(r, &wire);
    let at = time(r, wire.time);
    let id = r.text("event_id", wire.event_id, EVENT_ID_BYTES_MAX);
    let source = r.text("source", wire.source, SOURCE_BYTES_MAX);
    let input = match wire.kind {
        Some(proto::event::Kind::Outcome(outcome)) => {
            let (outcome, meant) = presentation::read(r, outcome, (&source, &id));
            let outcome = read_outcome(r, "outcome.", outcome, meant);
            outcome.map(|input| EventInput::Outcome(OutcomeInput { at, ..input }))
        }
        Some(proto::event::Kind::Customer(mut customer)) => {
            if id.is_empty() {
                r.wrong("event_id", "is empty: give the source's own id of the event, unique within `source`");
            }
            let page = page::narrow(r, &mut customer);
            let id = page::id_of(r, or_default(&source), &id);
            read_customer(r, customer).map(|c| EventInput::Customer {
                id,
                identities: c.identities,
                at,
                kind: c.kind,
                fields: c.fields,
                strength: c.strength,
                item_names: c.item_names,
                notes: c.notes,
                page,
            })
        }
        None => {
            r.wrong("kind", "is missing: give `outcome` or `customer`");
            None
        }
    };
    match input {
        Some(input) => reading.done(input),
        None => Err(AppError::Invalid(reading.take())),
    }
}

/// When it happened.
pub(super) fn time(r: &mut Reading<'_>, wire: Option<crate::grpc::timestamp::Timestamp>) -> Option<Timestamp> {
    let at = r.moment("time", wire)?;
    if at < TIME_MIN {
        r.wrong("time", "is before 2000-01-01: give the time when it happened, in seconds since 1970");
    }
    Some(at)
}

/// An amount that must not be negative, nor more than [`AMOUNT_MAX`].
fn amount(r: &mut Reading<'_>, field: &str, wire: Option<proto::Money>, instead: &str) -> Option<i64> {
    let amount = r.money(field, wire)?;
    if amount < 0 {
        r.wrong(field, format!("is negative: {instead}"));
    }
    if amount > AMOUNT_MAX {
        r.wrong(field, format!("is more than {AMOUNT_MAX} of the currency's smallest units: check the unit"));
    }
    Some(amount)
}

struct CustomerEvent {
    identities: Vec<crate::domain::Identity>,
    kind: EventKind,
    /// Declared fields, sorted by id.
    fields: Vec<(AttrId, Value)>,
    strength: Strength,
    item_names: Vec<Box<str>>,
    notes: Vec<String>,
}

fn read_customer(r: &mut Reading<'_>, wire: proto::CustomerEvent) -> Option<CustomerEvent> {
    let identities = if r.of_browser() {
        r.visit.visitor.iter().cloned().collect()
    } else {
        r.identities_to_write("customer.", wire.identities)
    };
    let instead = "give a positive amount; what was returned is an event of its own type";
    let amount = amount(r, "customer.amount", wire.amount, instead);
    let (items, item_names) = items(r, wire.items);
    let given = wire.data.unwrap_or_default();
    let data = data::data(r, &given);
    let ruleset = r.ruleset;
    let channel = ruleset.channel_by_name(&wire.channel).filter(|channel| r.hears_of(channel)).map(|c| c.id);
    if channel.is_none() && !wire.channel.is_empty() {
        r.unknown_channel("customer.channel", &wire.channel);
    }
    let event = page::event_type(r, &wire.r#type)?;
    let fields = data::declared(r, event, &given);
    let notes = data::notes(event, &given);
    let (bought, conversion) = (event.bought, event.conversion);
    let kind = EventKind::Customer { event: event.id, channel, amount, items, bought, conversion, data };
    let strength = if event.durable { Strength::Disk } else { Strength::Process };
    Some(CustomerEvent { identities, kind, fields, strength, item_names, notes })
}

fn items(r: &mut Reading<'_>, wire: Vec<proto::EventItem>) -> (Vec<ItemLine>, Vec<Box<str>>) {
    if !r.fits("customer.items", wire.len(), r.bound(ITEMS_MAX, page::ITEMS_MAX)) {
        return (Vec::new(), Vec::new());
    }
    let mut lines = Vec::with_capacity(wire.len());
    let mut names = Vec::with_capacity(wire.len());
    for (index, line) in wire.into_iter().enumerate() {
        if line.item.is_empty() || line.item.len() > ITEM_BYTES_MAX {
            let why = format!("is {} bytes long: give 1 to {ITEM_BYTES_MAX}", line.item.len());
            r.wrong(format!("customer.items[{index}].item"), why);
        }
        let unit_price = match line.unit_price {
            Some(price) => unit_price_of(r, &format!("customer.items[{index}].unit_price"), price),
            None => None,
        };
        let quantity = if line.quantity == 0 { 1 } else { line.quantity };
        lines.push(ItemLine { item: ItemId::of(&line.item), quantity, unit_price: unit_price.unwrap_or_default() });
        names.push(line.item.into_boxed_str());
    }
    (lines, names)
}

/// What one piece costs; less than nothing for what is taken back.
fn unit_price_of(r: &mut Reading<'_>, field: &str, price: proto::Money) -> Option<i64> {
    let price = r.money(field, Some(price))?;
    if price.unsigned_abs() > AMOUNT_MAX.unsigned_abs() {
        r.wrong(field, format!("is more than {AMOUNT_MAX} of the currency's smallest units: check the unit"));
    }
    Some(price)
}

fn outcome_type(r: &mut Reading<'_>, field: &str, number: i32) -> Option<OutcomeType> {
    Some(match r.number(field, number)? {
        proto::OutcomeType::Unspecified => {
            r.wrong(field, "is missing: say what followed, for example `OUTCOME_TYPE_CLICK`");
            return None;
        }
        proto::OutcomeType::Impression => OutcomeType::Impression,
        proto::OutcomeType::Click => OutcomeType::Click,
        proto::OutcomeType::Accept => OutcomeType::Accept,
        proto::OutcomeType::Decline => OutcomeType::Decline,
        proto::OutcomeType::Conversion => OutcomeType::Conversion,
        proto::OutcomeType::Dismiss => OutcomeType::Dismiss,
        proto::OutcomeType::Unsubscribe => OutcomeType::Unsubscribe,
        proto::OutcomeType::Handoff => OutcomeType::Handoff,
        proto::OutcomeType::Cancelled => OutcomeType::Cancelled,
        proto::OutcomeType::NoResponse => {
            r.wrong(field, "`OUTCOME_TYPE_NO_RESPONSE` is said by the service alone: record what followed");
            return None;
        }
    })
}

/// An outcome on the wire.
pub fn write_outcome_type(outcome: OutcomeType) -> proto::OutcomeType {
    match outcome {
        OutcomeType::Decided => proto::OutcomeType::Unspecified,
        OutcomeType::Impression => proto::OutcomeType::Impression,
        OutcomeType::Click => proto::OutcomeType::Click,
        OutcomeType::Accept => proto::OutcomeType::Accept,
        OutcomeType::Decline => proto::OutcomeType::Decline,
        OutcomeType::Conversion => proto::OutcomeType::Conversion,
        OutcomeType::Dismiss => proto::OutcomeType::Dismiss,
        OutcomeType::Unsubscribe => proto::OutcomeType::Unsubscribe,
        OutcomeType::Handoff => proto::OutcomeType::Handoff,
        OutcomeType::Cancelled => proto::OutcomeType::Cancelled,
        OutcomeType::NoResponse => proto::OutcomeType::NoResponse,
    }
}

fn read_outcome(
    r: &mut Reading<'_>,
    at: &str,
    wire: proto::Outcome,
    meant: Option<Box<Meant>>,
) -> Option<OutcomeInput> {
    let token_field = format!("{at}presentation_token");
    if wire.presentation_token.is_empty() && meant.is_none() {
        r.wrong(token_field.as_str(), "is empty: give the token of the presentation");
    }
    let token = r.text(&token_field, wire.presentation_token, TOKEN_BYTES_MAX);
    let reason_code = r.text(&format!("{at}reason_code"), wire.reason_code, REASON_CODE_BYTES_MAX);
    let value = amount(r, &format!("{at}value"), wire.value, "a conversion is worth 0 or more");
    let note = r.text(&format!("{at}note"), wire.note, NOTE_BYTES_MAX);
    let type_field = if at.is_empty() { "outcome".to_owned() } else { format!("{at}type") };
    let outcome = outcome_type(r, &type_field, wire.r#type)?;
    if !reason_code.is_empty() && outcome != OutcomeType::Decline {
        r.wrong(format!("{at}reason_code"), "belongs to a decline only");
    }
    if value.is_some() && outcome != OutcomeType::Conversion {
        r.wrong(format!("{at}value"), "belongs to a conversion only");
    }
    Some(OutcomeInput {
        token: token.into_string(),
        meant,
        bearer: Bearer::Service,
        outcome,
        reason_code: reason_code.into_string(),
        value,
        note,
        agent: Box::default(),
        call: Box::default(),
        link: Box::default(),
        at: None,
    })
}

/// Checks an answer to a presentation.
///
/// # Errors
/// Every violation at once.
pub fn read_respond(mut reading: Reading<'_>, wire: proto::RespondRequest) -> Result<RespondInput, AppError> {
    let r = &mut reading;
    let agent = r.text("agent_id", wire.agent_id, CALLER_ID_BYTES_MAX);
    let call = r.text("call_id", wire.call_id, CALLER_ID_BYTES_MAX);
    let request_id = r.text("request_id", wire.request_id, REQUEST_ID_BYTES_MAX).into_string();
    let (view, trace) = (request::view(r, wire.view), request::trace(r, wire.trace));
    let outcome = proto::Outcome {
        presentation_token: wire.presentation_token,
        r#type: wire.outcome,
        reason_code: wire.reason_code,
        value: wire.value,
        note: wire.note,
        ..Default::default()
    };
    match read_outcome(r, "", outcome, None) {
        Some(outcome) => {
            let outcome = OutcomeInput { agent, call, ..outcome };
            reading.done(RespondInput { outcome, request_id, view, trace })
        }
        None => Err(AppError::Invalid(reading.take())),
    }
}

/// An acknowledgement on the wire.
pub fn ack(strength: Strength) -> proto::AckStrength {
    match strength {
        Strength::Process => proto::AckStrength::Process,
        Strength::Disk => proto::AckStrength::Disk,
    }
}

/// What became of one event, on the wire.
pub fn write_recorded(recorded: Recorded) -> proto::RecordResult {
    let (status, error) = match recorded.status {
        RecordedStatus::Recorded => (proto::RecordStatus::Recorded, String::new()),
        RecordedStatus::Duplicate => (proto::RecordStatus::Duplicate, String::new()),
        RecordedStatus::Refused(why) => (proto::RecordStatus::Refused, why),
        RecordedStatus::NotPermitted => (proto::RecordStatus::Refused, NOT_PERMITTED.to_owned()),
        RecordedStatus::Exhausted => {
            (proto::RecordStatus::Exhausted, "the event log is full: send it again later".to_owned())
        }
        RecordedStatus::Conflict => {
            (proto::RecordStatus::Conflict, "the event id was recorded with other content: use a new one, or for an outcome the reason and value sent first; a presentation has each outcome once".to_owned())
        }
    };
    proto::RecordResult {
        status: status as i32,
        error,
        ack: recorded.strength.map_or(0, |strength| ack(strength) as i32),
        consistency_token: recorded.consistency_token,
        warnings: recorded.warnings,
    }
}

/// Most bytes of the violations that are told of one event.
pub const ERROR_BYTES_MAX: usize = 4_000;

/// An event that was refused before it was recorded: every violation, as far as
/// they fit.
pub fn write_refused(error: AppError) -> proto::RecordResult {
    let AppError::Invalid(violations) = error else { return refused(error.to_string()) };
    let (total, mut why) = (violations.len(), String::new());
    for (told, violation) in violations.into_iter().enumerate() {
        let one = format!("`{}` {}", violation.field, violation.description);
        if told > 0 && why.len() + one.len() > ERROR_BYTES_MAX {
            why.push_str(&format!("; and {} more", total - told));
            break;
        }
        if told > 0 {
            why.push_str("; ");
        }
        why.push_str(&one);
    }
    refused(why)
}

/// An event that was refused, with the reason.
pub fn refused(why: String) -> proto::RecordResult {
    proto::RecordResult { status: proto::RecordStatus::Refused as i32, error: why, ..Default::default() }
}

/// The app answers every event; one without an answer must not look recorded.
pub fn write_lost() -> proto::RecordResult {
    let error = "recording the event failed: send it again".to_owned();
    proto::RecordResult { status: proto::RecordStatus::Refused as i32, error, ..Default::default() }
}
