//! A stored decision replays to the byte, whatever happened since.

use std::sync::Arc;

use rapport::proto::{ExplainRequest, ExplainResponse, Reason, RecordRequest};
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{Place, SHOP, Server, eventually, message};

async fn explain(server: &Server, decision_id: &str, offer: &str) -> Option<ExplainResponse> {
    let request = ExplainRequest { decision_id: decision_id.to_owned(), offer: offer.to_owned() };
    match server.decisions().await.explain(request).await {
        Ok(reply) => Some(reply.into_inner()),
        // decisions are recorded behind the answer
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => panic!("explaining: {status}"),
    }
}

async fn identical(server: &Server, ids: &[String]) {
    for id in ids {
        let told = eventually("the stored decision", || explain(server, id, "")).await;
        assert!(told.identical, "decision `{id}` does not replay: {:?}", told.lines);
        assert!(!told.candidates.is_empty());
        assert!(!told.lines.is_empty());
    }
}

fn purchase(customer: &str, number: u32) -> RecordRequest {
    message(json!({"events": [{
        "eventId": format!("{customer}-{number}"),
        "customer": {
            "identities": [{"type": "customer_id", "value": customer}],
            "type": "purchase",
            "amount": {"amount": "20.00", "currency": "GBP"},
        },
    }]}))
}

fn questions() -> Vec<Value> {
    let known = json!([{"type": "customer_id", "value": "replay"}]);
    vec![
        json!({"placements": [{"placement": "home_hero"}]}),
        json!({"identities": known, "placements": [{"placement": "home_hero"}, {"placement": "side_bar"}]}),
        json!({"identities": known, "placements": [{"placement": "basket_banner"}], "context": {"basket_value": 30}}),
        json!({"identities": known, "placements": [{"placement": "agent_desktop"}], "view": "VIEW_AGENT"}),
        json!({"identities": known, "view": "VIEW_FULL", "trace": "TRACE_FULL"}),
        json!({"identities": known, "placements": [{"placement": "exact_slot"}, {"placement": "nowhere"}],
               "languages": ["de"]}),
    ]
}

#[tokio::test]
async fn decisions_replay_identically() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    server.customer("replay", json!({"country": "GB", "first_name": "Ann"})).await;
    let mut events = server.events().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        for question in questions() {
            ids.push(server.decide(question).await.expect("an answer").decision_id);
        }
        events.record(purchase("replay", number)).await.expect("the purchase is taken");
    }
    identical(&server, &ids).await;

    // the rules change: the old decisions still replay under the rules they were made with
    let revision = server.decide(questions().swap_remove(0)).await.expect("an answer").ruleset_revision;
    place.write_rule("shop.yaml", &SHOP.replace("The autumn range is here", "The autumn range is back"));
    eventually("the new rules", || async {
        let answer = server.decide(questions().swap_remove(0)).await.expect("an answer");
        (answer.ruleset_revision != revision).then_some(())
    })
    .await;
    identical(&server, &ids).await;

    server.kill();
    let server = Server::start(&place);
    identical(&server, &ids).await;
}

#[tokio::test]
async fn explain_names_the_literal_that_failed() {
    let server = Server::shared();
    server.customer("replay-explain", json!({"country": "FR"})).await;
    for number in 0..2 {
        server.events().await.record(purchase("replay-explain", number)).await.expect("the purchase is taken");
    }
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "replay-explain"}],
            "placements": [{"placement": "side_bar"}],
        }))
        .await
        .expect("an answer");
    let told = eventually("the stored decision", || explain(&server, &answer.decision_id, "regulars")).await;
    assert!(told.candidates.iter().all(|c| c.offer == "regulars"));
    let verdict = &told.candidates[0];
    assert_eq!(verdict.reason(), Reason::NotEligible);
    assert_eq!(verdict.failed.len(), 1, "{:?}", verdict.failed);
    let failed = &verdict.failed[0];
    assert_eq!(failed.condition, "eligibility");
    assert!(failed.text.contains("p.country == 'GB'"), "{failed:?}");
    assert!(failed.value_read.contains("FR"), "{failed:?}");
    assert!(failed.position.contains("shop.yaml:"), "{failed:?}");
}

#[tokio::test]
async fn an_unknown_decision_is_not_found() {
    let server = Server::shared();
    assert!(explain(&server, "01890000-0000-7000-8000-000000000000", "").await.is_none());
    let request = ExplainRequest { decision_id: "not an id".to_owned(), offer: String::new() };
    let refused = server.decisions().await.explain(request).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
}
