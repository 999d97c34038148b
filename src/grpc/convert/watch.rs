//! What happened to a customer who is watched, and who may be behind an
//! identity.

use crate::{
    app::{LookedUp, MaskedCustomer, Watched},
    domain::{Event, EventKind},
    proto,
};

use super::{
    customer::{self, Names, channel_name, offer_name},
    decision, event,
    reading::{money, timestamp},
    timeline::{Personal, noted},
};

/// A change on the wire.
pub fn write(watched: &Watched, names: &Names<'_>, personal: Personal) -> proto::WatchCustomerResponse {
    proto::WatchCustomerResponse {
        customer: Some(customer::write(&watched.view, names)),
        happenings: watched.events.iter().filter_map(|event| happening(event, names, personal)).collect(),
        missed: watched.missed,
    }
}

/// An event on the wire; `None` for one that only counts for the lift.
fn happening(event: &Event, names: &Names<'_>, personal: Personal) -> Option<proto::Happening> {
    use proto::happening::Kind;
    let kind = match &event.kind {
        EventKind::Outcome { .. } => Kind::Answered(answered(&event.kind, names, personal)?),
        EventKind::Customer { .. } => Kind::Did(did(&event.kind, names)?),
        EventKind::Upsert { .. } => Kind::Changed(proto::Changed::Upserted as i32),
        EventKind::DoNotContact { .. } => Kind::Changed(proto::Changed::DoNotContact as i32),
        EventKind::Exposed { .. } => return None,
    };
    Some(proto::Happening { time: Some(timestamp(event.at)), kind: Some(kind) })
}

fn answered(kind: &EventKind, names: &Names<'_>, personal: Personal) -> Option<proto::Answered> {
    let EventKind::Outcome { presentation, outcome, reason, note, agent, call, link, value: _, purpose: _ } = kind
    else {
        return None;
    };
    Some(proto::Answered {
        offer: offer_name(names.ruleset, presentation.offer),
        channel: channel_name(names.ruleset, presentation.channel),
        outcome: event::write_outcome_type(*outcome) as i32,
        reason_code: customer::reason_code(names.ruleset, *reason),
        decision_id: presentation.decision.to_string(),
        agent_id: agent.to_string(),
        note: noted(note, personal),
        call_id: call.to_string(),
        link: link.to_string(),
        record_key: (names.record)(presentation.record),
    })
}

fn did(kind: &EventKind, names: &Names<'_>) -> Option<proto::Did> {
    let EventKind::Customer { event, channel, amount, items, bought: _, conversion: _, data: _ } = kind else {
        return None;
    };
    Some(proto::Did {
        r#type: customer::event_name(names.ruleset, *event),
        channel: channel.map_or_else(String::new, |id| channel_name(names.ruleset, id)),
        amount: amount.map(|amount| money(&names.ruleset.currency, amount)),
        items: items.iter().map(|line| customer::item_name(names, line.item)).collect(),
    })
}

/// Who may be behind an identity, on the wire.
pub fn write_found(found: LookedUp) -> proto::LookupResponse {
    proto::LookupResponse {
        r#match: decision::matched(found.matched) as i32,
        matches: found.matches.into_iter().map(write_masked).collect(),
        more: found.more,
    }
}

fn write_masked(masked: MaskedCustomer) -> proto::LookupMatch {
    let identity = |(kind, value): (std::sync::Arc<str>, String)| proto::Identity { r#type: kind.to_string(), value };
    proto::LookupMatch {
        match_token: masked.match_token,
        identities: masked.identities.into_iter().map(identity).collect(),
        attributes: masked.attributes.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        first_seen: Some(timestamp(masked.first_seen)),
        last_seen: Some(timestamp(masked.last_seen)),
    }
}
