//! What a browser may say. Everybody can read the key of a page and call with
//! it, so nothing that a page says about a person is believed, and nothing is
//! answered that a visitor must not see.

use crate::{
    app::{EventInput, Recorded, RecordedStatus},
    domain::{AttributeDef, Intent, PlacementId, Request},
    grpc::caller::{Agent, Caller},
    proto::{self, Assurance, OutcomeType, Trace, View},
    rules::{Channel, ChannelKind},
};

use super::{Reading, event, value};

/// What a page hears of an outcome that is refused, whatever is wrong with its
/// token: a guess must teach nothing.
pub const TOKEN_REFUSED: &str = "this page cannot answer the presentation: send the token and the visitor id as they \
                                 were returned, or ask for a new decision";

/// What a page hears of an event that is refused although it is well said.
pub const EVENT_REFUSED: &str = "nothing is recorded of this visitor from this page: go on without";

/// The most that a page may say a conversion is worth, in major units of the
/// rules' currency. Everybody can send it; larger orders come from a server.
pub const CONVERSION_MAX: i64 = 10_000;
/// The longest a page may wait for a profile, milliseconds; more counts as this.
pub const TIME_BUDGET_MAX_MS: u32 = 1_000;
/// Most offers, and most items, that a page may exclude.
pub const EXCLUDED_MAX: usize = 32;
/// Most bytes of a placement that a page names.
pub const PLACEMENT_BYTES_MAX: usize = 64;
/// Most bytes of a page's session id.
pub const SESSION_BYTES_MAX: usize = 64;
/// The id of a placement that pages do not have.
const NO_PLACEMENT: PlacementId = PlacementId(0);

impl Reading<'_> {
    /// Whether a browser sent the message.
    pub fn of_browser(&self) -> bool {
        self.caller != Caller::Service
    }

    /// The smaller bound for a browser, the other for a service.
    pub fn bound<T>(&self, service: T, browser: T) -> T {
        if self.of_browser() { browser } else { service }
    }

    /// Whether the caller may hear of a channel: a page hears of those that
    /// pages are shown on.
    pub fn hears_of(&self, channel: &Channel) -> bool {
        !self.of_browser() || channel.kind == ChannelKind::SelfService
    }

    /// A placement's id; for a page those of other channels are as unknown as
    /// those that nobody declared.
    pub fn placement_id(&self, name: &str) -> PlacementId {
        let id = PlacementId::of(name);
        let slot = self.ruleset.placement_slots.get(&id);
        let placement = slot.and_then(|slot| self.ruleset.placements.get(slot.index()));
        match placement {
            Some(placement) if !self.hears_of(self.ruleset.channel(placement.channel)) => NO_PLACEMENT,
            _ => id,
        }
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
    if !std::mem::take(&mut wire.request_id).is_empty() {
        let why = "may not be given by a browser, which could fill the memory of answers: leave it out";
        r.wrong("request_id", why);
    }
    wire.time_budget_ms = wire.time_budget_ms.min(TIME_BUDGET_MAX_MS);
    // a page asks for places of its own: not the open question, whose answer reaches out
    if wire.placements.is_empty() {
        r.wrong("placements", "is empty: name the placements of the page");
    }
}

/// Fits a browser's question to what it may do: a program's is a preview, of
/// which nothing counts.
pub fn narrow(caller: Caller, request: &mut Request) {
    let Caller::Browser(agent) = caller else { return };
    if agent == Agent::Bot {
        request.intent = Intent::Preview;
    }
}

/// Notes what a browser may not record. A reason is checked here, for what is
/// said about it later would tell that the token is good.
pub fn event(r: &mut Reading<'_>, wire: &proto::Event) {
    if !r.of_browser() {
        return;
    }
    let outcome = match &wire.kind {
        Some(proto::event::Kind::Outcome(outcome)) => outcome,
        Some(proto::event::Kind::Customer(_)) if wire.time.is_some() => {
            r.wrong("time", "may not be given by a browser with `customer`: leave it out, it happened now");
            return;
        }
        Some(proto::event::Kind::Customer(_)) | None => return,
    };
    let permitted = match outcome.r#type() {
        OutcomeType::Unspecified
        | OutcomeType::Impression
        | OutcomeType::Click
        | OutcomeType::Accept
        | OutcomeType::Decline
        | OutcomeType::Dismiss
        | OutcomeType::Conversion => true,
        OutcomeType::Unsubscribe | OutcomeType::Handoff | OutcomeType::Cancelled | OutcomeType::NoResponse => false,
    };
    if !permitted {
        r.wrong("outcome.type", "may be impression, click, accept, decline, dismiss or conversion only from a browser");
    }
    if !outcome.note.is_empty() {
        r.wrong("outcome.note", "may not be given by a browser: leave it out");
    }
    worth(r, outcome);
    let ruleset = r.ruleset;
    let declared = || ruleset.decline_reasons.iter().any(|reason| *reason.code == *outcome.reason_code);
    if outcome.r#type() == OutcomeType::Decline && !declared() {
        let codes: Vec<&str> = ruleset.decline_reasons.iter().map(|reason| &*reason.code).collect();
        r.wrong("outcome.reason_code", format!("is not a declared reason: give one of `{}`", codes.join("`, `")));
    }
}

/// Notes a conversion that is worth more than a page may say. What is no money
/// of the rules is said when it is read.
fn worth(r: &mut Reading<'_>, outcome: &proto::Outcome) {
    let Some(money) = &outcome.value else { return };
    let currency = r.ruleset.currency;
    let max = CONVERSION_MAX.saturating_mul(currency.scale());
    if value::money(&currency, &money.amount, &money.currency).is_ok_and(|minor| minor > max) {
        let why = format!(
            "is more than a browser may say: at most {CONVERSION_MAX} {}; send it from a server with a secret key",
            currency.code()
        );
        r.wrong("outcome.value", why);
    }
}

/// The words in which a browser hears that an event is refused, whatever the
/// reason.
pub fn refusal(input: &EventInput) -> &'static str {
    match input {
        EventInput::Outcome(_) => TOKEN_REFUSED,
        EventInput::Customer { .. } => EVENT_REFUSED,
    }
}

/// What a browser hears of an event: every refusal in the same words, but that
/// the person did not permit it.
pub fn told(caller: Caller, words: &str, recorded: Recorded) -> proto::RecordResult {
    let refused = matches!(recorded.status, RecordedStatus::Refused(_));
    let mut result = event::write_recorded(recorded);
    if caller != Caller::Service && refused {
        result.error = words.to_owned();
    }
    result
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
        proto::DecideRequest { placements, context, ..Default::default() }
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
    }

    #[test]
    fn what_is_said_at_length_is_bounded() {
        let rules = ruleset();
        for agent in [Agent::Person, Agent::Bot] {
            let named = proto::DecideRequest { request_id: "r1".to_owned(), ..question(&[]) };
            assert_eq!(read(&rules, agent, named).err(), Some(vec!["request_id".to_owned()]));
        }
        let excluded = |len: usize| (0..len).map(|n| format!("offer-{n}")).collect::<Vec<_>>();
        let fits = proto::DecideRequest {
            session_id: "s".repeat(SESSION_BYTES_MAX),
            exclude_offers: excluded(EXCLUDED_MAX),
            exclude_items: excluded(EXCLUDED_MAX),
            time_budget_ms: 60_000,
            ..question(&[])
        };
        let read_as_is = read(&rules, Agent::Person, fits.clone()).unwrap();
        assert_eq!((read_as_is.exclude_offers.len(), read_as_is.time_budget_ms), (EXCLUDED_MAX, TIME_BUDGET_MAX_MS));
        let placement = "p".repeat(PLACEMENT_BYTES_MAX + 1);
        let longer = proto::DecideRequest {
            session_id: "s".repeat(SESSION_BYTES_MAX + 1),
            exclude_offers: excluded(EXCLUDED_MAX + 1),
            exclude_items: excluded(EXCLUDED_MAX + 1),
            placements: vec![proto::PlacementRequest { placement, count: 0 }],
            ..fits
        };
        let fields = ["session_id", "placements[0].placement", "exclude_offers", "exclude_items"];
        assert_eq!(read(&rules, Agent::Person, longer).err(), Some(fields.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_page_does_not_say_that_an_order_is_worth_a_fortune() {
        let rules = ruleset();
        let conversion = |caller: Caller, amount: &str| {
            let value = Some(proto::Money { amount: amount.to_owned(), currency: rules.currency.code().to_owned() });
            let (presentation_token, r#type) = ("AAAA".to_owned(), OutcomeType::Conversion.into());
            let outcome = proto::Outcome { presentation_token, r#type, value, ..Default::default() };
            let wire = proto::Event { kind: Some(proto::event::Kind::Outcome(outcome)), ..Default::default() };
            match crate::grpc::convert::event::read(Reading::new(&rules, &identity).of(caller), wire) {
                Ok(_) => Vec::new(),
                Err(AppError::Invalid(wrong)) => wrong.into_iter().map(|v| (v.field, v.description)).collect(),
                Err(other) => panic!("{other}"),
            }
        };
        let page = Caller::Browser(Agent::Person);
        assert!(conversion(page, "10000.00").is_empty());
        let refused = conversion(page, "10000.01");
        assert!(refused.len() == 1 && refused[0].0 == "outcome.value", "{refused:?}");
        assert!(refused[0].1.contains("at most 10000"), "{refused:?}");
        assert!(conversion(Caller::Service, "10000.01").is_empty());
        assert_eq!(conversion(Caller::Service, "92233720368547758.07").len(), 1, "no sum of them overflows");
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
