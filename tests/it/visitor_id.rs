//! Visitors who come back: known by a signed id and by nothing else, remembered
//! only where the page says that they permit it.

use std::sync::Arc;

use rapport::{
    app::App,
    grpc::{
        api::Api,
        caller::{Agent, Caller, Newcomer},
    },
    proto::{
        Customer, DecideResponse, ExplainRequest, Match, OutcomeType, RecordRequest, RecordResult, RecordStatus,
        RespondRequest, UpsertCustomerRequest,
    },
    rules::SourceFile,
    store::{Store, StoreConfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;

use crate::{
    harness::{Place, SHOP, Server, eventually, message, offers_of},
    web,
};

const PAGE: Caller = Caller::Browser(Agent::Person);

fn asks(visitor: &str, consents: bool) -> Value {
    let profiling = if consents { "PERMISSION_GRANTED" } else { "PERMISSION_UNSPECIFIED" };
    json!({
        "visitorId": visitor,
        "placements": [{"placement": "home_hero"}],
        "pageConsent": {"profiling": profiling},
    })
}

fn outcome(token: &str, kind: &str, visitor: &str) -> RecordRequest {
    let reason = if kind == "DECLINE" { "not_interested" } else { "" };
    message(json!({
        "visitorId": visitor,
        "events": [{"outcome": {
            "presentationToken": token, "type": format!("OUTCOME_TYPE_{kind}"), "reasonCode": reason,
        }}],
    }))
}

fn token_of(answer: &DecideResponse) -> &str {
    &answer.placements[0].presentations[0].presentation_token
}

async fn record(server: &Server, request: RecordRequest) -> RecordResult {
    server.events().await.record(request).await.expect("a result").into_inner().results.swap_remove(0)
}

async fn view(server: &Server, visitor: &str) -> Option<Customer> {
    server.view("visitor_id", visitor).await
}

/// The view once it can be seen: clicks are stored beside the redirect.
async fn seen(server: &Server, visitor: &str) -> Customer {
    eventually("the visitor's profile", || view(server, visitor)).await
}

/// Whether a decision replays to the byte.
async fn replays(server: &Server, answer: &DecideResponse) -> bool {
    eventually("the stored decision", || async {
        let request = ExplainRequest { decision_id: answer.decision_id.clone(), offer: String::new() };
        server.decisions().await.explain(request).await.ok()
    })
    .await
    .into_inner()
    .identical
}

#[tokio::test]
async fn the_first_page_gets_an_id_and_the_second_shows_it() {
    let server = Server::shared();
    let first = server.decide(asks("", true)).await.expect("an answer");
    assert_eq!(first.r#match(), Match::Anonymous);
    assert!((40..=256).contains(&first.visitor_id.len()), "{}", first.visitor_id);
    let second = server.decide(asks(&first.visitor_id, true)).await.expect("an answer");
    assert_eq!((second.r#match(), &second.visitor_id), (Match::New, &first.visitor_id));
    // deciding alone remembers nobody
    assert!(view(&server, &first.visitor_id).await.is_none());
    let other = server.decide(asks("", true)).await.expect("an answer");
    assert_ne!(other.visitor_id, first.visitor_id);
    // who is named needs no id, and a look gives none
    for named in [
        json!({"identities": [{"type": "cookie", "value": "c1"}], "placements": [{"placement": "home_hero"}]}),
        json!({"intent": "INTENT_PREVIEW", "placements": [{"placement": "home_hero"}]}),
        json!({"intent": "INTENT_PREVIEW", "placements": [{"placement": "home_hero"}], "visitorId": first.visitor_id}),
    ] {
        assert_eq!(server.decide(named).await.expect("an answer").visitor_id, "");
    }
}

#[tokio::test]
async fn a_decline_is_remembered_of_a_visitor_who_permits_it() {
    let server = Server::shared();
    let first = server.decide(asks("", true)).await.expect("an answer");
    let visitor = &first.visitor_id;
    assert_eq!(offers_of(&first, "home_hero"), ["welcome"]);
    let result = record(&server, outcome(token_of(&first), "DECLINE", "")).await;
    assert_eq!(result.status(), RecordStatus::Recorded, "{}", result.error);

    let mut ask = asks(visitor, true);
    ask["consistencyToken"] = json!(result.consistency_token);
    let second = server.decide(ask).await.expect("an answer");
    assert_eq!((second.r#match(), &second.visitor_id), (Match::Known, visitor));
    assert_eq!(second.level(), rapport::proto::Level::Full);
    assert!(!offers_of(&second, "home_hero").contains(&"welcome".to_owned()));

    let view = view(&server, visitor).await.expect("the visitor's profile");
    assert_eq!(view.identities.len(), 1);
    let (kind, value) = (&view.identities[0].r#type, &view.identities[0].value);
    assert!(kind == "visitor_id" && value.len() == 32 && !visitor.contains(value.as_str()), "{value}");
    assert_eq!(view.interactions.len(), 1);
    // what the view shows opens nothing
    let refused =
        server.decide(json!({"identities": [{"type": "visitor_id", "value": value}]})).await.expect_err("no signed id");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let unsigned = server.decide(asks(value, true)).await.expect("an answer");
    assert_eq!(unsigned.r#match(), Match::Anonymous);
}

#[tokio::test]
async fn a_link_that_is_followed_is_remembered_too() {
    let server = Server::shared();
    let mut ask = asks("", true);
    ask["placements"] = json!([{"placement": "linked_slot"}]);
    let made = server.decide(ask.clone()).await.expect("an answer");
    ask["visitorId"] = json!(server.decide(asks("", true)).await.expect("an answer").visitor_id);
    let given = server.decide(ask).await.expect("an answer");
    for answer in [made, given] {
        let link = &answer.placements[0].presentations[0].link;
        let path = &link[link.find("/c/").expect("a traceable link")..];
        assert_eq!(web::get(server.address, path, &[]).status, 302);
        let view = seen(&server, &answer.visitor_id).await;
        assert_eq!(view.interactions[0].outcomes, [OutcomeType::Click as i32]);
    }
}

#[tokio::test]
async fn without_consent_nothing_is_stored() {
    let server = Server::shared();
    for denied in [None, Some("PERMISSION_DENIED")] {
        let mut ask = asks("", false);
        if let Some(denied) = denied {
            ask["pageConsent"] = json!({"profiling": denied});
        }
        let answer = server.decide(ask.clone()).await.expect("an answer");
        let visitor = answer.visitor_id.clone();
        let result = record(&server, outcome(token_of(&answer), "DECLINE", &visitor)).await;
        assert_eq!((result.status(), result.consistency_token.as_str()), (RecordStatus::Recorded, ""));
        ask["visitorId"] = json!(visitor);
        let again = server.decide(ask).await.expect("an answer");
        assert_eq!(again.r#match(), Match::New);
        assert_eq!(offers_of(&again, "home_hero"), ["welcome"]);
        assert!(view(&server, &visitor).await.is_none());
    }
}

#[tokio::test]
async fn a_visitor_who_takes_the_consent_back_is_not_followed_any_more() {
    let server = Server::shared();
    let first = server.decide(asks("", true)).await.expect("an answer");
    record(&server, outcome(token_of(&first), "IMPRESSION", "")).await;
    let mut ask = asks(&first.visitor_id, true);
    ask["pageConsent"] = json!({"profiling": "PERMISSION_DENIED"});
    let second = server.decide(ask).await.expect("an answer");
    assert_eq!(second.level(), rapport::proto::Level::NoRecommendations);
    record(&server, outcome(token_of(&second), "CLICK", "")).await;
    let view = view(&server, &first.visitor_id).await.expect("the visitor's profile");
    assert_eq!(view.interactions.len(), 1);
    assert_eq!(view.interactions[0].outcomes, [OutcomeType::Impression as i32]);
}

#[tokio::test]
async fn an_altered_id_is_as_none() {
    let server = Server::shared();
    let visitor = server.decide(asks("", true)).await.expect("an answer").visitor_id;
    let mut altered: Vec<String> =
        ["x", "AAAA", "\u{e9}", &"A".repeat(256), &"A".repeat(9_000)].map(str::to_owned).into();
    let bytes = visitor.as_bytes();
    for at in (0..bytes.len()).step_by(7) {
        let mut text = bytes.to_vec();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        altered.push(String::from_utf8(text).expect("ASCII"));
    }
    for text in altered {
        let answer = server.decide(asks(&text, true)).await.expect("an answer, not an error");
        assert_eq!(answer.r#match(), Match::Anonymous, "{text}");
        assert!(answer.visitor_id != text && answer.visitor_id != visitor);
        // named by a service it is an error
        if text.len() <= 256 {
            let named = json!({"identities": [{"type": "visitor_id", "value": text}]});
            assert_eq!(server.decide(named).await.expect_err("refused").code(), Code::InvalidArgument);
        }
    }
}

#[tokio::test]
async fn what_visitors_were_answered_replays_identically() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let mut ask = asks("", true);
    ask["requestId"] = json!("visit-1");
    let first = server.decide(ask.clone()).await.expect("an answer");
    let given = server.decide(asks(&first.visitor_id, true)).await.expect("an answer");
    record(&server, outcome(token_of(&first), "IMPRESSION", "")).await;
    let known = server.decide(asks(&first.visitor_id, true)).await.expect("an answer");
    assert_eq!(known.r#match(), Match::Known);
    let unsure = server.decide(asks("", false)).await.expect("an answer");
    let answers = [&first, &given, &known, &unsure];
    for answer in answers {
        assert!(replays(&server, answer).await, "{answer:?}");
    }
    assert_eq!(server.decide(ask.clone()).await.expect("an answer"), first);

    server.kill();
    let server = Server::start(&place);
    for answer in answers {
        assert!(replays(&server, answer).await, "{answer:?}");
    }
    assert_eq!(server.decide(ask.clone()).await.expect("an answer"), first);
    ask["visitorId"] = json!(first.visitor_id);
    assert_eq!(server.decide(ask).await.expect_err("another body").code(), Code::AlreadyExists);
    assert_eq!(server.decide(asks(&first.visitor_id, true)).await.expect("an answer").r#match(), Match::Known);
}

#[tokio::test]
async fn an_answer_to_a_visitor_is_ranked_again_for_the_same_one() {
    let server = Server::shared();
    for (consents, matched) in [(true, Match::Known), (false, Match::New)] {
        let first = server.decide(asks("", consents)).await.expect("an answer");
        let respond = RespondRequest {
            presentation_token: token_of(&first).to_owned(),
            outcome: OutcomeType::Decline.into(),
            reason_code: "not_interested".to_owned(),
            ..RespondRequest::default()
        };
        let responded = server.decisions().await.respond(respond).await.expect("the decline is taken").into_inner();
        let again = responded.decision.expect("the re-ranked answer");
        assert_eq!((again.r#match(), &again.visitor_id), (matched, &first.visitor_id));
        assert!(!offers_of(&again, "home_hero").contains(&"welcome".to_owned()));
        assert!(replays(&server, &again).await);
    }
}

#[tokio::test]
async fn a_visitor_who_logs_in_becomes_the_customer() {
    let server = Server::shared();
    let link = |visitor: &str, customer: &str| -> UpsertCustomerRequest {
        message(json!({"identities": [
            {"type": "customer_id", "value": customer}, {"type": "visitor_id", "value": visitor},
        ]}))
    };
    let mut customers = server.customers().await;

    // a visitor without a profile is given to the customer
    server.customer("visitor-known", json!({})).await;
    let visitor = server.decide(asks("", true)).await.expect("an answer").visitor_id;
    customers.upsert_customer(link(&visitor, "visitor-known")).await.expect("linked");
    let answer = server.decide(asks(&visitor, true)).await.expect("an answer");
    assert_eq!((answer.r#match(), &answer.visitor_id), (Match::Known, &visitor));
    assert_eq!(view(&server, &visitor).await.expect("the customer").identities.len(), 2);

    // a new customer gets the profile of the visitor
    let first = server.decide(asks("", true)).await.expect("an answer");
    record(&server, outcome(token_of(&first), "IMPRESSION", "")).await;
    customers.upsert_customer(link(&first.visitor_id, "visitor-registers")).await.expect("linked");
    let joined = server.view("customer_id", "visitor-registers").await.expect("the customer");
    assert_eq!((joined.identities.len(), joined.interactions.len()), (2, 1));

    // of a visitor and a customer who both have a profile one is made
    let before = server.decide(asks("", true)).await.expect("an answer");
    record(&server, outcome(token_of(&before), "IMPRESSION", "")).await;
    customers.upsert_customer(link(&before.visitor_id, "visitor-registers")).await.expect("merged");
    let joined = server.view("customer_id", "visitor-registers").await.expect("the customer");
    assert_eq!((joined.identities.len(), joined.interactions.len()), (3, 2));
    let other = server.decide(asks("", true)).await.expect("an answer");
    record(&server, outcome(token_of(&other), "IMPRESSION", "")).await;
    // whom the caller names decides
    let mut ask = asks(&other.visitor_id, true);
    ask["identities"] = json!([{"type": "customer_id", "value": "visitor-known"}]);
    let named = server.decide(ask).await.expect("an answer");
    assert_eq!((named.r#match(), &named.visitor_id), (Match::Known, &other.visitor_id));
    let result = record(&server, outcome(token_of(&named), "IMPRESSION", "")).await;
    assert_eq!(result.status(), RecordStatus::Recorded, "{}", result.error);
    let known = server.view("customer_id", "visitor-known").await.expect("the customer");
    assert_eq!(known.interactions.len(), 1);
}

#[tokio::test]
async fn two_people_at_one_browser_stay_two() {
    let server = Server::shared();
    let visitor = server.decide(asks("", true)).await.expect("an answer").visitor_id;
    let login = |customer: &str, country: &str| -> UpsertCustomerRequest {
        message(json!({"attributes": {"country": country}, "identities": [
            {"type": "customer_id", "value": customer}, {"type": "visitor_id", "value": visitor},
        ]}))
    };
    let mut customers = server.customers().await;
    customers.upsert_customer(login("browser-first", "DE")).await.expect("the first logs in");

    // asked about before anything is known of the second: not the first
    let mut ask = asks(&visitor, true);
    ask["identities"] = json!([{"type": "customer_id", "value": "browser-second"}]);
    ask["assurance"] = json!("ASSURANCE_VERIFIED");
    let unknown = server.decide(ask.clone()).await.expect("an answer");
    assert_eq!(unknown.r#match(), Match::New);
    assert!(replays(&server, &unknown).await);

    for created in [true, false] {
        let second = customers.upsert_customer(login("browser-second", "GB")).await.expect("the second logs in");
        assert_eq!(second.into_inner().created, created);
    }
    let identities = async |customer: &str| server.view("customer_id", customer).await.expect("a customer").identities;
    assert_eq!((identities("browser-first").await.len(), identities("browser-second").await.len()), (2, 1));
    customers.upsert_customer(login("browser-first", "DE")).await.expect("the first comes back");
    assert_eq!(server.decide(ask).await.expect("an answer").r#match(), Match::Known);
}

#[tokio::test]
async fn a_match_token_writes_nothing() {
    let server = Server::shared();
    let identities = json!([{"type": "match", "value": "AAAA"}]);
    let upsert: UpsertCustomerRequest = message(json!({"identities": identities}));
    let refused = server.customers().await.upsert_customer(upsert).await.expect_err("reading only");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(format!("{refused:?}").contains("for reading only"), "{refused:?}");
    let looked = server.decide(json!({"identities": identities})).await.expect_err("no such token");
    assert!(
        format!("{looked:?}").contains("look the customer up") || format!("{looked:?}").contains("not one of ours")
    );
}

/// The calls in this process, as a page makes them.
fn api() -> (Api, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(StoreConfig::new(dir.path())).expect("a store");
    let rules = vec![SourceFile { path: "shop.yaml".into(), text: SHOP.into() }];
    let app = App::open(store, &Ok(rules), "https://shop.example").expect("an app");
    (Api::new(Arc::new(app)), dir)
}

async fn hand_in(api: &Api, token: &str, kind: &str, visitor: &str) -> RecordResult {
    let response = api.record(PAGE, outcome(token, kind, visitor)).await.expect("a result");
    response.results.into_iter().next().expect("one result")
}

#[tokio::test]
async fn a_foreign_token_is_refused_like_a_forged_one() {
    let (api, _dir) = api();
    let ask = |visitor: &str| message(asks(visitor, true));
    let mine = api.decide(PAGE, ask("")).await.expect("an answer");
    let other = api.decide(PAGE, ask("")).await.expect("an answer");
    let later = api.decide(PAGE, ask(&mine.visitor_id)).await.expect("an answer");
    let forged = hand_in(&api, "AAAA", "CLICK", &mine.visitor_id).await;
    assert_eq!(forged.status(), RecordStatus::Refused);
    for token in [token_of(&mine), token_of(&later)] {
        for visitor in ["", "AAAA", &other.visitor_id] {
            let foreign = hand_in(&api, token, "CLICK", visitor).await;
            assert_eq!(foreign, forged);
        }
        let own = hand_in(&api, token, "CLICK", &mine.visitor_id).await;
        assert_eq!(own.status(), RecordStatus::Recorded, "{}", own.error);
        // a service is not asked
        let service = api.record(Caller::Service, outcome(token, "CLICK", "")).await.expect("a result");
        assert_eq!(service.results[0].status(), RecordStatus::Duplicate);
    }
    // a token of a customer is bound to nobody: the page that has it got it from its own server
    let known = json!({
        "identities": [{"type": "customer_id", "value": "ann"}], "placements": [{"placement": "home_hero"}],
    });
    let known = api.decide(Caller::Service, message(known)).await.expect("an answer");
    let taken = hand_in(&api, token_of(&known), "CLICK", "").await;
    assert_eq!(taken.status(), RecordStatus::Recorded, "{}", taken.error);
}

#[tokio::test]
async fn a_program_that_shows_its_id_is_no_newcomer() {
    let (api, _dir) = api();
    let known = api.decide(PAGE, message(asks("", true))).await.expect("an answer").visitor_id;
    for agent in [Agent::Person, Agent::Bot, Agent::Crowd] {
        let caller = Caller::Browser(agent);
        assert_eq!(Newcomer::of(api.app(), caller, &known), None, "{agent:?}");
        for unknown in ["", "AAAA", &"A".repeat(9_000)] {
            assert!(Newcomer::of(api.app(), caller, unknown).is_some(), "{agent:?}");
        }
    }
    assert_eq!(Newcomer::of(api.app(), Caller::Service, ""), None);
}
