//! What somebody wants to be told, and what is told.

use crate::{
    app::{AppError, SubscribeInput, Told, Types},
    domain::{CustomerKey, DecisionId, EventTypeId, OutcomeType, Timestamp},
    proto::{self, TimelineKind},
    store::{ChangeKind, ChangeKinds, Content, Followed, Since, WinnerRecord},
};

use super::{
    Reading,
    customer::{Names, channel_name, offer_name},
    reading::{NAME_BYTES_MAX, timestamp},
    suggest::did_you_mean,
    timeline::{self, Personal},
};

/// Most kinds and most types of one subscription.
pub const FILTERS_MAX: usize = 100;
/// The type of the entry of a decision.
pub const DECISION: &str = "decision";

/// Checks a subscription.
///
/// # Errors
/// Every violation at once.
pub fn read(mut reading: Reading<'_>, wire: proto::SubscribeRequest) -> Result<SubscribeInput, AppError> {
    let r = &mut reading;
    let since = match wire.cursor.as_str() {
        "" => Since::Now,
        "0" => Since::Oldest,
        text => match text.parse() {
            Ok(sequence) if text.bytes().all(|byte| byte.is_ascii_digit()) => Since::After(sequence),
            _ => {
                r.wrong("cursor", "is not a cursor: give that of a message, `0` for the oldest, or nothing for now");
                Since::Now
            }
        },
    };
    let types = types(r, wire.types);
    let input =
        SubscribeInput { since, kinds: kinds(r, &wire.kinds, types.is_some()), types, until_now: wire.until_now };
    reading.done(input)
}

/// Without any: those that have types, when types are asked for, else all.
fn kinds(r: &mut Reading<'_>, wire: &[i32], typed: bool) -> ChangeKinds {
    if !r.fits("kinds", wire.len(), FILTERS_MAX) || wire.is_empty() {
        let wanted = |kind: &ChangeKind| !typed || matches!(kind, ChangeKind::Event | ChangeKind::Outcome);
        return ChangeKind::ALL.into_iter().filter(wanted).collect();
    }
    let kind = |(index, number): (usize, &i32)| {
        let field = format!("kinds[{index}]");
        let read = read_kind(r.number(&field, *number)?);
        if read.is_none() {
            r.wrong(field, "is missing: say what is to be told");
        }
        read
    };
    wire.iter().enumerate().filter_map(kind).collect()
}

fn read_kind(wire: proto::ChangeKind) -> Option<ChangeKind> {
    ChangeKind::ALL.into_iter().find(|kind| write_kind(*kind) == wire)
}

fn write_kind(kind: ChangeKind) -> proto::ChangeKind {
    match kind {
        ChangeKind::Event => proto::ChangeKind::Event,
        ChangeKind::Decision => proto::ChangeKind::Decision,
        ChangeKind::Outcome => proto::ChangeKind::Outcome,
        ChangeKind::Customer => proto::ChangeKind::Customer,
        ChangeKind::Merge => proto::ChangeKind::Merge,
        ChangeKind::Unmerge => proto::ChangeKind::Unmerge,
        ChangeKind::Erasure => proto::ChangeKind::Erasure,
        ChangeKind::Segments => proto::ChangeKind::Segments,
    }
}

fn types(r: &mut Reading<'_>, wire: Vec<String>) -> Option<Types> {
    if wire.is_empty() || !r.fits("types", wire.len(), FILTERS_MAX) {
        return None;
    }
    let mut types = Types::default();
    for (index, name) in wire.into_iter().enumerate() {
        let field = format!("types[{index}]");
        let name = r.text(&field, name, NAME_BYTES_MAX);
        let outcome = OutcomeType::from_name(&name);
        if let Some(outcome) = outcome {
            types.outcomes = types.outcomes.with(outcome);
        }
        let declared = r.ruleset.schema.events.iter().find(|def| *def.name == *name).map(|def| def.id);
        match declared.or_else(|| of_hash(&name)) {
            Some(event) => types.events.push(event),
            None if outcome.is_some() => {}
            None => {
                let events = r.ruleset.schema.events.iter().map(|def| &*def.name);
                let names = events.chain(OutcomeType::ALL.iter().map(|outcome| outcome.name()));
                let hint = did_you_mean(&name, names);
                r.wrong(field, format!("is neither a type of event of the rules nor an outcome{hint}"));
            }
        }
    }
    Some(types)
}

/// A type that the rules no longer have goes by its hash.
fn of_hash(name: &str) -> Option<EventTypeId> {
    let digits = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(name, 16).ok().map(EventTypeId))?
}

/// Names that what is told needs.
pub struct Outside<'a> {
    /// Those of the rules and of items.
    pub names: Names<'a>,
    /// Of a customer, for other systems.
    pub customer: &'a dyn Fn(CustomerKey) -> String,
}

/// A message.
pub fn write(told: Told, outside: &Outside<'_>) -> proto::SubscribeResponse {
    match told {
        Told::Change(followed) => change(followed, outside),
        Told::Cursor { sequence, time } => proto::SubscribeResponse {
            cursor: sequence.to_string(),
            time: time.map(timestamp),
            ..proto::SubscribeResponse::default()
        },
    }
}

fn change(followed: Followed, outside: &Outside<'_>) -> proto::SubscribeResponse {
    let Followed { sequence, time, customer, kind, content, record_keys: _ } = followed;
    let mut message = proto::SubscribeResponse {
        cursor: sequence.to_string(),
        time: Some(timestamp(time)),
        kind: write_kind(kind) as i32,
        customer: customer.map_or_else(String::new, outside.customer),
        erased: content.is_none(),
        ..proto::SubscribeResponse::default()
    };
    match content {
        Some(Content::Event(event)) => {
            message.entry = timeline::entry(&event, &outside.names, Personal::Shown);
            message.identities =
                event.identities.iter().map(|one| super::customer::identity(one, &outside.names)).collect();
        }
        Some(Content::Decision(id, winners)) => {
            message.entry = Some(decision(id, time));
            message.decided = winners.iter().map(|winner| decided(winner, &outside.names)).collect();
        }
        Some(Content::Others(others)) => {
            message.other_customers = others.into_iter().map(outside.customer).collect();
        }
        Some(Content::Segments(changed)) => {
            message.segments_entered = changed.entered.into_iter().map(String::from).collect();
            message.segments_left = changed.left.into_iter().map(String::from).collect();
        }
        None => {}
    }
    message
}

fn decision(id: DecisionId, time: Timestamp) -> proto::TimelineEntry {
    proto::TimelineEntry {
        time: Some(timestamp(time)),
        received: Some(timestamp(time)),
        kind: TimelineKind::Decision as i32,
        r#type: DECISION.to_owned(),
        decision_id: id.to_string(),
        ..proto::TimelineEntry::default()
    }
}

fn decided(winner: &WinnerRecord, names: &Names<'_>) -> proto::DecidedOffer {
    proto::DecidedOffer {
        offer: offer_name(names.ruleset, winner.offer),
        channel: channel_name(names.ruleset, winner.channel),
        probability: f64::from(winner.probability),
        record_key: (names.record)(winner.record),
    }
}
