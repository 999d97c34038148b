//! Customers who become one, over gRPC and JSON.

use std::sync::Arc;

use rapport::proto::{
    Customer, ListMergesRequest, Match, Merge, MergeCause, MergeCustomersRequest, RecordRequest, RecordResult,
    RecordStatus, UndoMergeRequest, UpsertCustomerRequest, UpsertCustomerResponse,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    harness::{Place, Server, eventually, message, offers_of},
    web,
};

fn identities(named: &[(&str, &str)]) -> Value {
    named.iter().map(|(kind, value)| json!({"type": kind, "value": value})).collect()
}

async fn viewed(server: &Server, id: &str, named: &[(&str, &str)]) -> RecordResult {
    let event = json!({"event_id": id, "source": "merge", "customer": {
        "identities": identities(named), "type": "product_view", "items": [{"item": "mug"}],
    }});
    send(server, event).await
}

async fn send(server: &Server, event: Value) -> RecordResult {
    let request: RecordRequest = message(json!({"events": [event]}));
    let mut answer = server.events().await.record(request).await.expect("recorded").into_inner();
    let result = answer.results.remove(0);
    assert_eq!(result.status(), RecordStatus::Recorded, "{}", result.error);
    result
}

async fn upsert(server: &Server, named: &[(&str, &str)]) -> UpsertCustomerResponse {
    let request: UpsertCustomerRequest = message(json!({"identities": identities(named)}));
    server.customers().await.upsert_customer(request).await.expect("written").into_inner()
}

async fn view(server: &Server, kind: &str, value: &str) -> Customer {
    server.view(kind, value).await.expect("a customer")
}

async fn merges(server: &Server, kind: &str, value: &str) -> Vec<Merge> {
    let request: ListMergesRequest = message(json!({"identities": identities(&[(kind, value)])}));
    server.customers().await.list_merges(request).await.expect("merges").into_inner().merges
}

fn views(customer: &Customer) -> u64 {
    customer.events.iter().map(|total| total.count).sum()
}

/// Waits until the metrics have this line.
async fn counted(server: &Server, line: &str) {
    let look = || async { web::get(server.private, "/metrics", &[]).body.lines().any(|one| one == line).then_some(()) };
    eventually(line, look).await;
}

fn asks(kind: &str, value: &str) -> Value {
    json!({"identities": identities(&[(kind, value)]), "placements": [{"placement": "home_hero"}]})
}

#[tokio::test]
async fn who_logs_in_keeps_what_the_browser_did() {
    let server = Server::shared();
    viewed(&server, "login-1", &[("cookie", "login-a")]).await;
    viewed(&server, "login-2", &[("cookie", "login-b")]).await;
    let before = view(&server, "cookie", "login-a").await;
    viewed(&server, "login-3", &[("cookie", "login-a"), ("customer_id", "login")]).await;
    let merged = viewed(&server, "login-4", &[("cookie", "login-b"), ("customer_id", "login")]).await;
    assert!(merged.warnings.is_empty(), "{:?}", merged.warnings);
    let known = view(&server, "customer_id", "login").await;
    assert_eq!((views(&known), known.identities.len(), &known.arm), (4, 3, &before.arm));
    for (kind, value) in [("cookie", "login-a"), ("cookie", "login-b")] {
        assert_eq!(view(&server, kind, value).await, known);
    }
    for (kind, value) in [("cookie", "login-a"), ("cookie", "login-b")] {
        let answer = server.decide(asks(kind, value)).await.expect("an answer");
        assert_eq!(answer.r#match(), Match::Known);
    }
    let listed = merges(&server, "cookie", "login-b").await;
    assert_eq!((listed.len(), listed[0].cause()), (1, MergeCause::Identified));
    assert_eq!(listed[0].absorbed_identities.len(), 1);
}

/// Somebody else at the same browser stays somebody else.
#[tokio::test]
async fn two_people_who_are_named_together_stay_two() {
    let place = Arc::new(Place::new());
    let server = Server::start(&place);
    viewed(&server, "two-1", &[("customer_id", "ann"), ("cookie", "desk")]).await;
    let other = viewed(&server, "two-2", &[("cookie", "desk"), ("customer_id", "bob")]).await;
    assert!(other.warnings[0].contains("`cookie`") && other.warnings[0].contains("`single`"), "{:?}", other.warnings);
    assert_eq!(
        (views(&view(&server, "customer_id", "ann").await), views(&view(&server, "customer_id", "bob").await)),
        (1, 1)
    );
    let written = upsert(&server, &[("customer_id", "bob"), ("cookie", "desk")]).await;
    assert_eq!(written.warnings.len(), 1);
    counted(&server, "rapport_merges_refused_total{reason=\"single\"} 2").await;
    counted(&server, "rapport_merges_total{cause=\"identified\"} 0").await;
    // reading never merges
    let both = json!({"identities": identities(&[("customer_id", "ann"), ("customer_id", "bob")]),
        "placements": [{"placement": "home_hero"}]});
    assert_eq!(server.decide(both).await.expect("an answer").r#match(), Match::Ambiguous);
    assert_eq!(views(&view(&server, "cookie", "desk").await), 1);
}

#[tokio::test]
async fn a_device_joins_at_most_five_people() {
    let server = Server::shared();
    for n in 0..6 {
        upsert(&server, &[("email", &format!("family-{n}@example.org"))]).await;
    }
    for n in 0..6 {
        let mail = format!("family-{n}@example.org");
        let result = viewed(&server, &format!("family-{n}"), &[("device", "family"), ("email", &mail)]).await;
        assert_eq!(result.warnings.len(), usize::from(n == 5), "{n}: {:?}", result.warnings);
        assert!(n < 5 || result.warnings[0].contains("`people`"));
    }
    assert_eq!(view(&server, "email", "family-0@example.org").await.identities.len(), 6);
    assert_eq!(views(&view(&server, "email", "family-5@example.org").await), 1);
}

#[tokio::test]
async fn a_merge_that_was_asked_for_is_listed_and_taken_back() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    for name in ["ann", "bob"] {
        viewed(&server, &format!("ask-{name}"), &[("customer_id", name)]).await;
    }
    let request = |dry: bool| -> MergeCustomersRequest {
        message(json!({"identities": identities(&[("customer_id", "ann")]), "reason": "moved house",
            "others": identities(&[("customer_id", "bob")]), "validateOnly": dry}))
    };
    let mut customers = server.customers().await;
    let checked = customers.merge_customers(request(true)).await.expect("checked").into_inner();
    assert_eq!(checked.merge.expect("a merge").merge_id, "");
    assert_eq!(views(&view(&server, "customer_id", "ann").await), 1);
    let merged = customers.merge_customers(request(false)).await.expect("merged").into_inner().merge.expect("a merge");
    assert_eq!((merged.cause(), &*merged.reason), (MergeCause::Requested, "moved house"));
    assert_eq!(view(&server, "customer_id", "bob").await.identities.len(), 2);
    let again = customers.merge_customers(request(false)).await.expect("one already").into_inner();
    assert!(again.merge.is_none() && !again.consistency_token.is_empty());

    server.kill();
    let mut server = Server::start(&place);
    let mut customers = server.customers().await;
    assert_eq!(merges(&server, "customer_id", "bob").await, std::slice::from_ref(&merged));
    let undo = |id: &str| -> UndoMergeRequest {
        message(json!({"mergeId": id, "identities": identities(&[("customer_id", "ann")]), "reason": "two people"}))
    };
    for (id, code) in [("x", Code::InvalidArgument), (&*"0".repeat(32), Code::NotFound)] {
        assert_eq!(customers.undo_merge(undo(id)).await.expect_err("refused").code(), code);
    }
    let undone = customers.undo_merge(undo(&merged.merge_id)).await.expect("undone").into_inner();
    assert!(undone.merge.expect("the merge").undone.is_some());
    let twice = customers.undo_merge(undo(&merged.merge_id)).await.expect_err("undone before");
    assert_eq!(twice.code(), Code::FailedPrecondition);
    server.kill();
    server = Server::start(&place);
    for name in ["ann", "bob"] {
        let customer = view(&server, "customer_id", name).await;
        assert_eq!((views(&customer), customer.identities.len()), (1, 1));
    }
    let nobody: MergeCustomersRequest = message(json!({
        "identities": identities(&[("customer_id", "ann")]), "others": identities(&[("customer_id", "nobody")]),
    }));
    let refused = server.customers().await.merge_customers(nobody).await.expect_err("nobody");
    assert!(refused.code() == Code::NotFound && refused.message().contains("`others`"), "{refused}");
}

/// What was handed out before the merge still works, and what one of the two
/// declined is not offered to either.
#[tokio::test]
async fn tokens_of_both_work_after_the_merge() {
    let server = Server::shared();
    viewed(&server, "tokens-1", &[("customer_id", "tokens")]).await;
    viewed(&server, "tokens-2", &[("email", "tokens@example.org")]).await;
    let answer = server.decide(asks("email", "tokens@example.org")).await.expect("an answer");
    let shown = offers_of(&answer, "home_hero");
    let presentation = answer.placements[0].presentations[0].clone();
    viewed(&server, "tokens-3", &[("customer_id", "tokens"), ("email", "tokens@example.org")]).await;

    let declined = json!({"outcome": {"presentationToken": presentation.presentation_token,
        "type": "OUTCOME_TYPE_DECLINE", "reasonCode": "too_expensive"}});
    let result = send(&server, declined).await;
    assert!(result.warnings.is_empty());
    let known = view(&server, "customer_id", "tokens").await;
    assert_eq!(known.interactions.iter().filter(|one| one.offer == shown[0]).count(), 1);
    for (kind, value) in [("customer_id", "tokens"), ("email", "tokens@example.org")] {
        let after = server.decide(asks(kind, value)).await.expect("an answer");
        assert!(!offers_of(&after, "home_hero").contains(&shown[0]), "{kind}");
    }
}

#[tokio::test]
async fn merges_are_asked_for_in_json() {
    let server = Server::shared();
    for name in ["json-a", "json-b"] {
        upsert(&server, &[("customer_id", name)]).await;
    }
    let body = json!({"identities": identities(&[("customer_id", "json-a")]),
        "others": identities(&[("customer_id", "json-b")]), "reason": "one"});
    let merged = web::post(server.address, "/v1/customers:merge", &body).json();
    let id = merged["merge"]["mergeId"].as_str().expect("an id").to_owned();
    let named = json!({"identities": identities(&[("customer_id", "json-b")])});
    let listed = web::post(server.address, "/v1/customers:merges", &named).json();
    assert_eq!(listed["merges"][0]["mergeId"], id);
    let mut undo = named;
    undo["mergeId"] = json!(id);
    let undone = web::post(server.address, "/v1/customers:undoMerge", &undo).json();
    assert!(undone["merge"]["undone"].is_string(), "{undone}");
}
