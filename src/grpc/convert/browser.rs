//! What a browser may say. Everybody can read the key of a page and call with
//! it, so nothing that a page says about a person is believed, and nothing is
//! answered that a visitor must not see.

use crate::{
    domain::{AttributeDef, Intent, PlacementId, Request},
    grpc::caller::{Agent, Caller},
    proto::{self, Assurance, OutcomeType, Trace, View},
    rules::ChannelKind,
};

use super::Reading;

/// What a page hears of an outcome that is refused, whatever is wrong with its
/// token: a guess must teach nothing.
pub const TOKEN_REFUSED: &str = "this page cannot answer the presentation: send the token and the visitor id as they \
                                 were returned, or ask for a new decision";

/// In front of the request ids of browsers, so that none meets that of a service.
const REQUEST_IDS: &str = "browser ";

impl Reading<'_> {
    /// Whether a browser sent the message.
    pub fn of_browser(&self) -> bool {
        self.caller != Caller::Service
    }

    /// Whether a context attribute may come from the caller; notes that it may
    /// not.
    pub fn may_give(&mut self, at: &str, def: &AttributeDef) -> bool {
        if !self.of_browser() || def.client {
            return true;
        }
        let why = "is not `client: true` in the rules, so a browser may not give it: mark it there, or leave it out";
        self.wrong(format!("{at}.{}", def.name), why);
        false
    }
}

/// Notes what a browser may not ask, and takes it out, so that nothing more is
/// said about it.
pub fn question(r: &mut Reading<'_>, wire: &mut proto::DecideRequest) {
    if !r.of_browser() {
        return;
    }
    if !std::mem::take(&mut wire.identities).is_empty() {
        r.wrong("identities", "may not be given by a browser, where anybody could claim to be anybody: send the `visitor_id` of the last answer, or ask from a server with a secret key");
    }
    if wire.assurance > Assurance::Anonymous as i32 {
        r.wrong("assurance", "may not be given by a browser: leave it out");
    }
    if wire.view > View::Render as i32 {
        r.wrong("view", "may be `VIEW_RENDER` only from a browser: leave it out");
    }
    if wire.trace > Trace::None as i32 {
        r.wrong(
            "trace",
            "may be `TRACE_NONE` only from a browser: leave it out, and explain the decision from a server",
        );
    }
    if wire.intent > proto::Intent::Present as i32 {
        r.wrong("intent", "may be `INTENT_PRESENT` only from a browser: leave it out");
    }
    if wire.as_of.take().is_some() {
        r.wrong("as_of", "may not be given by a browser: leave it out");
    }
    if wire.attribute_overrides.take().is_some() {
        r.wrong("attribute_overrides", "may not be given by a browser: leave it out");
    }
    if wire.send_window.take().is_some() {
        r.wrong("send_window", "belongs to an open question, and a browser asks for its placements: leave it out");
    }
    asked(r, wire);
}

/// A page asks for places of its own: not the open question, whose answer
/// reaches out, and not what a person says on the phone.
fn asked(r: &mut Reading<'_>, wire: &proto::DecideRequest) {
    if wire.placements.is_empty() {
        r.wrong("placements", "is empty: name the placements of the page");
    }
    let ruleset = r.ruleset;
    for (index, ask) in wire.placements.iter().enumerate() {
        let slot = ruleset.placement_slots.get(&PlacementId::of(&ask.placement));
        let placement = slot.and_then(|slot| ruleset.placements.get(slot.index()));
        if placement.is_some_and(|placement| ruleset.channel(placement.channel).kind != ChannelKind::SelfService) {
            let why = "is not of a channel with `kind: self_service`, so a browser may not ask for it: leave it out";
            r.wrong(format!("placements[{index}].placement"), why);
        }
    }
}

/// Fits a browser's question to what it may do: a program's is a preview, of
/// which nothing counts.
pub fn narrow(caller: Caller, request: &mut Request) {
    let Caller::Browser(agent) = caller else { return };
    if agent == Agent::Bot {
        request.intent = Intent::Preview;
    }
    if !request.request_id.is_empty() {
        request.request_id = format!("{REQUEST_IDS}{}", request.request_id).into_boxed_str();
    }
}

/// Notes what a browser may not record; whether it may record such a thing at
/// all. A reason is checked here, for what is said about it later would tell
/// that the token is good.
pub fn event(r: &mut Reading<'_>, wire: &proto::Event) -> bool {
    if !r.of_browser() {
        return true;
    }
    let outcome = match &wire.kind {
        Some(proto::event::Kind::Outcome(outcome)) => outcome,
        Some(proto::event::Kind::Customer(_)) => {
            r.wrong("customer", "may not be sent by a browser: send outcomes only, and the events of customers from a server with a secret key");
            return false;
        }
        None => return true,
    };
    let permitted = match outcome.r#type() {
        OutcomeType::Unspecified
        | OutcomeType::Impression
        | OutcomeType::Click
        | OutcomeType::Accept
        | OutcomeType::Decline
        | OutcomeType::Dismiss
        | OutcomeType::Conversion => true,
        OutcomeType::Unsubscribe | OutcomeType::Handoff | OutcomeType::Cancelled => false,
    };
    if !permitted {
        r.wrong("outcome.type", "may be impression, click, accept, decline, dismiss or conversion only from a browser");
    }
    if !outcome.note.is_empty() {
        r.wrong("outcome.note", "may not be given by a browser: leave it out");
    }
    let ruleset = r.ruleset;
    let declared = || ruleset.decline_reasons.iter().any(|reason| *reason.code == *outcome.reason_code);
    if outcome.r#type() == OutcomeType::Decline && !declared() {
        let codes: Vec<&str> = ruleset.decline_reasons.iter().map(|reason| &*reason.code).collect();
        r.wrong("outcome.reason_code", format!("is not a declared reason: give one of `{}`", codes.join("`, `")));
    }
    true
}

/// What a browser hears of an event: every refusal in the same words.
pub fn told(caller: Caller, mut result: proto::RecordResult) -> proto::RecordResult {
    if caller != Caller::Service && result.status == proto::RecordStatus::Refused as i32 {
        result.error = TOKEN_REFUSED.to_owned();
    }
    result
}

/// What a browser hears of an outcome that is not recorded at all.
pub fn refused() -> proto::RecordResult {
    let (status, error) = (proto::RecordStatus::Refused as i32, TOKEN_REFUSED.to_owned());
    proto::RecordResult { status, error, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use crate::{
        app::AppError,
        domain::Identity,
        grpc::{
            convert::{request, tests::ruleset},
            structs::Struct,
        },
        rules::Ruleset,
    };

    use super::*;

    fn identity(_: &str, _: &str) -> Result<Identity, String> {
        Err("no identity is read".to_owned())
    }

    fn read(rules: &Ruleset, agent: Agent, wire: proto::DecideRequest) -> Result<Request, Vec<String>> {
        let reading = Reading::new(rules, &identity).of(Caller::Browser(agent));
        request::read(reading, wire).map_err(|error| match error {
            AppError::Invalid(violations) => violations.into_iter().map(|v| v.field).collect(),
            other => panic!("{other}"),
        })
    }

    fn question(context: &[&str]) -> proto::DecideRequest {
        let placements = vec![proto::PlacementRequest { placement: "home_hero".to_owned(), count: 0 }];
        let fields = context.iter().map(|name| ((*name).to_owned(), "home".into())).collect();
        let context = Some(Struct { fields });
        proto::DecideRequest { placements, context, request_id: "r1".to_owned(), ..Default::default() }
    }

    #[test]
    fn only_what_is_marked_may_come_from_a_page() {
        let mut rules = ruleset();
        assert_eq!(read(&rules, Agent::Person, question(&["page"])).err(), Some(vec!["context.page".to_owned()]));
        for def in rules.schema.attributes.iter_mut().filter(|def| &*def.name == "page") {
            def.client = true;
        }
        assert_eq!(read(&rules, Agent::Person, question(&["page"])).unwrap().context.len(), 1);
        let both = read(&rules, Agent::Person, question(&["page", "score"]));
        assert_eq!(both.err(), Some(vec!["context.score".to_owned()]));
    }

    #[test]
    fn a_program_is_answered_with_a_preview() {
        let rules = ruleset();
        let person = read(&rules, Agent::Person, question(&[])).unwrap();
        let program = read(&rules, Agent::Bot, question(&[])).unwrap();
        assert_eq!((person.intent, program.intent), (Intent::Present, Intent::Preview));
        assert_eq!(&*person.request_id, "browser r1", "no page takes the request id of a service");
    }

    #[test]
    fn what_is_refused_is_not_read() {
        let rules = ruleset();
        let identities = vec![proto::Identity { r#type: "emial".to_owned(), value: "a@b".to_owned() }];
        let overrides = Some(Struct { fields: [("nothing".to_owned(), "x".into())].into() });
        let wire = proto::DecideRequest { identities, attribute_overrides: overrides, ..question(&[]) };
        assert_eq!(
            read(&rules, Agent::Person, wire).err(),
            Some(vec!["identities".into(), "attribute_overrides".into()])
        );
    }
}
