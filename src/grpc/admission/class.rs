//! Which class a call is of, told as early as it can be.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::{
    domain::PlacementId,
    proto,
    rules::{ChannelKind, Ruleset},
    telemetry::CallClass,
};

use super::super::Caller;

/// Fields of `DecideRequest` and `PlacementRequest` by number.
const PLACEMENTS: u32 = 4;
const PLACEMENT: u32 = 1;
const TIME_BUDGET_MS: u32 = 11;
const VIEW: u32 = 14;

/// Calls that an agent's desk makes while somebody waits on the line.
const OF_DESKS: [&str; 10] = [
    "/rapport.v1.DecisionService/Respond",
    "/rapport.v1.CustomerService/GetCustomer",
    "/rapport.v1.CustomerService/Lookup",
    "/rapport.v1.CustomerService/ListTimeline",
    "/rapport.v1.CustomerService/WatchCustomer",
    "/v1/respond",
    "/v1/customers:get",
    "/v1/customers:lookup",
    "/v1/customers:timeline",
    "/v1/customers:watch",
];
/// Calls, or services, that nobody at a page or on the line waits for.
const OF_PROGRAMS: [&str; 18] = [
    "/rapport.v1.DecisionService/Explain",
    "/rapport.v1.DecisionService/ExportDecisions",
    "/rapport.v1.EventService/RecordStream",
    "/rapport.v1.EventService/Subscribe",
    "/rapport.v1.CustomerService/ExportCustomer",
    "/rapport.v1.AnalysisService/",
    "/rapport.v1.RulesetService/",
    "/grpc.reflection.",
    "/v1/explain",
    "/v1/events:stream",
    "/v1/events:subscribe",
    "/v1/customers:export",
    "/v1/analysis",
    "/v1/ruleset",
    "/v1/offers",
    "/v1/report",
    "/v1/revisions",
    "/v1/audit",
];

/// The class of a call that asks for no decision.
pub fn of_path(path: &str, caller: Caller) -> CallClass {
    if caller != Caller::Service {
        CallClass::Web
    } else if OF_DESKS.contains(&path) {
        CallClass::CallCentre
    } else if OF_PROGRAMS.iter().any(|program| path.starts_with(program)) {
        CallClass::Batch
    } else {
        CallClass::Web
    }
}

/// What of a question tells how urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Urgency {
    /// Its class.
    pub class: CallClass,
    /// Milliseconds its caller waits; 0 when it does not say.
    pub time_budget_ms: u32,
}

/// Gathers the class of a question from its parts.
struct Parts<'a> {
    rules: &'a Ruleset,
    class: Option<CallClass>,
}

impl Parts<'_> {
    /// The most urgent place that asks decides; one that is not declared counts
    /// as a page.
    fn place(&mut self, name: &str) {
        let slot = self.rules.placement_slots.get(&PlacementId::of(name));
        let placement = slot.and_then(|slot| self.rules.placements.get(slot.index()));
        let class = match placement.map(|placement| self.rules.channel(placement.channel).kind) {
            Some(ChannelKind::Assisted) => CallClass::CallCentre,
            Some(ChannelKind::SelfService) | None => CallClass::Web,
            Some(ChannelKind::Outbound) => CallClass::Batch,
        };
        self.class = Some(self.class.map_or(class, |before| before.min(class)));
    }

    /// What asks from no place is a message that goes out, unless it is for an
    /// agent.
    fn class(&self, caller: Caller, view: i32) -> CallClass {
        if caller != Caller::Service {
            CallClass::Web
        } else if view == proto::View::Agent as i32 {
            CallClass::CallCentre
        } else {
            self.class.unwrap_or(CallClass::Batch)
        }
    }
}

/// The urgency of a question that was decoded.
pub fn of_question(rules: &Ruleset, caller: Caller, question: &proto::DecideRequest) -> Urgency {
    let mut parts = Parts { rules, class: None };
    question.placements.iter().for_each(|place| parts.place(&place.placement));
    Urgency { class: parts.class(caller, question.view), time_budget_ms: question.time_budget_ms }
}

/// The same of one that was not: only the fields that tell it are read. What
/// cannot be read counts as far as it can.
pub fn of_message(rules: &Ruleset, caller: Caller, mut message: &[u8]) -> Urgency {
    let mut parts = Parts { rules, class: None };
    let (mut time_budget_ms, mut view) = (0, 0);
    while let Some((field, value)) = next(&mut message) {
        match (field, value) {
            (PLACEMENTS, Field::Bytes(mut place)) => {
                while let Some((field, value)) = next(&mut place) {
                    if let (PLACEMENT, Field::Bytes(name)) = (field, value) {
                        parts.place(std::str::from_utf8(name).unwrap_or_default());
                    }
                }
            }
            (TIME_BUDGET_MS, Field::Number(number)) => time_budget_ms = number as u32,
            (VIEW, Field::Number(number)) => view = number as i32,
            _ => {}
        }
    }
    Urgency { class: parts.class(caller, view), time_budget_ms }
}

/// A field of a message as it lies on the wire.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The next field; none at the end, and none from where it cannot be read.
fn next<'a>(message: &mut &'a [u8]) -> Option<(u32, Field<'a>)> {
    if message.is_empty() {
        return None;
    }
    let (field, wire) = decode_key(message).ok()?;
    let mut skip = |bytes: usize| {
        let (taken, rest) = message.split_at_checked(bytes)?;
        *message = rest;
        Some(taken)
    };
    let value = match wire {
        WireType::SixtyFourBit => skip(8).map(|_| Field::Other)?,
        WireType::ThirtyTwoBit => skip(4).map(|_| Field::Other)?,
        WireType::Varint => Field::Number(decode_varint(message).ok()?),
        WireType::LengthDelimited => {
            let len = usize::try_from(decode_varint(message).ok()?).ok()?;
            let (taken, rest) = message.split_at_checked(len)?;
            *message = rest;
            Field::Bytes(taken)
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    Some((field, value))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{grpc::Agent, rules};

    const RULES: &str = concat!(
        "settings: { currency: GBP }\n",
        "channels:\n",
        "  - { id: web, kind: self_service, require: [text], counts_on: impression }\n",
        "  - { id: desk, kind: assisted, require: [talk_track], counts_on: impression }\n",
        "  - { id: email, kind: outbound, require: [subject, text], counts_on: handoff, address: mail }\n",
        "attributes: [ { id: mail, type: string, pii: true } ]\n",
        "placements: [ { id: hero, channel: web }, { id: agent, channel: desk }, { id: mail, channel: email } ]\n",
        "issues: [ { id: serve } ]\n",
        "groups: [ { id: all } ]\n",
    );

    #[test]
    fn the_channel_of_the_place_tells_the_class_before_and_after_decoding() {
        let files = [rules::SourceFile { path: "rules.yaml".into(), text: RULES.into() }];
        let ruleset = rules::compile(&files).unwrap();
        let check = |places: &[&str], view: proto::View, caller, wanted: CallClass| {
            let question = proto::DecideRequest {
                placements: places
                    .iter()
                    .map(|place| proto::PlacementRequest { placement: (*place).to_owned(), count: 1 })
                    .collect(),
                view: view as i32,
                time_budget_ms: 70,
                session_id: "a session".to_owned(),
                languages: vec!["en".to_owned()],
                ..proto::DecideRequest::default()
            };
            let wanted = Urgency { class: wanted, time_budget_ms: 70 };
            assert_eq!(of_question(&ruleset, caller, &question), wanted, "{places:?}");
            assert_eq!(of_message(&ruleset, caller, &question.encode_to_vec()), wanted, "{places:?}");
        };
        use proto::View::{Agent as ForAgents, Render};
        let service = Caller::Service;
        check(&["hero"], Render, service, CallClass::Web);
        check(&["unheard_of"], Render, service, CallClass::Web);
        check(&["mail"], Render, service, CallClass::Batch);
        check(&["mail", "hero"], Render, service, CallClass::Web);
        check(&["hero", "agent", "mail"], Render, service, CallClass::CallCentre);
        check(&[], Render, service, CallClass::Batch);
        check(&[], ForAgents, service, CallClass::CallCentre);
        // a page may say what it likes
        check(&["agent"], ForAgents, Caller::Browser(Agent::Person), CallClass::Web);
        // what is no message says nothing
        for bytes in [&[0xff_u8; 3][..], &[0x22, 0x7f, 1], &[0x0b], &[]] {
            assert_eq!(of_message(&ruleset, service, bytes), Urgency { class: CallClass::Batch, time_budget_ms: 0 });
        }
    }

    #[test]
    fn paths_tell_the_class_of_what_asks_for_no_decision() {
        for (path, wanted) in [
            ("/rapport.v1.CustomerService/GetCustomer", CallClass::CallCentre),
            ("/v1/customers:get", CallClass::CallCentre),
            ("/rapport.v1.EventService/Record", CallClass::Web),
            ("/v1/events", CallClass::Web),
            ("/rapport.v1.RulesetService/PublishRevision", CallClass::Batch),
            ("/v1/revisions:publish", CallClass::Batch),
        ] {
            assert_eq!(of_path(path, Caller::Service), wanted, "{path}");
            assert_eq!(of_path(path, Caller::Browser(Agent::Person)), CallClass::Web, "{path}");
        }
    }
}
