//! The phone on the desk: who calls, what is known, what was answered, and what
//! the customer does meanwhile.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rapport::proto::{
    Answered, Changed, DecideResponse, GetCustomerRequest, LookupRequest, LookupResponse, Match, OutcomeType,
    RecordRequest, RespondRequest, SetDoNotContactRequest, UpsertCustomerRequest, WatchCustomerRequest,
    WatchCustomerResponse, customer_service_client::CustomerServiceClient, happening::Kind,
};
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::{
    harness::{Place, Server, eventually, message, offers_of},
    web,
};

/// What is promised between a write and its showing on a desk.
const SOON: Duration = Duration::from_secs(1);
/// How often that is measured at most.
const MEASURED_MAX: u32 = 3;
/// What an answer with the next best action takes at most on loopback, at the
/// 99th percentile of a release build.
const RESPOND_P99_MAX: Duration = Duration::from_millis(5);
/// The machine may be busy, and a decline waits for the disk.
const HEADROOM: u32 = 10;

fn identity(kind: &str, value: &str) -> Value {
    json!({"type": kind, "value": value})
}

/// Creates a customer with a phone and more.
async fn customer(server: &Server, id: &str, phone: &str, attributes: Value) {
    let request: UpsertCustomerRequest = message(json!({
        "identities": [identity("phone", phone), identity("customer_id", id), identity("email", &format!("{id}@shop.example.org"))],
        "attributes": attributes,
        "consents": [{"purpose": "CONSENT_PURPOSE_PROFILING", "permission": "PERMISSION_GRANTED"}],
    }));
    server.customers().await.upsert_customer(request).await.expect("creating a customer");
}

async fn lookup(server: &Server, kind: &str, value: &str) -> LookupResponse {
    let request: LookupRequest = message(json!({"identity": identity(kind, value)}));
    server.customers().await.lookup(request).await.expect("a look-up").into_inner()
}

async fn desk(server: &Server, who: Value) -> DecideResponse {
    let question = json!({"identities": [who], "placements": [{"placement": "agent_desktop"}], "view": "VIEW_AGENT"});
    server.decide(question).await.expect("an answer")
}

async fn watch(server: &Server, who: Value) -> Result<Streaming<WatchCustomerResponse>, Status> {
    let request: WatchCustomerRequest = message(json!({"identities": [who]}));
    Ok(server.customers().await.watch_customer(request).await?.into_inner())
}

/// The next change, which must come soon.
async fn next(changes: &mut Streaming<WatchCustomerResponse>) -> WatchCustomerResponse {
    let change = tokio::time::timeout(10 * SOON, changes.message()).await.expect("a change in time");
    change.expect("no error").expect("a change")
}

fn did(event: &str, id: &str, who: &Value) -> Value {
    json!({"eventId": id, "source": "desk", "customer": {"identities": [who], "type": event, "channel": "web"}})
}

async fn record(server: &Server, event: Value) {
    let request: RecordRequest = message(json!({"events": [event]}));
    let reply = server.events().await.record(request).await.expect("a reply").into_inner();
    assert!(reply.results.iter().all(|result| result.ack != 0), "{reply:?}");
}

#[tokio::test]
async fn an_agent_goes_from_the_number_to_the_next_action_in_one_call() {
    // one of its own: what others decline changes the order
    let server = Server::start(&Arc::new(Place::new()));
    let number = "+447700900101";
    customer(&server, "desk-story-12748", number, json!({"first_name": "Beatrice", "country": "GB"})).await;

    let found = lookup(&server, "phone", "+44 7700 900-101").await;
    assert_eq!((found.r#match(), found.matches.len(), found.more), (Match::Known, 1, false));
    let masked = &found.matches[0];
    let shown: Vec<(&str, &str)> = masked.identities.iter().map(|i| (i.r#type.as_str(), i.value.as_str())).collect();
    for wanted in [("phone", "***0101"), ("customer_id", "***748"), ("email", "d***@s***.org")] {
        assert!(shown.contains(&wanted), "{shown:?}");
    }
    assert_eq!(masked.attributes.len(), 1, "{masked:?}");
    assert_eq!(masked.attributes["first_name"], "B***");
    assert!(masked.first_seen.is_some() && masked.last_seen.is_some());

    // from here on the caller is known by the match alone
    let who = identity("match", &masked.match_token);
    let view = server.view("match", &masked.match_token).await.expect("the one view");
    assert!(view.identities.iter().any(|i| i.value == "desk-story-12748"));
    let mut changes = watch(&server, who.clone()).await.expect("watching");
    assert_eq!(next(&mut changes).await.customer.expect("the view").identities, view.identities);

    let answer = desk(&server, who.clone()).await;
    assert_eq!(answer.r#match(), Match::Known);
    assert_eq!(offers_of(&answer, "agent_desktop"), ["upgrade", "accessory", "newsletter"]);
    let first = &answer.placements[0].presentations[0];
    assert_eq!(first.agent.as_ref().expect("for the agent").talk_track, "May I offer you an upgrade?");

    let request: RespondRequest = message(json!({
        "presentationToken": first.presentation_token,
        "outcome": "OUTCOME_TYPE_DECLINE",
        "reasonCode": "too_expensive",
        "agentId": "agent-7",
        "callId": "call-42",
        "note": "asked for a cheaper one",
        "view": "VIEW_AGENT",
    }));
    let responded = server.decisions().await.respond(request).await.expect("an answer").into_inner();
    let again = responded.decision.expect("the next best action");
    assert_eq!(again.r#match(), Match::Known);
    assert_eq!(offers_of(&again, "agent_desktop"), ["accessory", "newsletter", "thanks"]);

    let change = next(&mut changes).await;
    let declined = answers(&change).into_iter().find(|a| a.outcome() == OutcomeType::Decline).expect("the decline");
    let kept = [&declined.offer, &declined.channel, &declined.reason_code, &declined.agent_id, &declined.call_id];
    assert_eq!(kept, ["upgrade", "call_centre", "too_expensive", "agent-7", "call-42"]);
    assert_eq!((declined.note.as_str(), &declined.decision_id), ("asked for a cheaper one", &answer.decision_id));
    let view = change.customer.expect("the view after it");
    assert_eq!(view.interactions[0].reason_code, "too_expensive");

    // a match is for reading
    let write: UpsertCustomerRequest = message(json!({"identities": [who], "attributes": {"country": "DE"}}));
    let refused = server.customers().await.upsert_customer(write).await.expect_err("a match writes nothing");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// What is only for a verified person, beside what an agent may use to ask.
const VERIFIED: &str = r#"
attributes:
  - { id: account, type: string, pii: true, assurance: verified }
  - { id: gender, type: enum, values: [female, male], pii: true }
  - { id: retired, type: bool, pii: true }
"#;

#[tokio::test]
async fn a_look_up_shows_nothing_that_is_for_a_verified_person() {
    let place = Arc::new(Place::new());
    place.write_rule("verified.yaml", VERIFIED);
    let server = Server::start(&place);
    let known = json!({"first_name": "Beatrice", "account": "Barclays", "gender": "female", "retired": true});
    customer(&server, "12748", "+447700900111", known).await;
    let found = lookup(&server, "phone", "+447700900111").await;
    let masked = &found.matches[0];
    let mut shown: Vec<(&str, &str)> = masked.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    shown.sort_unstable();
    assert_eq!(shown, [("first_name", "B***"), ("gender", "***"), ("retired", "***")]);
    let id = masked.identities.iter().find(|i| i.r#type == "customer_id").expect("the id");
    assert_eq!(id.value, "***");
}

#[tokio::test]
async fn who_called_before_they_said_who_they_are_is_one_customer() {
    let server = Server::shared();
    let phone = identity("phone", "+447700900808");
    let forbid: SetDoNotContactRequest =
        message(json!({"identities": [phone], "doNotContact": true, "reason": "asked on the phone"}));
    server.customers().await.set_do_not_contact(forbid).await.expect("forbidding contact");
    let answer = desk(&server, phone.clone()).await;
    let declined: RespondRequest = message(json!({
        "presentationToken": answer.placements[0].presentations[0].presentation_token,
        "outcome": "OUTCOME_TYPE_DECLINE", "reasonCode": "not_interested",
    }));
    server.decisions().await.respond(declined).await.expect("a decline on the phone");
    // nobody has the id yet, and who called is known by it already
    let who = json!([phone, identity("customer_id", "desk-later")]);
    let question = json!({"identities": who, "placements": [{"placement": "home_hero"}]});
    assert_eq!(server.decide(question).await.expect("an answer").r#match(), Match::Known);
    let named: UpsertCustomerRequest = message(json!({"identities": who, "attributes": {"country": "GB"}}));
    let reply = server.customers().await.upsert_customer(named).await.expect("the id that comes later").into_inner();
    assert!(!reply.created);
    let view = server.view("customer_id", "desk-later").await.expect("the customer");
    assert!(view.do_not_contact && view.identities.len() == 2, "{view:?}");
    assert!(view.interactions.iter().any(|one| one.reason_code == "not_interested"), "{view:?}");
    // the next one to share the phone is somebody else
    customer(&server, "desk-later-2", "+447700900808", json!({})).await;
    assert!(!server.view("customer_id", "desk-later-2").await.expect("the other").do_not_contact);
    assert!(server.view("customer_id", "desk-later").await.expect("the first").do_not_contact);
}

#[tokio::test]
async fn a_visitor_who_is_known_decides_beside_a_shared_phone() {
    let server = Server::shared();
    let number = "+447700900909";
    for id in ["desk-visit-a", "desk-visit-b"] {
        customer(&server, id, number, json!({})).await;
    }
    let mut page =
        json!({"placements": [{"placement": "home_hero"}], "pageConsent": {"profiling": "PERMISSION_GRANTED"}});
    let first = server.decide(page.clone()).await.expect("a page");
    page["visitorId"] = json!(first.visitor_id);
    page["identities"] = json!([identity("phone", number)]);
    // nobody is the visitor yet
    assert_eq!(server.decide(page.clone()).await.expect("a page").r#match(), Match::Ambiguous);
    let token = &first.placements[0].presentations[0].presentation_token;
    let seen = json!({"visitorId": first.visitor_id, "events": [
        {"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_IMPRESSION"}},
    ]});
    server.events().await.record(message::<RecordRequest>(seen)).await.expect("a reply");
    assert_eq!(server.decide(page.clone()).await.expect("a page").r#match(), Match::Known);
    page["identities"] = json!([identity("phone", number), identity("customer_id", "desk-visit-b")]);
    assert_eq!(server.decide(page).await.expect("a page").r#match(), Match::Known);
}

#[tokio::test]
async fn what_the_agent_adds_belongs_to_the_answer() {
    let server = Server::shared();
    customer(&server, "desk-note", "+447700900010", json!({})).await;
    let who = identity("customer_id", "desk-note");
    let answer = desk(&server, who).await;
    let respond = |at: usize, request_id: &str, note: &str, agent: &str| -> RespondRequest {
        message(json!({
            "presentationToken": answer.placements[0].presentations[at].presentation_token,
            "outcome": "OUTCOME_TYPE_DECLINE", "reasonCode": "not_interested", "requestId": request_id,
            "note": note, "agentId": agent, "callId": "call-1", "view": "VIEW_AGENT",
        }))
    };
    let mut client = server.decisions().await;
    let first = client.respond(respond(0, "desk-note-1", "asked twice", "agent-7")).await.expect("an answer");
    let again = client.respond(respond(0, "desk-note-1", "asked twice", "agent-7")).await.expect("the same answer");
    let (first, again) = (first.into_inner(), again.into_inner());
    assert!(!first.duplicate && again.duplicate && first.decision == again.decision);
    for (note, agent) in [("another note", "agent-7"), ("asked twice", "agent-8"), ("", "agent-7")] {
        let refused = client.respond(respond(0, "desk-note-1", note, agent)).await.expect_err("another body");
        assert_eq!(refused.code(), Code::AlreadyExists, "{note} {agent}");
    }
    // without a request id the presentation and the answer are the call
    let first = client.respond(respond(1, "", "the first note", "agent-7")).await.expect("an answer").into_inner();
    let again = client.respond(respond(1, "", "another note", "agent-8")).await.expect("the same answer").into_inner();
    assert!(!first.duplicate && again.duplicate && first.decision == again.decision);
}

fn answers(change: &WatchCustomerResponse) -> Vec<Answered> {
    let answered = change.happenings.iter().filter_map(|happening| match &happening.kind {
        Some(Kind::Answered(answered)) => Some(answered.clone()),
        _ => None,
    });
    answered.collect()
}

#[tokio::test]
async fn two_people_share_a_phone_and_neither_shows_by_it() {
    let server = Server::shared();
    let number = "+447700900202";
    customer(&server, "desk-shared-anna", number, json!({"first_name": "Annabel", "country": "GB"})).await;
    assert_eq!(desk(&server, identity("phone", number)).await.r#match(), Match::Known);
    customer(&server, "desk-shared-bert", number, json!({"first_name": "Bertram", "member": true})).await;
    for id in ["desk-shared-anna", "desk-shared-bert"] {
        assert!(server.view("customer_id", id).await.is_some(), "{id}");
    }

    let answer = desk(&server, identity("phone", number)).await;
    assert_eq!(answer.r#match(), Match::Ambiguous);
    let text = serde_json::to_string(&answer).expect("JSON");
    for secret in ["Annabel", "Bertram", "desk-shared", "900202", "shop.example.org"] {
        assert!(!text.contains(secret), "{secret} leaks in {text}");
    }
    // marketing needs to know whom it speaks to
    assert!(offers_of(&answer, "agent_desktop").iter().all(|offer| offer == "thanks"), "{text}");
    for who in [identity("phone", number)] {
        let request: GetCustomerRequest = message(json!({"identities": [who.clone()]}));
        let view = server.customers().await.get_customer(request).await;
        assert_eq!(view.expect_err("no view of two").code(), Code::FailedPrecondition);
        assert_eq!(watch(&server, who).await.expect_err("no watch of two").code(), Code::FailedPrecondition);
    }

    let found = lookup(&server, "phone", number).await;
    assert_eq!((found.r#match(), found.matches.len(), found.more), (Match::Ambiguous, 2, false));
    let letters: Vec<&str> = found.matches.iter().map(|m| m.attributes["first_name"].as_str()).collect();
    assert!(letters.contains(&"A***") && letters.contains(&"B***"), "{letters:?}");
    let text = serde_json::to_string(&found).expect("JSON");
    for secret in ["Annabel", "Bertram", "desk-shared", "77009", "shop.example"] {
        assert!(!text.contains(secret), "{secret} leaks in {text}");
    }
    // the one whom the agent picks is the one
    for masked in &found.matches {
        let view = server.view("match", &masked.match_token).await.expect("the one view");
        let first_name = serde_json::to_string(&view.attributes["first_name"]).expect("JSON");
        assert!(first_name.contains(&masked.attributes["first_name"][..1]), "{first_name}");
        assert_eq!(desk(&server, identity("match", &masked.match_token)).await.r#match(), Match::Known);
    }
    // beside a unique identity the phone is only one more thing known
    let question = json!({
        "identities": [identity("phone", number), identity("customer_id", "desk-shared-bert")],
        "placements": [{"placement": "members_corner"}],
    });
    let answer = server.decide(question).await.expect("an answer");
    assert_eq!(
        (answer.r#match(), offers_of(&answer, "members_corner")),
        (Match::Known, vec!["members_only".to_owned()])
    );
    let write: UpsertCustomerRequest =
        message(json!({"identities": [identity("phone", number)], "attributes": {"country": "DE"}}));
    let refused = server.customers().await.upsert_customer(write).await.expect_err("whose is it?");
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("customers share"), "{refused}");
}

#[tokio::test]
async fn the_five_seen_last_are_shown_first() {
    let server = Server::shared();
    let number = "+447700900303";
    for n in 0..7 {
        customer(&server, &format!("desk-many-{n}"), number, json!({})).await;
    }
    record(&server, did("page_view", "desk-many", &identity("customer_id", "desk-many-2"))).await;
    let found = lookup(&server, "phone", number).await;
    assert_eq!((found.matches.len(), found.more), (5, true));
    let view = server.view("match", &found.matches[0].match_token).await.expect("the one view");
    assert!(view.identities.iter().any(|i| i.value == "desk-many-2"), "{view:?}");
    let seen: Vec<_> = found.matches.iter().map(|m| m.last_seen.map(|at| (at.seconds, at.nanos))).collect();
    assert!(seen.is_sorted_by(|a, b| a >= b), "{seen:?}");
    let again = lookup(&server, "phone", number).await;
    let shown = |found: &LookupResponse| found.matches.iter().map(|m| m.identities.clone()).collect::<Vec<_>>();
    assert_eq!(shown(&again), shown(&found));
}

#[tokio::test]
async fn nobody_is_behind_an_unknown_or_forged_number() {
    let server = Server::shared();
    let unknown = lookup(&server, "phone", "+447700900999").await;
    assert_eq!((unknown.r#match(), unknown.matches.len(), unknown.more), (Match::New, 0, false));
    let answer = desk(&server, identity("phone", "+447700900999")).await;
    assert_eq!(answer.r#match(), Match::New);
    assert!(server.view("phone", "+447700900999").await.is_none());
    let refused = watch(&server, identity("phone", "+447700900999")).await.expect_err("nobody to watch");
    assert_eq!(refused.code(), Code::NotFound);
    let reply = web::post(
        server.address,
        "/v1/customers:watch",
        &json!({"identities": [identity("email", "no@body.example")]}),
    );
    assert_eq!((reply.status, reply.json()["code"].clone()), (404, json!(5)));

    for (body, field) in [
        (json!({}), "identity"),
        (json!({"identity": identity("telephone", "1")}), "identity.type"),
        (json!({"identity": identity("phone", "0770")}), "identity.value"),
        (json!({"identity": identity("match", "AAAA")}), "identity"),
    ] {
        let reply = web::post(server.address, "/v1/customers:lookup", &body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        assert!(reply.body.contains(&format!("\"field\":\"{field}")), "{body}: {}", reply.body);
    }
    let altered: GetCustomerRequest = message(json!({"identities": [identity("match", "AAAA")]}));
    let altered = server.customers().await.get_customer(altered).await;
    assert_eq!(altered.expect_err("no token of ours").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_happens_on_the_web_shows_within_a_second() {
    let server = Server::shared();
    customer(&server, "desk-live", "+447700900404", json!({})).await;
    let who = identity("customer_id", "desk-live");
    let mut changes = watch(&server, who.clone()).await.expect("watching");
    let mut lines = Lines::watch(server.address, &who);
    for first in [next(&mut changes).await, lines.next()] {
        assert!(first.happenings.is_empty() && !first.missed && first.customer.is_some(), "{first:?}");
    }

    // a click on a page that another process shows
    let page =
        server.decide(json!({"identities": [who], "placements": [{"placement": "home_hero"}]})).await.expect("a page");
    let token = page.placements[0].presentations[0].presentation_token.clone();
    let mut slowest = Duration::ZERO;
    let started = Instant::now();
    record(&server, json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_CLICK"}})).await;
    for (change, took) in [(next(&mut changes).await, started.elapsed()), (lines.next(), started.elapsed())] {
        slowest = slowest.max(took);
        let click = answers(&change).remove(0);
        assert_eq!((click.offer.as_str(), click.outcome()), ("welcome", OutcomeType::Click));
        let view = change.customer.expect("the view after it");
        assert_eq!(view.interactions[0].outcomes, [OutcomeType::Click as i32]);
    }

    let started = Instant::now();
    let purchase = json!({"eventId": "desk-live-1", "source": "desk", "customer": {
        "identities": [who], "type": "purchase", "channel": "web", "amount": {"amount": "12.50", "currency": "GBP"},
        "items": [{"item": "desk-mug", "quantity": 2}],
    }});
    record(&server, purchase).await;
    for (change, took) in [(next(&mut changes).await, started.elapsed()), (lines.next(), started.elapsed())] {
        slowest = slowest.max(took);
        let [happening] = &change.happenings[..] else { panic!("one happening: {change:?}") };
        let Some(Kind::Did(did)) = &happening.kind else { panic!("a purchase: {change:?}") };
        assert_eq!(
            (did.r#type.as_str(), did.channel.as_str(), &did.items[..]),
            ("purchase", "web", &["desk-mug".to_owned()][..])
        );
        assert_eq!(did.amount.as_ref().expect("an amount").amount, "12.50");
        assert_eq!(change.customer.expect("the view after it").events[0].count, 1);
    }
    // a pause of the machine is not the service's: the best of three counts
    for again in 1..MEASURED_MAX {
        if slowest < SOON {
            break;
        }
        let started = Instant::now();
        record(&server, did("page_view", &format!("desk-live-again-{again}"), &who)).await;
        for change in [next(&mut changes).await, lines.next()] {
            assert_eq!(change.happenings.len(), 1, "{change:?}");
        }
        slowest = started.elapsed();
    }
    assert!(slowest < SOON, "{slowest:?}, {MEASURED_MAX} times");

    server.customer("desk-live", json!({"country": "GB"})).await;
    let forbid: SetDoNotContactRequest = message(json!({"identities": [who], "doNotContact": true, "reason": "asked"}));
    server.customers().await.set_do_not_contact(forbid).await.expect("forbidding contact");
    let mut changed = Vec::new();
    while changed.len() < 2 {
        let change = lines.next();
        changed.extend(change.happenings.iter().filter_map(|happening| happening.kind.clone()));
    }
    assert_eq!(changed, [Kind::Changed(Changed::Upserted as i32), Kind::Changed(Changed::DoNotContact as i32)]);
    // another customer's day is not shown
    record(&server, did("page_view", "desk-live-2", &identity("customer_id", "desk-somebody-else"))).await;
    record(&server, did("app_opened", "desk-live-3", &who)).await;
    let change = lines.next();
    assert!(matches!(&change.happenings[0].kind, Some(Kind::Did(did)) if did.r#type == "app_opened"), "{change:?}");
    drop((changes, lines));
    let gone = || async { metric(&server, "rapport_watchers").filter(|watchers| *watchers == 0.0) };
    eventually("watchers that went to be forgotten", gone).await;
}

/// A metric's value.
fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = web::get(server.private, "/metrics", &[]).body;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn a_slow_reader_learns_that_it_missed_something() {
    // what the transport holds back for a reader that reads nothing is filled long before
    const EVENTS_MAX: usize = 10_000;
    const WINDOW_BYTES: u32 = 65_535;
    let server = Server::start(&Arc::new(Place::new()));
    customer(&server, "desk-slow", "+447700900505", json!({})).await;
    let who = identity("customer_id", "desk-slow");
    // so that every view is large
    for batch in 0..2 {
        let events: Vec<Value> = (0..100)
            .map(|n| {
                let mut event = did("product_view", &format!("desk-slow-item-{batch}-{n}"), &who);
                event["customer"]["items"] = json!([{"item": format!("desk-slow-with-a-long-name-{batch}-{n}")}]);
                event
            })
            .collect();
        server.events().await.record(message::<RecordRequest>(json!({"events": events}))).await.expect("a reply");
    }
    let address = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let slow = address.initial_stream_window_size(WINDOW_BYTES).connect().await.expect("connecting");
    let request: WatchCustomerRequest = message(json!({"identities": [who]}));
    let changes = CustomerServiceClient::new(slow).watch_customer(request).await.expect("watching");
    let mut changes = changes.into_inner();
    let mut events = server.events().await;
    let behind = || metric(&server, "rapport_watches_behind_total").is_some_and(|behind| behind > 0.0);
    let mut sent = 0;
    while !behind() {
        assert!(sent < EVENTS_MAX, "nobody is behind after {sent} events");
        let batch: Vec<Value> = (sent..sent + 20).map(|n| did("page_view", &format!("desk-slow-{n}"), &who)).collect();
        sent += batch.len();
        events
            .record(message::<RecordRequest>(json!({"events": batch})))
            .await
            .expect("a writer that waits for nobody");
    }
    let (mut told, mut missed) = (0, false);
    loop {
        let change = next(&mut changes).await;
        told += change.happenings.len();
        missed |= change.missed;
        let views = change.customer.expect("a view").events;
        if views.iter().any(|total| total.r#type == "page_view" && total.count == sent as u64) {
            break;
        }
    }
    assert!(missed && told < sent, "{told} of {sent} happenings were told");
}

#[tokio::test]
async fn watches_are_bounded_and_end_with_the_service() {
    let server = Server::start(&Arc::new(Place::new()));
    customer(&server, "desk-end", "+447700900606", json!({})).await;
    let who = identity("customer_id", "desk-end");
    let mut all = Vec::new();
    for _ in 0..rapport::store::WATCHERS_OF_ONE_MAX {
        all.push(watch(&server, who.clone()).await.expect("watching"));
    }
    let refused = watch(&server, who.clone()).await.expect_err("too many");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(all.pop());
    let mut lines = eventually("room for one more", || async { Lines::try_watch(server.address, &who) }).await;
    lines.next();
    server.terminate();
    assert!(lines.ended());
    for mut changes in all {
        next(&mut changes).await;
        let end = tokio::time::timeout(10 * SOON, changes.message()).await.expect("an end in time");
        assert_eq!(end.expect("a clean end"), None);
    }
}

#[tokio::test]
async fn sharing_survives_a_kill() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let number = "+447700900707";
    for id in ["desk-kill-a", "desk-kill-b"] {
        customer(&server, id, number, json!({})).await;
    }
    let before = lookup(&server, "phone", number).await;
    for _ in 0..2 {
        server.kill();
        server = Server::start(&place);
        let after = lookup(&server, "phone", number).await;
        let shown = |found: &LookupResponse| found.matches.iter().map(|m| m.identities.clone()).collect::<Vec<_>>();
        assert_eq!((after.r#match(), shown(&after)), (Match::Ambiguous, shown(&before)));
        assert_eq!(desk(&server, identity("phone", number)).await.r#match(), Match::Ambiguous);
        // a token of before the kill still names whom it named
        assert!(server.view("match", &before.matches[0].match_token).await.is_some());
    }
}

/// How long an answer and the next best action take on loopback. The promise is
/// one of release builds (`cargo test --release`); of a build for tests only a
/// gross mistake fails.
#[tokio::test]
async fn the_next_best_action_comes_at_once() {
    const CALLS: usize = 200;
    let server = Server::start(&Arc::new(Place::new()));
    let mut client = server.decisions().await;
    let mut took = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        let id = format!("desk-speed-{n}");
        server.customer(&id, json!({})).await;
        let answer = desk(&server, identity("customer_id", &id)).await;
        let declined = &answer.placements[0].presentations[0];
        let request: RespondRequest = message(json!({
            "presentationToken": declined.presentation_token,
            "outcome": "OUTCOME_TYPE_DECLINE", "reasonCode": "not_interested", "view": "VIEW_AGENT",
        }));
        let started = Instant::now();
        let again = client.respond(request).await.expect("an answer").into_inner();
        took.push(started.elapsed());
        let offers = offers_of(&again.decision.expect("an answer"), "agent_desktop");
        assert!(offers.len() == 3 && !offers.contains(&declined.offer), "{offers:?}");
    }
    took.sort_unstable();
    let (half, most) = (took[CALLS / 2], took[CALLS * 99 / 100]);
    println!("respond with the next best action: p50 {half:?}, p99 {most:?} over {CALLS} calls");
    if cfg!(debug_assertions) {
        assert!(half < SOON, "p50 {half:?}");
    } else {
        assert!(most <= RESPOND_P99_MAX * HEADROOM, "p99 {most:?}");
    }
}

/// The lines of a watch over HTTP/1.1.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn watch(address: SocketAddr, who: &Value) -> Self {
        Self::try_watch(address, who).expect("a stream of lines")
    }

    /// `None` when it is refused.
    fn try_watch(address: SocketAddr, who: &Value) -> Option<Self> {
        let mut stream = TcpStream::connect(address).expect("connecting");
        stream.set_read_timeout(Some(10 * SOON)).expect("a read timeout");
        let body = json!({"identities": [who]}).to_string();
        let head = format!(
            "POST /v1/customers:watch HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("asking");
        let mut lines = Self(BufReader::new(stream));
        let status = lines.line().expect("a status");
        let mut headers = Vec::new();
        while let Some(header) = lines.line().filter(|line| !line.is_empty()) {
            headers.push(header.to_lowercase());
        }
        if !status.contains("200") {
            return None;
        }
        assert!(headers.contains(&"content-type: application/x-ndjson".to_owned()), "{headers:?}");
        Some(lines)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("a line in time");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next message; the sizes of chunks and empty lines are skipped.
    fn next(&mut self) -> WatchCustomerResponse {
        loop {
            let line = self.line().expect("a line");
            if line.starts_with('{') {
                return serde_json::from_str(&line).expect("a message");
            }
        }
    }

    /// Whether nothing but the end follows.
    fn ended(&mut self) -> bool {
        while let Some(line) = self.line() {
            if line.starts_with('{') {
                return false;
            }
            if line == "0" {
                return true;
            }
        }
        true
    }
}
