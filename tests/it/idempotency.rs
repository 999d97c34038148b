//! The same id twice: one effect.

use prost::Message;
use rapport::proto::{DecideRequest, OutcomeType, RecordRequest, RecordStatus, RespondRequest, UpsertCustomerRequest};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    harness::{Server, message},
    web,
};

fn question(request_id: &str, placement: &str) -> Value {
    json!({
        "identities": [{"type": "customer_id", "value": "idempotent"}],
        "placements": [{"placement": placement}],
        "requestId": request_id,
    })
}

#[tokio::test]
async fn the_same_question_gets_the_same_bytes() {
    let server = Server::shared();
    server.customer("idempotent", json!({})).await;
    let first = server.decide(question("same-1", "side_bar")).await.expect("an answer");
    let second = server.decide(question("same-1", "side_bar")).await.expect("an answer");
    assert_eq!(first.encode_to_vec(), second.encode_to_vec());
    let other = server.decide(question("same-2", "side_bar")).await.expect("an answer");
    assert_ne!(first.decision_id, other.decision_id);
}

#[tokio::test]
async fn another_body_under_the_same_id_is_refused() {
    let server = Server::shared();
    server.customer("idempotent", json!({})).await;
    server.decide(question("body-1", "side_bar")).await.expect("an answer");
    let refused = server.decide(question("body-1", "home_hero")).await.expect_err("refused");
    assert_eq!(refused.code(), Code::AlreadyExists);
    let reply = web::post(server.address, "/v1/decide", &question("body-1", "basket_banner"));
    assert_eq!(reply.status, 409, "{}", reply.body);
}

#[tokio::test]
async fn the_same_question_reserves_once() {
    let server = Server::shared();
    server.customer("idempotent-reserves", json!({})).await;
    let ask = |id: String| {
        json!({
            "identities": [{"type": "customer_id", "value": "idempotent-reserves"}],
            "placements": [{"placement": "exact_slot"}],
            "requestId": id,
        })
    };
    for _ in 0..10 {
        let answer = server.decide(ask("reserve-0".to_owned())).await.expect("an answer");
        assert_eq!(answer.placements[0].presentations.len(), 1);
    }
    let mut granted = 0;
    for n in 1..10 {
        let answer = server.decide(ask(format!("reserve-{n}"))).await.expect("an answer");
        granted += answer.placements[0].presentations.len();
    }
    // the limit is 3, one of it went to the first question
    assert_eq!(granted, 2);
}

#[tokio::test]
async fn simultaneous_copies_of_a_question_get_one_answer() {
    let server = Server::shared();
    server.customer("idempotent", json!({})).await;
    let client = server.decisions().await;
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let mut client = client.clone();
        let request: DecideRequest = message(question("at-once", "side_bar"));
        tasks.push(tokio::spawn(async move { client.decide(request).await.expect("an answer").into_inner() }));
    }
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.expect("the task ends").decision_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn an_event_sent_again_changes_nothing() {
    let server = Server::shared();
    let event = |amount: &str| -> RecordRequest {
        message(json!({"events": [{
            "eventId": "idempotent-event",
            "source": "till",
            "time": "2020-05-01T10:00:00Z",
            "customer": {
                "identities": [{"type": "customer_id", "value": "idempotent-buyer"}],
                "type": "purchase",
                "amount": {"amount": amount, "currency": "GBP"},
            },
        }]}))
    };
    let mut client = server.events().await;
    let mut statuses = Vec::new();
    for amount in ["12.50", "12.50", "99.00"] {
        let reply = client.record(event(amount)).await.expect("a reply").into_inner();
        statuses.push(reply.results[0].status());
    }
    assert_eq!(statuses, [RecordStatus::Recorded, RecordStatus::Duplicate, RecordStatus::Conflict]);
    let view = server.view("customer_id", "idempotent-buyer").await.expect("the customer");
    let total = view.events.iter().find(|e| e.r#type == "purchase").expect("the total");
    assert_eq!((total.count, total.amount.as_ref().map(|a| a.amount.as_str())), (1, Some("12.50")));
}

#[tokio::test]
async fn another_value_of_the_same_conversion_is_a_conflict() {
    let server = Server::shared();
    server.customer("idempotent-converts", json!({})).await;
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "idempotent-converts"}],
            "placements": [{"placement": "side_bar"}],
        }))
        .await
        .expect("an answer");
    let token = answer.placements[0].presentations[0].presentation_token.clone();
    let mut client = server.events().await;
    let mut statuses = Vec::new();
    for amount in ["30.00", "30.00", "31.00"] {
        let request: RecordRequest = message(json!({"events": [{"outcome": {
            "presentationToken": token,
            "type": "OUTCOME_TYPE_CONVERSION",
            "value": {"amount": amount, "currency": "GBP"},
        }}]}));
        let reply = client.record(request).await.expect("a reply").into_inner();
        statuses.push(reply.results[0].status());
    }
    assert_eq!(statuses, [RecordStatus::Recorded, RecordStatus::Duplicate, RecordStatus::Conflict]);
}

#[tokio::test]
async fn a_preview_changes_nothing() {
    let server = Server::shared();
    server.customer("idempotent-preview", json!({})).await;
    for _ in 0..10 {
        let answer = server
            .decide(json!({
                "identities": [{"type": "customer_id", "value": "idempotent-preview"}],
                "placements": [{"placement": "exact_slot"}],
                "intent": "INTENT_PREVIEW",
            }))
            .await
            .expect("an answer");
        assert_eq!(answer.placements[0].presentations.len(), 1);
    }
}

#[tokio::test]
async fn nothing_follows_a_preview() {
    let server = Server::shared();
    server.customer("idempotent-look", json!({})).await;
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "idempotent-look"}],
            "placements": [{"placement": "linked_slot"}],
            "intent": "INTENT_PREVIEW",
        }))
        .await
        .expect("an answer");
    let shown = &answer.placements[0].presentations[0];
    let seen: RecordRequest = message(json!({"events": [{
        "outcome": {"presentationToken": shown.presentation_token, "type": "OUTCOME_TYPE_IMPRESSION"},
    }]}));
    let reply = server.events().await.record(seen).await.expect("a reply").into_inner();
    assert_ne!(reply.results[0].status(), RecordStatus::Recorded);
    assert!(format!("{reply:?}").contains("INTENT_PRESENT"), "{reply:?}");
    let respond = RespondRequest {
        presentation_token: shown.presentation_token.clone(),
        outcome: OutcomeType::Accept.into(),
        ..RespondRequest::default()
    };
    let refused = server.decisions().await.respond(respond).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let path = &shown.link[shown.link.find("/c/").expect("a traceable link")..];
    assert_eq!(web::get(server.address, path, &[]).status, 302);
    // recorded after the click would have been
    let event: RecordRequest = message(json!({"events": [{
        "eventId": "idempotent-look-1",
        "customer": {"identities": [{"type": "customer_id", "value": "idempotent-look"}], "type": "page_view"},
    }]}));
    server.events().await.record(event).await.expect("the event is taken");
    let view = server.view("customer_id", "idempotent-look").await.expect("the customer");
    assert!(view.interactions.is_empty(), "{:?}", view.interactions);
}

#[tokio::test]
async fn an_upsert_sent_again_is_the_same() {
    let server = Server::shared();
    let consent = |purpose: &str| json!({"purpose": purpose, "permission": "PERMISSION_GRANTED"});
    let upsert: UpsertCustomerRequest = message(json!({
        "identities": [{"type": "customer_id", "value": "idempotent-upsert"}],
        "requestId": "idempotent-upsert-1",
        "consents": [
            consent("CONSENT_PURPOSE_MARKETING"),
            consent("CONSENT_PURPOSE_SERVICE"),
            consent("CONSENT_PURPOSE_PROFILING"),
        ],
    }));
    let mut client = server.customers().await;
    for _ in 0..8 {
        client.upsert_customer(upsert.clone()).await.expect("the same upsert");
    }
}

#[tokio::test]
async fn an_answer_under_a_used_id_records_nothing() {
    let server = Server::shared();
    server.customer("idempotent-answers", json!({})).await;
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "idempotent-answers"}],
            "placements": [{"placement": "agent_desktop"}],
        }))
        .await
        .expect("an answer");
    let decline = |at: usize, request_id: &str| RespondRequest {
        presentation_token: answer.placements[0].presentations[at].presentation_token.clone(),
        outcome: OutcomeType::Decline.into(),
        reason_code: "not_interested".to_owned(),
        request_id: request_id.to_owned(),
        ..RespondRequest::default()
    };
    let mut client = server.decisions().await;
    client.respond(decline(0, "idempotent-answers-1")).await.expect("the decline is taken");
    let refused = client.respond(decline(1, "idempotent-answers-1")).await.expect_err("refused");
    assert_eq!(refused.code(), Code::AlreadyExists);
    let view = server.view("customer_id", "idempotent-answers").await.expect("the customer");
    assert_eq!(view.interactions.len(), 1, "{:?}", view.interactions);
    client.respond(decline(1, "idempotent-answers-2")).await.expect("the decline is taken");
    // a question's id and an answer's id never meet
    server.decide(question("idempotent-answers-1", "side_bar")).await.expect("an answer");
}

#[tokio::test]
async fn an_outcome_never_leaves_its_window() {
    let server = Server::shared();
    server.customer("idempotent-early", json!({})).await;
    let ask = json!({
        "identities": [{"type": "customer_id", "value": "idempotent-early"}],
        "placements": [{"placement": "exact_slot"}],
    });
    let mut granted = 0;
    for _ in 0..5 {
        let answer = server.decide(ask.clone()).await.expect("an answer");
        for shown in &answer.placements[0].presentations {
            granted += 1;
            let seen: RecordRequest = message(json!({"events": [{
                "time": "2011-01-01T00:00:00Z",
                "outcome": {"presentationToken": shown.presentation_token, "type": "OUTCOME_TYPE_IMPRESSION"},
            }]}));
            let reply = server.events().await.record(seen).await.expect("a reply").into_inner();
            assert_eq!(reply.results[0].status(), RecordStatus::Recorded);
            assert_eq!(reply.results[0].warnings.len(), 1, "{reply:?}");
        }
    }
    // the limit is 3 in 30 days
    assert_eq!(granted, 3);
}
