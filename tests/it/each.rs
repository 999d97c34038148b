//! Offers that are proposed for each record of a customer, over the wire.

use std::sync::Arc;

use rapport::proto::{ExplainRequest, ExplainResponse, RecordRequest, UpsertCustomerRequest};
use serde_json::{Value, json};

use crate::harness::{Place, Server, eventually, message};

const RULES: &str = r#"
records:
  - id: accounts
    fields: [ { id: balance, type: int, required: true } ]
placements: [ { id: account_slot, channel: web, slots: 3 } ]
offers:
  - id: top_up
    purpose: service
    issue: serve
    group: seasonal
    for_each: p.accounts
    repeat: true
    eligibility: "r.balance < 100"
    value: "100 - r.balance"
    suppress: [ { after: decline, scope: record, for: 30d } ]
    placements: [account_slot]
    open: false
    treatments: { web: { en: { text: "Only {{ r.balance }} left on {{ r.key }}" } } }
"#;

fn question() -> Value {
    let identities = json!([{"type": "customer_id", "value": "saver"}]);
    json!({"identities": identities, "placements": [{"placement": "account_slot"}]})
}

/// What is shown: the key of the record and the text, with the token.
async fn shown(server: &Server) -> (String, Vec<(String, String, String)>) {
    let answer = server.decide(question()).await.expect("an answer");
    let one = |p: &rapport::proto::Presentation| {
        let text = p.message.as_ref().map(|message| message.text.clone()).unwrap_or_default();
        (p.record_key.clone(), text, p.presentation_token.clone())
    };
    (answer.decision_id, answer.placements[0].presentations.iter().map(one).collect())
}

fn keys(shown: &[(String, String, String)]) -> Vec<&str> {
    shown.iter().map(|one| &*one.0).collect()
}

async fn explained(server: &Server, decision_id: &str) -> ExplainResponse {
    eventually("the stored decision", || async {
        let request: ExplainRequest = message(json!({"decisionId": decision_id}));
        server.decisions().await.explain(request).await.ok().map(tonic::Response::into_inner)
    })
    .await
}

#[tokio::test]
async fn a_decision_names_the_account_and_an_answer_speaks_of_it_alone() {
    let place = Arc::new(Place::new());
    place.write_rule("accounts.yaml", RULES);
    let mut server = Server::start(&place);
    let account = |key: &str, balance: i64| json!({"key": key, "fields": {"balance": balance}});
    let accounts = json!([account("a-1", 90), account("a-2", 10), account("a-3", 900), account("a-4", 40)]);
    let upsert: UpsertCustomerRequest = message(json!({
        "identities": [{"type": "customer_id", "value": "saver"}],
        "records": [{"name": "accounts", "records": accounts}],
    }));
    server.customers().await.upsert_customer(upsert).await.expect("a write");

    let (decision, first) = shown(&server).await;
    assert_eq!(keys(&first), ["a-2", "a-4", "a-1"]);
    assert_eq!(first[0].1, "Only 10 left on a-2");
    let said = json!({"outcome": {"presentationToken": first[0].2, "type": "OUTCOME_TYPE_DECLINE", "reasonCode": "too_expensive"}});
    let request: RecordRequest = message(json!({"events": [said]}));
    let recorded = server.events().await.record(request).await.expect("a reply").into_inner().results;
    assert!(recorded[0].error.is_empty(), "{recorded:?}");
    let view = server.view("customer_id", "saver").await.expect("a view");
    assert_eq!(view.interactions[0].record_key, "a-2");
    assert_eq!(keys(&shown(&server).await.1), ["a-4", "a-1"]);

    let told = explained(&server, &decision).await;
    assert!(told.identical, "{:?}", told.lines);
    assert!(told.lines.iter().any(|line| line.contains("`top_up` for `a-2` on `web` wins")), "{:?}", told.lines);
    assert!(told.lines.iter().any(|line| line.contains("r.balance = 900")), "{:?}", told.lines);

    // it is remembered, and the log says it again
    server.kill();
    let server = Server::start(&place);
    let (again, rest) = shown(&server).await;
    assert_eq!(keys(&rest), ["a-4", "a-1"]);
    assert!(explained(&server, &decision).await.identical && explained(&server, &again).await.identical);
}
