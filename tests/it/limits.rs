//! Limits hold under 64 simultaneous questions for one customer.

use std::sync::Arc;

use rapport::proto::{
    DecideRequest, DecideResponse, PlacementStatus, RecordRequest, RecordStatus, RespondRequest, SilenceReason,
};
use serde_json::{Value, json};

use crate::harness::{Place, Server, message, offers_of};

const CONCURRENT: usize = 64;
/// Of both capped offers of the fixture.
const LIMIT_MAX: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exact_limit_holds() {
    let (server, tokens) = ask_at_once("limits-exact", "exact_slot").await;
    assert_eq!(tokens.len(), LIMIT_MAX);
    confirm(&server, &tokens).await;
    stays_silent(&server, "limits-exact", "exact_slot").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counted_limit_holds_on_one_replica() {
    let (server, tokens) = ask_at_once("limits-counted", "counted_slot").await;
    assert!((1..=LIMIT_MAX).contains(&tokens.len()), "{} were granted", tokens.len());
    confirm(&server, &tokens).await;
}

fn question(customer: &str, placement: &str) -> Value {
    json!({
        "identities": [{"type": "customer_id", "value": customer}],
        "placements": [{"placement": placement}],
    })
}

/// Asks 64 times at once; answers the tokens of what was granted.
async fn ask_at_once(customer: &str, placement: &str) -> (Arc<Server>, Vec<String>) {
    let server = Server::shared();
    server.customer(customer, json!({})).await;
    let barrier = Arc::new(tokio::sync::Barrier::new(CONCURRENT));
    let mut tasks = Vec::with_capacity(CONCURRENT);
    let channels = [server.channel().await, server.channel().await, server.channel().await, server.channel().await];
    for task in 0..CONCURRENT {
        let request: DecideRequest = message(question(customer, placement));
        let barrier = Arc::clone(&barrier);
        let channel = channels[task % channels.len()].clone();
        tasks.push(tokio::spawn(async move {
            let mut client = rapport::proto::decision_service_client::DecisionServiceClient::new(channel);
            barrier.wait().await;
            client.decide(request).await.expect("an answer").into_inner()
        }));
    }
    let mut tokens = Vec::new();
    for task in tasks {
        let answer = task.await.expect("the task ends");
        tokens.extend(answer.placements[0].presentations.iter().map(|p| p.presentation_token.clone()));
    }
    (server, tokens)
}

async fn confirm(server: &Server, tokens: &[String]) {
    let events: Vec<Value> = tokens
        .iter()
        .map(|token| json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_IMPRESSION"}}))
        .collect();
    let request: RecordRequest = message(json!({"events": events}));
    let reply = server.events().await.record(request).await.expect("impressions are taken").into_inner();
    assert!(reply.results.iter().all(|r| r.status() == RecordStatus::Recorded), "{reply:?}");
}

/// What may be said once to a customer, at the desk.
const ONCE: &str = r#"
offers:
  - id: once
    name: Once only
    purpose: marketing
    issue: grow
    group: phone
    value: 25
    limits: [ { max: 1, window: 30d, exact: true } ]
    placements: [agent_desktop]
    open: false
    treatments:
      call_centre: { en: { talk_track: "I may say this once." } }
"#;

#[tokio::test]
async fn an_offer_that_an_answer_keeps_is_not_held_back_by_itself() {
    let place = Arc::new(Place::new());
    place.write_rule("once.yaml", ONCE);
    let server = Server::start(&place);
    server.customer("kept", json!({})).await;
    let first = server.decide(question("kept", "agent_desktop")).await.expect("an answer");
    let offers = offers_of(&first, "agent_desktop");
    assert!(offers.len() > 2 && offers[1] == "once", "{offers:?}");

    let second = decline(&server, &first, 0).await;
    assert_eq!(offers_of(&second, "agent_desktop")[0], "once");
    let third = decline(&server, &second, 1).await;
    assert_eq!(offers_of(&third, "agent_desktop")[0], "once");
    // who asks beside it is told that it is taken
    let other = server.decide(question("kept", "agent_desktop")).await.expect("an answer");
    assert!(!offers_of(&other, "agent_desktop").contains(&"once".to_owned()), "{other:?}");
}

/// Beside the desk, what a mailer sends.
const MAILED: &str = r#"
placements:
  - { id: mail_slot, channel: email, slots: 1 }
offers:
  - id: mailed
    name: Mailed once
    purpose: service
    issue: serve
    group: phone
    value: 5
    limits: [ { max: 1, window: 30d, exact: true } ]
    placements: [mail_slot]
    open: false
    treatments:
      email: { en: { subject: "Once", text: "We write this once." } }
"#;

#[tokio::test]
async fn what_a_mailer_may_hold_is_not_given_again() {
    let place = Arc::new(Place::new());
    place.write_rule("once.yaml", ONCE);
    place.write_rule("mailed.yaml", MAILED);
    let server = Server::start(&place);
    server.customer("mailed", json!({"email_address": "mailed@shop.example.org"})).await;
    let mut both = question("mailed", "agent_desktop");
    both["placements"] = json!([{"placement": "agent_desktop"}, {"placement": "mail_slot"}]);
    let first = server.decide(both).await.expect("an answer");
    assert_eq!(offers_of(&first, "mail_slot"), ["mailed"]);
    assert_eq!(offers_of(&first, "agent_desktop")[1], "once");
    let second = decline(&server, &first, 0).await;
    // what the agent says next takes the place of what was to be said, a mail does not
    assert_eq!(offers_of(&second, "agent_desktop")[0], "once");
    assert!(offers_of(&second, "mail_slot").is_empty(), "{second:?}");
    let third = decline(&server, &second, 1).await;
    assert_eq!(offers_of(&third, "agent_desktop")[0], "once");
    assert!(offers_of(&third, "mail_slot").is_empty(), "{third:?}");
    let sent = &first.placements[1].presentations[0].presentation_token;
    let sent = json!({"outcome": {"presentationToken": sent, "type": "OUTCOME_TYPE_HANDOFF"}});
    let reply = server.events().await.record(message::<RecordRequest>(json!({"events": [sent]}))).await;
    assert_eq!(reply.expect("a reply").into_inner().results[0].status(), RecordStatus::Recorded);
    stays_silent(&server, "mailed", "mail_slot").await;
}

async fn decline(server: &Server, answer: &DecideResponse, at: usize) -> DecideResponse {
    let request: RespondRequest = message(json!({
        "presentationToken": answer.placements[0].presentations[at].presentation_token,
        "outcome": "OUTCOME_TYPE_DECLINE",
        "reasonCode": "not_interested",
    }));
    let reply = server.decisions().await.respond(request).await.expect("the decline is taken").into_inner();
    reply.decision.expect("the answer after it")
}

async fn stays_silent(server: &Server, customer: &str, placement: &str) {
    let answer = server.decide(question(customer, placement)).await.expect("an answer");
    assert_eq!(answer.placements[0].status(), PlacementStatus::Empty);
    assert_eq!(answer.placements[0].silence_reason(), SilenceReason::ContactPolicy);
}
