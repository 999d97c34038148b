use std::{collections::HashMap, sync::Arc};

use crate::{
    app::{AppError, EventInput},
    domain::{
        AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, ChannelId, ChannelSlot, Currency, Date,
        DecisionId, DegradedSet, Identity, IdentityDef, IdentityHash, IdentityTypeId, Level, Match, PlacementId,
        PlacementSlot, Request, RulesetHash, Schema, Timestamp, Value,
        schema::{EventDef, IdentityFormat},
    },
    grpc::structs::{self, Struct},
    proto,
    rules::{Channel, ChannelKind, Escape, Need, Placement, Ruleset},
};

use super::{Reading, customer, decision, event, request, value};

const GBP: Currency = Currency { code: *b"GBP", minor_digits: 2 };

fn attribute(slot: u16, name: &str, kind: AttributeType, stored: bool, range: Option<(f64, f64)>) -> AttributeDef {
    let prefix = if stored { "p" } else { "ctx" };
    AttributeDef {
        slot: AttrSlot(slot),
        id: AttrId::of(name),
        name: name.into(),
        full_name: format!("{prefix}.{name}").into(),
        kind,
        source: if stored { AttributeSource::Stored } else { AttributeSource::Context },
        default: None,
        range,
        pii: false,
        behavioural: false,
        client: false,
        verified: false,
    }
}

fn schema() -> Schema {
    let device = AttributeType::Enum(["phone".into(), "desktop".into()].into());
    let attributes = vec![
        attribute(0, "basket_value", AttributeType::Money, false, Some((0.0, 1_000_000.0))),
        attribute(1, "device", device, false, None),
        attribute(2, "visits", AttributeType::Int, false, Some((0.0, 10.0))),
        attribute(3, "score", AttributeType::Double, false, None),
        attribute(4, "seen", AttributeType::Timestamp, false, None),
        attribute(5, "arrival", AttributeType::Date, false, None),
        attribute(6, "tags", AttributeType::Set, false, None),
        attribute(7, "vip", AttributeType::Bool, false, None),
        attribute(8, "country", AttributeType::Text, true, None),
        attribute(9, "page", AttributeType::Text, false, None),
    ];
    let table = |stored: bool| {
        let fits = |def: &&AttributeDef| (def.source == AttributeSource::Stored) == stored;
        let mut table: Vec<_> = attributes.iter().filter(fits).map(|def| (def.id, def.slot)).collect();
        table.sort_unstable_by_key(|(id, _)| *id);
        table
    };
    Schema {
        stored: table(true),
        context: table(false),
        by_name: attributes.iter().map(|def| (Arc::clone(&def.full_name), def.slot)).collect(),
        identities: vec![IdentityDef {
            id: IdentityTypeId::of("email"),
            name: "email".into(),
            format: IdentityFormat::Email,
            sharing: Default::default(),
            bearer: Default::default(),
            single: false,
            people_max: 5,
        }],
        events: vec![EventDef {
            id: crate::domain::EventTypeId::of("purchase"),
            name: "purchase".into(),
            bought: true,
            conversion: true,
            durable: true,
            client: false,
            fields: Vec::new(),
            open: true,
        }],
        records: Vec::new(),
        traits: Vec::new(),
        verified: Vec::new(),
        attributes,
        ..Schema::default()
    }
}

fn channel() -> Channel {
    Channel {
        slot: ChannelSlot(0),
        id: ChannelId::of("web"),
        name: "web".into(),
        kind: ChannelKind::SelfService,
        cost: 0.0,
        base_rate: 0.1,
        address: None,
        required_parts: Vec::new(),
        escape: Escape::None,
        counts_on: Default::default(),
        reserve_us: 0,
        valid_us: 0,
        send_within_us: 0,
        quiet_hours: None,
        preference: None,
        marketing_needs: Need::Nothing,
        service_needs: Need::Nothing,
    }
}

pub(crate) fn ruleset() -> Ruleset {
    let placement = PlacementId::of("home_hero");
    Ruleset {
        index: Default::default(),
        feeds: Default::default(),
        hash: RulesetHash(7),
        currency: GBP,
        default_language: "en".into(),
        schema: schema(),
        language_attribute: None,
        time_zone_attribute: None,
        time_zone: jiff::tz::TimeZone::UTC,
        channels: vec![channel()],
        placements: vec![Placement {
            slot: PlacementSlot(0),
            id: placement,
            name: "home_hero".into(),
            channel: ChannelSlot(0),
            slots: 1,
            fields: Vec::new(),
            fallback: None,
        }],
        groups: Vec::new(),
        issues: Vec::new(),
        limits: Vec::new(),
        suppressions: Vec::new(),
        decline_reasons: Vec::new(),
        holdout_share: 0.0,
        holdout_salt: "".into(),
        exploration_share: 0.0,
        prior_trials: 1.0,
        attribution_us: 14 * crate::domain::time::DAY_US,
        wished_channel_weight: 1.25,
        reach: Default::default(),
        segments: Vec::new(),
        offers: Vec::new(),
        budgeted: Vec::new(),
        offers_by_placement: vec![Vec::new()],
        offer_slots: HashMap::new(),
        channel_slots: HashMap::from([(ChannelId::of("web"), ChannelSlot(0))]),
        placement_slots: HashMap::from([(placement, PlacementSlot(0))]),
        sources: Arc::from([]),
        scenarios: Vec::new(),
    }
}

pub(super) fn identity(kind: &str, value: &str) -> Result<Identity, String> {
    if !value.contains('@') {
        return Err("is not an e-mail address".to_owned());
    }
    Ok(Identity {
        kind: IdentityTypeId::of(kind),
        value: value.into(),
        hash: IdentityHash(1),
        sharing: Default::default(),
    })
}

pub(super) fn fields(result: Result<impl Sized, AppError>) -> Vec<String> {
    match result {
        Err(AppError::Invalid(violations)) => {
            let mut fields: Vec<String> = violations.into_iter().map(|v| v.field).collect();
            fields.sort();
            fields
        }
        _ => Vec::new(),
    }
}

fn decide(wire: proto::DecideRequest) -> Result<Request, AppError> {
    request::read(Reading::new(&ruleset(), &identity), wire)
}

pub(super) fn context(fields: Vec<(&str, structs::Value)>) -> Option<Struct> {
    Some(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) fn email(value: &str) -> proto::Identity {
    proto::Identity { r#type: "email".into(), value: value.into() }
}

#[test]
fn every_violation_of_a_question_is_named_at_once() {
    let placement = |name: &str, count| proto::PlacementRequest { placement: name.into(), count };
    let wire = proto::DecideRequest {
        identities: vec![email("nobody"), proto::Identity { r#type: "emial".into(), value: "a@b".into() }],
        assurance: 99,
        session_id: "s".repeat(129),
        placements: vec![placement("home_hero", 1_001), placement("", 0)],
        allowed_channels: vec!["web".into(), "wbe".into()],
        purpose: 7,
        context: context(vec![
            ("basket_value", f64::NAN.into()),
            ("visits", 1.5.into()),
            ("device", "fridge".into()),
            ("vip", "yes".into()),
            ("paeg", "home".into()),
            ("arrival", "31.01.2026".into()),
            ("seen", "yesterday".into()),
            ("tags", vec![1.0.into()].into()),
            ("score", f64::INFINITY.into()),
        ]),
        page_consent: Some(proto::PageConsent { profiling: 9, marketing: 0 }),
        exclude_offers: vec![String::new()],
        exclude_items: vec!["i".into(); 1_001],
        time_budget_ms: 60_001,
        request_id: "r".repeat(65),
        intent: 0,
        view: 9,
        trace: 9,
        consistency_token: "t".repeat(257),
        languages: vec!["en_GB".into()],
        strict: true,
        as_of: Some(crate::grpc::timestamp::Timestamp { seconds: 0, nanos: -1 }),
        attribute_overrides: context(vec![("contry", "DE".into())]),
        ..proto::DecideRequest::default()
    };
    let expected = "allowed_channels[1] as_of as_of assurance attribute_overrides attribute_overrides.contry \
         consistency_token context.arrival context.basket_value context.device context.paeg context.score \
         context.seen context.tags context.vip context.visits exclude_items exclude_offers[0] \
         identities[0].value identities[1].type languages[0] page_consent.profiling placements[0].count \
         placements[1].placement purpose request_id session_id time_budget_ms trace view";
    assert_eq!(fields(decide(wire)).join(" "), expected);
}

#[test]
fn a_send_window_is_of_open_questions_and_has_an_end_after_its_beginning() {
    use crate::domain::SendWindow;
    let at = |seconds| Some(crate::grpc::timestamp::Timestamp { seconds, nanos: 500_000_000 });
    let wire = |from, until| proto::DecideRequest {
        send_window: Some(proto::SendWindow { from, until }),
        ..proto::DecideRequest::default()
    };
    let read = decide(wire(at(1), at(2))).unwrap().send_window;
    assert_eq!(read, SendWindow { from: Some(Timestamp(1_500_000)), until: Some(Timestamp(2_500_000)) });
    assert_eq!(decide(wire(None, None)).unwrap().send_window, SendWindow::default());
    assert!(decide(wire(at(9), None)).is_ok() && decide(wire(None, at(9))).is_ok());
    for (from, until) in [(at(2), at(2)), (at(3), at(2))] {
        assert_eq!(fields(decide(wire(from, until))), ["send_window"]);
    }
    let odd = Some(crate::grpc::timestamp::Timestamp { seconds: 0, nanos: -1 });
    assert_eq!(fields(decide(wire(odd, at(i64::MAX)))), ["send_window.from", "send_window.until"]);
    let ask = proto::PlacementRequest { placement: "home_hero".into(), count: 0 };
    let asked = proto::DecideRequest { placements: vec![ask], ..wire(at(1), at(2)) };
    let Err(AppError::Invalid(violations)) = decide(asked) else { panic!("accepted") };
    assert!(violations[0].description.contains("is for open questions"), "{violations:?}");
}

#[test]
fn a_near_name_is_suggested() {
    let wire = proto::DecideRequest { context: context(vec![("paeg", "x".into())]), ..Default::default() };
    let Err(AppError::Invalid(violations)) = decide(wire) else { panic!("accepted") };
    assert_eq!(violations[0].description, "`paeg` is not a context attribute of the rules; did you mean `page`");
}

#[test]
fn ten_thousand_attributes_are_one_violation() {
    let many = (0..10_000).map(|n| (format!("a{n}"), 1.0.into())).collect();
    assert_eq!(fields(decide(proto::DecideRequest { context: Some(many), ..Default::default() })), ["context"]);
}

#[test]
fn context_becomes_typed_values() {
    let price = [("amount", "12.50"), ("currency", "GBP")];
    let object: Struct = price.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    let cases = [
        ("basket_value", 30.45.into(), Value::Money(3_045)),
        ("basket_value", object.into(), Value::Money(1_250)),
        ("device", "phone".into(), Value::Text("phone".into())),
        ("visits", 3.0.into(), Value::Int(3)),
        ("score", 0.5.into(), Value::Double(0.5)),
        ("seen", "1970-01-01T00:00:01Z".into(), Value::Timestamp(Timestamp(1_000_000))),
        ("arrival", "1970-01-02".into(), Value::Date(Date(1))),
        ("tags", vec!["b".into(), "a".into(), "b".into()].into(), Value::Set(vec!["a".into(), "b".into()].into())),
        ("vip", true.into(), Value::Bool(true)),
    ];
    for (name, json, expected) in cases {
        let wire = proto::DecideRequest { context: context(vec![(name, json)]), ..Default::default() };
        assert_eq!(decide(wire).unwrap().context, [(AttrId::of(name), expected)], "{name}");
    }
}

#[test]
fn values_out_of_bounds_are_refused() {
    let cases: [(&str, structs::Value); 7] = [
        ("basket_value", 0.001.into()),
        ("basket_value", (-1.0).into()),
        ("basket_value", 1e300.into()),
        ("visits", 11.0.into()),
        ("page", "x".repeat(257).into()),
        ("tags", vec!["t".into(); 65].into()),
        ("basket_value", Struct::from_iter([("amount".to_owned(), "1".into())]).into()),
    ];
    for (name, json) in cases {
        let shown = format!("{json:?}");
        let wire = proto::DecideRequest { context: context(vec![(name, json)]), ..Default::default() };
        assert_eq!(fields(decide(wire)), [format!("context.{name}")], "{}", &shown[..shown.len().min(80)]);
    }
}

#[test]
fn an_unknown_placement_fails_only_a_strict_question() {
    let ask = proto::PlacementRequest { placement: "home_hro".into(), count: 0 };
    let wire = proto::DecideRequest { placements: vec![ask], ..Default::default() };
    let request = decide(wire.clone()).unwrap();
    assert_eq!(&*request.placements[0].name, "home_hro");
    let strict = decide(proto::DecideRequest { strict: true, ..wire });
    assert_eq!(fields(strict), ["placements[0].placement"]);
}

#[test]
fn what_is_unset_gets_its_default() {
    use crate::domain::{Assurance, Intent, Trace, View};
    let request = decide(proto::DecideRequest::default()).unwrap();
    let expected = (Assurance::Anonymous, Intent::Present, View::Render, Trace::None, 100);
    assert_eq!((request.assurance, request.intent, request.view, request.trace, request.time_budget_ms), expected);
    let named = decide(proto::DecideRequest { identities: vec![email("a@b")], ..Default::default() }).unwrap();
    assert_eq!(named.assurance, Assurance::Claimed);
}

#[test]
fn a_preview_may_assume_other_values() {
    let wire = proto::DecideRequest {
        intent: proto::Intent::Preview as i32,
        as_of: Some(crate::grpc::timestamp::Timestamp { seconds: 1, nanos: 5_000 }),
        attribute_overrides: context(vec![("country", "DE".into())]),
        ..Default::default()
    };
    let request = decide(wire).unwrap();
    assert_eq!(request.as_of, Some(Timestamp(1_000_005)));
    assert_eq!(request.overrides, [(AttrId::of("country"), Value::Text("DE".into()))]);
}

fn read_event(wire: proto::Event) -> Result<EventInput, AppError> {
    event::read(Reading::new(&ruleset(), &identity), wire)
}

fn deep(levels: usize) -> Struct {
    let mut object = Struct::default();
    for _ in 1..levels {
        object = Struct::from_iter([("in".to_owned(), object.into())]);
    }
    object
}

#[test]
fn every_violation_of_an_event_is_named_at_once() {
    let money = |currency: &str| proto::Money { amount: "1.00".into(), currency: currency.into() };
    let wire = proto::Event {
        event_id: String::new(),
        source: "s".repeat(65),
        time: Some(crate::grpc::timestamp::Timestamp { seconds: i64::MAX, nanos: 0 }),
        kind: Some(proto::event::Kind::Customer(proto::CustomerEvent {
            identities: Vec::new(),
            r#type: "purchas".into(),
            channel: "tv".into(),
            amount: Some(money("EUR")),
            items: vec![proto::EventItem { item: String::new(), quantity: 0, unit_price: Some(money("USD")) }],
            data: Some(deep(17)),
        })),
    };
    let expected = "customer.amount customer.channel customer.data customer.identities customer.items[0].item \
         customer.items[0].unit_price customer.type event_id source time";
    assert_eq!(fields(read_event(wire)).join(" "), expected);
    assert_eq!(fields(read_event(proto::Event::default())), ["kind"]);
    let outcome = proto::Outcome { r#type: 42, reason_code: "price".into(), ..Default::default() };
    let wire = proto::Event { kind: Some(proto::event::Kind::Outcome(outcome)), ..Default::default() };
    assert_eq!(fields(read_event(wire)), ["outcome.presentation_token", "outcome.type"]);
}

#[test]
fn an_event_keeps_its_items_and_data() {
    let item = proto::EventItem { item: "mug".into(), quantity: 0, unit_price: None };
    let customer = proto::CustomerEvent {
        identities: vec![email("a@b")],
        r#type: "purchase".into(),
        items: vec![item],
        data: Some(deep(16)),
        ..Default::default()
    };
    let wire =
        proto::Event { event_id: "1".into(), kind: Some(proto::event::Kind::Customer(customer)), ..Default::default() };
    let Ok(EventInput::Customer { id, kind, strength, item_names, .. }) = read_event(wire) else { panic!("refused") };
    assert_eq!(id, event::event_id("default", "1"));
    assert_ne!(event::event_id("a", "bc"), event::event_id("ab", "c"));
    assert_eq!(strength, crate::store::Strength::Disk);
    assert_eq!(&*item_names[0], "mug");
    let crate::domain::EventKind::Customer { items, bought, data, .. } = kind else { panic!("not a customer event") };
    assert_eq!((items[0].quantity, bought), (1, true));
    assert!(data.starts_with("{\"in\":"), "{data}");
}

#[test]
fn every_violation_of_an_upsert_is_named_at_once() {
    let wire = proto::UpsertCustomerRequest {
        identities: Vec::new(),
        attributes: context(vec![("country", 1.0.into()), ("basket_value", 1.0.into())]),
        consents: vec![proto::Consent { channel: "tv".into(), source: "s".repeat(65), ..Default::default() }],
        request_id: "r".repeat(65),
        ..Default::default()
    };
    let expected = "attributes.basket_value attributes.country consents[0].channel consents[0].permission \
         consents[0].purpose consents[0].source identities request_id";
    let read = customer::read_upsert(Reading::new(&ruleset(), &identity), wire);
    assert_eq!(fields(read).join(" "), expected);
}

#[test]
fn a_time_before_1980_is_refused_of_values_and_consents() {
    let at = |seconds| Some(crate::grpc::timestamp::Timestamp { seconds, nanos: 0 });
    let read = |seconds| {
        let consent = proto::Consent {
            purpose: proto::ConsentPurpose::Marketing as i32,
            permission: proto::Permission::Granted as i32,
            time: at(seconds),
            ..Default::default()
        };
        let wire = proto::UpsertCustomerRequest {
            identities: vec![email("a@b")],
            consents: vec![consent],
            time: at(seconds),
            ..Default::default()
        };
        customer::read_upsert(Reading::new(&ruleset(), &identity), wire).map(|_| ())
    };
    assert!(read(315_532_800).is_ok());
    // 1900, and the day that programs count from
    for seconds in [-2_208_988_800, 0, 315_532_799] {
        assert_eq!(fields(read(seconds)).join(" "), "consents[0].time time", "{seconds}");
    }
}

#[test]
fn null_removes_an_attribute() {
    let wire = proto::UpsertCustomerRequest {
        identities: vec![email("a@b")],
        attributes: context(vec![("country", structs::Value::default())]),
        ..Default::default()
    };
    let input = customer::read_upsert(Reading::new(&ruleset(), &identity), wire).unwrap();
    assert_eq!(input.attributes, [(AttrId::of("country"), None)]);
}

pub(crate) fn answered() -> crate::domain::Decision {
    use crate::domain::{
        AgentView, Factors, Message, OfferId, PlacementAnswer, PlacementStatus, Presentation, Purpose, TraceReport,
    };
    let presentation = Presentation {
        offer_id: OfferId::of("mug"),
        channel_id: ChannelId::of("web"),
        offer: "mug".into(),
        record_key: "a-1".into(),
        treatment: "mug/web/en".into(),
        channel: "web".into(),
        language: "en".into(),
        message: Message { text: "A mug".into(), ..Message::default() },
        data: vec![("b".into(), Value::Text("2".into())), ("a".into(), Value::Money(1_250))],
        image: "".into(),
        links: vec![("main".into(), "http://x/c/1".into()), ("help".into(), "http://x/c/2".into())],
        token: "token".into(),
        valid_until: Timestamp(1_500_000),
        not_before: None,
        send_by: None,
        purpose: Purpose::Marketing,
        issue: "sell".into(),
        group: "mugs".into(),
        name: "Mug".into(),
        agent: Some(AgentView::default()),
        factors: Factors { propensity: 0.5, ..Factors::default() },
        other_channels: Vec::new(),
    };
    crate::domain::Decision {
        id: DecisionId(1),
        matched: Match::Known,
        placements: vec![PlacementAnswer {
            placement: "home_hero".into(),
            status: PlacementStatus::Ok,
            silence: None,
            presentations: vec![presentation],
        }],
        ruleset: RulesetHash(7),
        level: Level::Full,
        degraded: DegradedSet::default(),
        dropped: Vec::new(),
        consistency_token: "c".into(),
        trace: TraceReport { counts: vec![(crate::domain::Reason::Paused, 2)], candidates: Vec::new() },
        decided_at: Timestamp(-1),
        visitor_id: String::new(),
    }
}

pub(crate) fn written(view: crate::domain::View, trace: crate::domain::Trace) -> proto::DecideResponse {
    decision::write(&answered(), decision::Shown { view, trace, currency: &GBP })
}

#[test]
fn a_view_shows_no_more_than_was_asked() {
    use crate::domain::{Trace, View};
    let shown = |view| {
        let answer = written(view, Trace::None);
        let one = answer.placements[0].presentations[0].clone();
        (one.agent.is_some(), one.factors.is_some())
    };
    assert_eq!(shown(View::Render), (false, false));
    assert_eq!(shown(View::Agent), (true, false));
    assert_eq!(shown(View::Full), (true, true));
    assert_eq!(written(View::Full, Trace::None).trace, None);
    assert_eq!(written(View::Full, Trace::Summary).trace.unwrap().counts[0].count, 2);
    let answer = written(View::Render, Trace::None);
    assert_eq!(answer.placements[0].presentations[0].link, "http://x/c/1");
    assert_eq!(answer.decided_at, Some(crate::grpc::timestamp::Timestamp { seconds: -1, nanos: 999_999_000 }));
}

#[test]
fn equal_answers_are_equal_bytes() {
    use prost::Message;
    let bytes = || written(crate::domain::View::Full, crate::domain::Trace::Full).encode_to_vec();
    let first = bytes();
    assert!((0..20).all(|_| bytes() == first));
}

#[test]
fn typed_values_go_out_with_their_type() {
    use proto::value::Kind;
    let kind = |v: Value| value::write(&GBP, &v).kind;
    assert_eq!(kind(Value::Date(Date(0))), Some(Kind::DateValue("1970-01-01".into())));
    let money = proto::Money { amount: "-0.05".into(), currency: "GBP".into() };
    assert_eq!(kind(Value::Money(-5)), Some(Kind::MoneyValue(money)));
}

#[test]
fn an_answer_keeps_its_agent_and_call() {
    let wire = |agent: &str| proto::RespondRequest {
        presentation_token: "token".into(),
        outcome: proto::OutcomeType::Accept.into(),
        note: "rang twice".into(),
        agent_id: agent.into(),
        call_id: "call-42".into(),
        ..Default::default()
    };
    let rules = ruleset();
    let input = event::read_respond(Reading::new(&rules, &identity), wire("agent-7")).expect("a valid answer");
    let outcome = input.outcome;
    assert_eq!((&*outcome.agent, &*outcome.call, &*outcome.note), ("agent-7", "call-42", "rang twice"));
    let long = "x".repeat(event::CALLER_ID_BYTES_MAX + 1);
    assert_eq!(fields(event::read_respond(Reading::new(&rules, &identity), wire(&long))), ["agent_id"]);
}

#[test]
fn an_unknown_channel_allows_nothing_and_fails_only_a_strict_question() {
    let wire = |strict| proto::DecideRequest { allowed_channels: vec!["tv".into()], strict, ..Default::default() };
    assert_eq!(decide(wire(false)).expect("a question").allowed_channels, [ChannelId::of("tv")]);
    assert_eq!(fields(decide(wire(true))), ["allowed_channels[0]"]);
}

#[test]
fn a_consistency_token_that_is_not_ours_is_refused() {
    let wire = |token: &str| proto::DecideRequest { consistency_token: token.into(), ..Default::default() };
    assert!(decide(wire("v12")).is_ok());
    for token in ["12", "v", "v-1", "junk"] {
        assert_eq!(fields(decide(wire(token))), ["consistency_token"], "{token}");
    }
}

#[test]
fn amounts_are_not_negative_and_times_are_of_this_age() {
    let money = |amount: &str| Some(proto::Money { amount: amount.into(), currency: "GBP".into() });
    let purchase = |amount, seconds| proto::Event {
        event_id: "1".into(),
        time: Some(crate::grpc::timestamp::Timestamp { seconds, nanos: 0 }),
        kind: Some(proto::event::Kind::Customer(proto::CustomerEvent {
            identities: vec![email("a@b")],
            r#type: "purchase".into(),
            amount: money(amount),
            ..Default::default()
        })),
        ..Default::default()
    };
    assert!(read_event(purchase("1.00", 946_684_800)).is_ok());
    assert_eq!(fields(read_event(purchase("-1.00", 946_684_799))), ["customer.amount", "time"]);
    assert_eq!(fields(read_event(purchase("1.00", 253_402_207_201))), ["time"]);
    let outcome = proto::Outcome {
        presentation_token: "token".into(),
        r#type: proto::OutcomeType::Conversion.into(),
        value: money("-0.01"),
        ..Default::default()
    };
    let wire = proto::Event { kind: Some(proto::event::Kind::Outcome(outcome)), ..Default::default() };
    assert_eq!(fields(read_event(wire)), ["outcome.value"]);
}

#[test]
fn profiling_is_permitted_everywhere_or_nowhere() {
    let wire = |channel: &str| proto::UpsertCustomerRequest {
        identities: vec![email("a@b")],
        consents: vec![proto::Consent {
            channel: channel.into(),
            purpose: proto::ConsentPurpose::Profiling.into(),
            permission: proto::Permission::Granted.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let rules = ruleset();
    let read = |channel| customer::read_upsert(Reading::new(&rules, &identity), wire(channel));
    assert!(read("").is_ok());
    assert_eq!(fields(read("web")), ["consents[0].channel"]);
}

#[test]
fn an_answer_written_at_once_is_the_one_that_is_encoded() {
    use crate::domain::{
        ChannelVerdict, Date, Degraded, DroppedInput, Factors, PlacementAnswer, PlacementStatus, Reason, SilenceReason,
        Stage, Trace, Verdict, View,
    };
    use prost::Message;
    let plain = answered();
    let mut rich = answered();
    rich.degraded.insert(Degraded::StaleProfile);
    rich.degraded.insert(Degraded::LogUnavailable);
    rich.dropped = vec![DroppedInput::Behaviour, DroppedInput::Verified];
    rich.trace.candidates = vec![Verdict {
        offer: "mug".into(),
        record_key: "a-1".into(),
        channel: Some("web".into()),
        placement: "home_hero".into(),
        stage: Stage::Score,
        reason: Some(Reason::Paused),
        detail: "x".repeat(300),
        factors: Some(Factors { value: -0.0, ..Factors::default() }),
    }];
    let one = &mut rich.placements[0].presentations[0];
    one.not_before = Some(Timestamp(0));
    one.send_by = Some(Timestamp(-1_500_001));
    one.message.html = "long ".repeat(5_000);
    one.data.extend([
        ("empty".into(), Value::Text("".into())),
        ("0".into(), Value::Int(0)),
        ("set".into(), Value::Set(["x".into(), "".into()].into())),
        ("day".into(), Value::Date(Date(20_000))),
        ("yes".into(), Value::Bool(true)),
    ]);
    one.other_channels =
        vec![ChannelVerdict { channel: "sms".into(), reason: Reason::Paused, net_priority: f64::MIN_POSITIVE }];
    let second = one.clone();
    rich.placements[0].presentations.push(second);
    rich.placements.push(PlacementAnswer {
        placement: "".into(),
        status: PlacementStatus::Empty,
        silence: Some(SilenceReason::ContactPolicy),
        presentations: Vec::new(),
    });
    for answer in [plain, rich] {
        for view in [View::Render, View::Agent, View::Full] {
            for trace in [Trace::None, Trace::Summary, Trace::Full] {
                let shown = decision::Shown { view, trace, currency: &GBP };
                let mut bytes = vec![7];
                super::wire::write(&answer, shown, &mut bytes);
                assert_eq!(bytes[1..], decision::write(&answer, shown).encode_to_vec(), "{view:?} {trace:?}");
            }
        }
    }
}
