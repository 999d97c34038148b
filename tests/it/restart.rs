//! What a killed service has answered holds when it is back.

use std::sync::Arc;

use prost::Message;
use rapport::proto::{
    DecideRequest, DecideResponse, ExplainRequest, OutcomeType, Reason, RecordRequest, RecordStatus, RespondRequest,
    decision_service_client::DecisionServiceClient,
};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tonic::{Code, transport::Channel};

use crate::{
    harness::{Place, Server, eventually, message, offers_of},
    web,
};

/// An offer with a budget over all customers.
const BUDGET: &str = r#"
placements:
  - { id: budget_slot, channel: web, slots: 1 }
offers:
  - id: budgeted
    name: Five times in all
    purpose: marketing
    issue: grow
    group: seasonal
    value: 5
    budget: { max: 5, window: 30d, exact: true }
    placements: [budget_slot]
    open: false
    treatments:
      web: { en: { text: "Five times only", links: { shop: "https://shop.example/five" } } }
"#;
const BUDGET_MAX: usize = 5;
const CUSTOMERS: usize = 16;
const CONCURRENT: usize = 64;

fn question(customer: &str, placement: &str) -> Value {
    json!({
        "identities": [{"type": "customer_id", "value": customer}],
        "placements": [{"placement": placement}],
    })
}

/// Decisions are recorded behind their answers; waits for one.
async fn stored(server: &Server, decision_id: &str) {
    eventually("the stored decision", || async {
        let request = ExplainRequest { decision_id: decision_id.to_owned(), offer: String::new() };
        match server.decisions().await.explain(request).await {
            Ok(reply) => Some(reply.into_inner()),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("explaining: {status}"),
        }
    })
    .await;
}

async fn outcomes(server: &Server, tokens: &[String], kind: &str) -> Vec<RecordStatus> {
    let events: Vec<Value> =
        tokens.iter().map(|token| json!({"outcome": {"presentationToken": token, "type": kind}})).collect();
    let request: RecordRequest = message(json!({"events": events}));
    let reply = server.events().await.record(request).await.expect("a reply").into_inner();
    reply.results.iter().map(|r| r.status()).collect()
}

#[tokio::test]
async fn a_request_id_keeps_its_bytes() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    server.customer("restart-bytes", json!({"first_name": "Ann"})).await;
    let asked: Vec<Value> = [
        json!({"placements": [{"placement": "linked_slot"}, {"placement": "exact_slot"}, {"placement": "nowhere"}]}),
        json!({"placements": [{"placement": "agent_desktop"}], "view": "VIEW_FULL", "trace": "TRACE_FULL"}),
        json!({"placements": [{"placement": "side_bar"}], "context": {"basket_value": 30}, "languages": ["de"]}),
        json!({}),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, mut question)| {
        question["identities"] = json!([{"type": "customer_id", "value": "restart-bytes"}]);
        question["requestId"] = json!(format!("restart-bytes-{number}"));
        question
    })
    .collect();
    let mut before: Vec<DecideResponse> = Vec::new();
    for question in &asked {
        before.push(server.decide(question.clone()).await.expect("an answer"));
    }
    for answer in &before {
        stored(&server, &answer.decision_id).await;
    }
    // what the customer did since must not change the answer
    server.customer("restart-bytes", json!({"first_name": "Bea", "country": "GB"})).await;

    for _ in 0..2 {
        server.kill();
        server = Server::start(&place);
        for (question, before) in asked.iter().zip(&before) {
            let after = server.decide(question.clone()).await.expect("an answer");
            assert_eq!(&after, before, "{question}");
            assert_eq!(after.encode_to_vec(), before.encode_to_vec(), "{question}");
        }
    }
    let mut other = asked[0].clone();
    other["placements"] = json!([{"placement": "home_hero"}]);
    let refused = server.decide(other).await.expect_err("another body is refused");
    assert_eq!(refused.code(), Code::AlreadyExists);
    // the limit is 3: the repetitions reserved nothing
    let mut granted = 0;
    for _ in 0..4 {
        let answer = server.decide(question("restart-bytes", "exact_slot")).await.expect("an answer");
        granted += offers_of(&answer, "exact_slot").len();
    }
    assert_eq!(granted, 2);
}

#[tokio::test]
async fn tokens_and_links_stay_good() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    server.customer("restart-tokens", json!({})).await;
    let answer = server.decide(question("restart-tokens", "linked_slot")).await.expect("an answer");
    let shown = answer.placements[0].presentations[0].clone();
    stored(&server, &answer.decision_id).await;
    server.kill();
    let server = Server::start(&place);

    let tokens = [shown.presentation_token.clone()];
    assert_eq!(outcomes(&server, &tokens, "OUTCOME_TYPE_IMPRESSION").await, [RecordStatus::Recorded]);
    let path = &shown.link[shown.link.find("/c/").expect("a traceable link")..];
    let reply = web::get(server.address, path, &[]);
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://shop.example/linked")));
    let respond = RespondRequest {
        presentation_token: shown.presentation_token.clone(),
        outcome: OutcomeType::Accept.into(),
        ..RespondRequest::default()
    };
    let reply = server.decisions().await.respond(respond).await.expect("the answer is taken").into_inner();
    assert!(!reply.duplicate);
    let view = server.view("customer_id", "restart-tokens").await.expect("the customer");
    let mine: Vec<_> = view.interactions.iter().filter(|i| i.decision_id == answer.decision_id).collect();
    assert_eq!(mine.len(), 1, "{mine:?}");
    let wanted = [OutcomeType::Impression, OutcomeType::Click, OutcomeType::Accept].map(i32::from);
    assert_eq!(mine[0].outcomes, wanted);
}

#[tokio::test]
async fn a_decline_is_respected_after_a_kill() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    server.customer("restart-decline", json!({})).await;
    let answer = server.decide(question("restart-decline", "agent_desktop")).await.expect("an answer");
    let best = &answer.placements[0].presentations[0];
    assert_eq!(best.offer, "upgrade");
    stored(&server, &answer.decision_id).await;
    let respond = RespondRequest {
        presentation_token: best.presentation_token.clone(),
        outcome: OutcomeType::Decline.into(),
        reason_code: "not_interested".to_owned(),
        agent_id: "agent-7".to_owned(),
        call_id: "call-42".to_owned(),
        request_id: "restart-decline-1".to_owned(),
        ..RespondRequest::default()
    };
    let reply = server.decisions().await.respond(respond.clone()).await.expect("the answer is taken").into_inner();
    let ranked_again = reply.decision.expect("the re-ranked answer");
    stored(&server, &ranked_again.decision_id).await;
    server.kill();
    let server = Server::start(&place);

    let mut question = question("restart-decline", "agent_desktop");
    question["consistencyToken"] = json!(reply.consistency_token);
    question["trace"] = json!("TRACE_FULL");
    let again = server.decide(question).await.expect("an answer");
    assert!(again.degraded.is_empty(), "{:?}", again.degraded);
    assert!(!offers_of(&again, "agent_desktop").contains(&"upgrade".to_owned()));
    let trace = again.trace.expect("a trace");
    let verdict = trace.candidates.iter().find(|c| c.offer == "upgrade" && c.channel == "call_centre");
    assert_eq!(verdict.map(|v| v.reason()), Some(Reason::RecentlyDeclined));
    let repeated = server.decisions().await.respond(respond).await.expect("the answer is taken").into_inner();
    assert!(repeated.duplicate);
    assert_eq!(repeated.decision, Some(ranked_again));
}

async fn decide_at_once(server: &Server) -> Vec<DecideResponse> {
    let barrier = Arc::new(Barrier::new(CONCURRENT));
    let channels: [Channel; 2] = [server.channel().await, server.channel().await];
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|task| {
            let mut client = DecisionServiceClient::new(channels[task % channels.len()].clone());
            let customer = format!("restart-budget-{}", task % CUSTOMERS);
            let (request, barrier) =
                (message::<DecideRequest>(question(&customer, "budget_slot")), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                client.decide(request).await.expect("an answer").into_inner()
            })
        })
        .collect();
    let mut granted = Vec::new();
    for task in tasks {
        let answer = task.await.expect("the task ends");
        if !answer.placements[0].presentations.is_empty() {
            granted.push(answer);
        }
    }
    granted
}

fn tokens_of(answers: &[DecideResponse]) -> Vec<String> {
    answers.iter().map(|a| a.placements[0].presentations[0].presentation_token.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_never_overdrawn() {
    let place = Arc::new(Place::new());
    place.write_rule("budget.yaml", BUDGET);
    let mut server = Server::start(&place);
    for customer in 0..CUSTOMERS {
        server.customer(&format!("restart-budget-{customer}"), json!({})).await;
    }
    let mut granted = decide_at_once(&server).await;
    assert_eq!(granted.len(), BUDGET_MAX);
    let tokens = tokens_of(&granted);
    assert_eq!(outcomes(&server, &tokens[..2], "OUTCOME_TYPE_IMPRESSION").await, [RecordStatus::Recorded; 2]);
    assert_eq!(decide_at_once(&server).await.len(), 0, "a presentation that was seen is spent");
    assert_eq!(outcomes(&server, &tokens[2..3], "OUTCOME_TYPE_CANCELLED").await, [RecordStatus::Recorded]);
    let freed = decide_at_once(&server).await;
    assert_eq!(freed.len(), 1, "a cancelled one is free again");
    granted.extend(freed);
    for answer in &granted {
        stored(&server, &answer.decision_id).await;
    }

    for _ in 0..2 {
        server.kill();
        server = Server::start(&place);
        assert_eq!(decide_at_once(&server).await.len(), 0, "after a restart");
    }
    assert_eq!(outcomes(&server, &tokens[3..4], "OUTCOME_TYPE_CANCELLED").await, [RecordStatus::Recorded]);
    assert_eq!(decide_at_once(&server).await.len(), 1, "a cancelled one is free again after a restart");
    assert_eq!(decide_at_once(&server).await.len(), 0);
}
