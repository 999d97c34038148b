//! Bad input: every field of every event made wrong in every way, between events
//! that are right. Nothing panics, nothing is the service's mistake, every
//! refusal names the field and what to do, and nothing that was right is lost.

use std::sync::Arc;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use rapport::{
    grpc::structs::{Kind, Struct, Value as WireValue},
    proto::{Identity, RecordResponse, RecordStatus, UpsertCustomerRequest},
};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    harness::{Place, Server, message},
    web,
};

const MIB: usize = 1 << 20;

/// An event of a type, with something in every field there is.
fn whole(kind: &str) -> Value {
    json!({
        "eventId": "bad", "source": "bad", "time": "2026-01-01T00:00:00Z",
        "customer": {
            "identities": [{"type": "customer_id", "value": "bad-1"}],
            "type": kind, "channel": "web",
            "amount": {"amount": "12.50", "currency": "GBP"},
            "items": [{"item": "lamp", "quantity": 2, "unitPrice": {"amount": "6.25", "currency": "GBP"}}],
            "data": {
                "category": "garden", "words": "lamp", "url": "https://example.com", "reason": "none", "order_id": "7",
                "call_id": "c", "message_id": "m", "campaign": "c", "score": 3, "list": ["a", 1, null], "deep": {"a": {"b": 1}},
            },
        },
    })
}

fn outcome() -> Value {
    json!({"outcome": {
        "presentationToken": "abc", "type": "OUTCOME_TYPE_DECLINE", "reasonCode": "too_expensive",
        "value": {"amount": "1.00", "currency": "GBP"}, "note": "note",
        "customer": [{"type": "customer_id", "value": "bad-1"}], "offer": "welcome", "channel": "web",
    }})
}

/// The path of every value of an event.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    if !at.is_empty() {
        found.push(at.to_owned());
    }
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| paths(value, &format!("{at}/{name}"), found)),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(nth, value)| paths(value, &format!("{at}/{nth}"), found))
        }
        _ => {}
    }
}

/// Values that fit nowhere, or hardly anywhere.
fn wrong_values() -> Vec<Value> {
    let deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
    let list = (0..40).fold(json!(1), |inner, _| json!([inner]));
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(9e300),
        json!(i64::MIN),
        json!(""),
        json!("\u{0}\u{7}\u{1b}[31m\u{202e}"),
        json!("x".repeat(9_000)),
        json!("9999-12-31T23:59:59Z"),
        json!("NaN"),
        json!("1e309"),
        json!("'; DROP TABLE customers; --"),
        json!([]),
        json!([[], {}, null]),
        json!({}),
        json!({"": "", "no_such_field": {"a": 1}}),
        deep,
        list,
        json!((0..300).map(|n| json!({"type": "customer_id", "value": n.to_string()})).collect::<Vec<_>>()),
    ]
}

/// Numbers that JSON has no text for, and text that is no JSON.
const WRONG_TEXTS: [&str; 6] = ["NaN", "Infinity", "1e999", "\"\\ud800\"", "{\"a\":1,\"a\":2}", "01"];

/// A refusal says which field, or why it is no event, and nothing of the inside.
fn is_told_well(error: &str, what: &str) {
    // a token and an id are named by what they are
    let named = error.contains('`') || error.contains("presentation token") || error.contains("event id");
    assert!(named && error.len() < 6_000, "{what}: {error}");
    for inside in ["panicked", "unwrap", "src/", "Error(", "RustError"] {
        assert!(!error.contains(inside), "{what}: {error}");
    }
}

/// The same event with an id of its own.
fn numbered(event: &Value, made: &mut u64) -> Value {
    let mut event = event.clone();
    *made += 1;
    if let Some(id) = event.get_mut("eventId") {
        *id = json!(format!("bad-{made}"));
    }
    event
}

fn good(nth: usize) -> Value {
    json!({"eventId": format!("good-{nth}"), "source": "good", "customer": {
        "identities": [{"type": "customer_id", "value": "bad-good"}], "type": "page_view",
    }})
}

async fn goods(server: &Server) -> u64 {
    let view = server.view("customer_id", "bad-good").await.expect("the customer of the right events");
    view.events.iter().find(|event| event.r#type == "page_view").map_or(0, |event| event.count)
}

#[tokio::test]
async fn every_field_made_wrong_is_refused_by_name_and_nothing_right_is_lost() {
    let place = Arc::new(Place::new());
    let server = Server::start(&place);
    let mut body = String::new();
    let (mut sent, mut nth, mut made_ids) = (0_u64, 0, 0);
    let mut add = |line: String| {
        body.push_str(&line);
        body.push('\n');
        body.push_str(&good(nth).to_string());
        body.push('\n');
        nth += 1;
        sent += 1;
    };
    let kinds =
        ["page_view", "product_view", "search", "basket_updated", "purchase", "return", "call_started", "survey"];
    let events: Vec<Value> = kinds.into_iter().map(whole).chain([outcome()]).collect();
    for event in &events {
        let mut all = Vec::new();
        paths(event, "", &mut all);
        for path in &all {
            for wrong in wrong_values() {
                let mut made = numbered(event, &mut made_ids);
                *made.pointer_mut(path).expect("a path of the event") = wrong;
                add(made.to_string());
            }
            for text in WRONG_TEXTS {
                let mut made = numbered(event, &mut made_ids);
                *made.pointer_mut(path).expect("a path of the event") = json!("@@@");
                add(made.to_string().replace("\"@@@\"", text));
            }
        }
    }
    let reply = web::call(
        server.address,
        "POST",
        "/v1/events:stream",
        &[("content-type", "application/x-ndjson")],
        body.as_bytes(),
    );
    assert_eq!(reply.status, 200);
    let acks: Vec<Value> = reply.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let last = acks.last().expect("the last acknowledgement");
    assert!(last.get("problem").is_none(), "{last}");
    assert_eq!(last["answered"], json!((2 * sent).to_string()), "{last}");
    for refused in acks.iter().flat_map(|ack| ack["refused"].as_array().cloned().unwrap_or_default()) {
        is_told_well(refused["error"].as_str().unwrap_or_default(), &refused.to_string());
    }
    assert_eq!(goods(&server).await, nth as u64, "a right event is lost");
    let metrics = web::get(server.private, "/metrics", &[]).body;
    assert!(metrics.contains("rapport_panics_total 0"), "something panicked:\n{}", server.log());
}

/// Drawn events over the single call, which answers each with a result.
#[tokio::test]
async fn drawn_events_are_answered_one_by_one() {
    let server = Server::shared();
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let texts = proptest::collection::vec(proptest::char::any(), 0..40);
    let numbers = proptest::num::f64::ANY;
    for round in 0..60 {
        let mut draw = |at: usize| -> Value {
            let text: String = texts.new_tree(&mut runner).expect("a text").current().into_iter().collect();
            let number = numbers.new_tree(&mut runner).expect("a number").current();
            match at % 4 {
                0 => json!(text),
                1 => json!(number),
                2 => json!({ text: number }),
                _ => json!([text, number]),
            }
        };
        let events: Vec<Value> = (0..20)
            .map(|at| {
                let mut event = whole("search");
                event["eventId"] = json!(format!("drawn-{round}-{at}"));
                event["customer"]["data"] = json!({"words": draw(at), "other": draw(at + 1), "category": draw(at + 2)});
                if at % 5 == 0 {
                    event["customer"]["identities"][0]["value"] = draw(0);
                }
                if at % 7 == 0 {
                    event["customer"]["channel"] = draw(0);
                }
                event
            })
            .collect();
        let count = events.len();
        let reply = web::post(server.address, "/v1/events", &json!({ "events": events }));
        assert!(reply.status == 200 || reply.status == 400, "{} {}", reply.status, reply.body);
        if reply.status == 400 {
            continue;
        }
        let answered: RecordResponse = message(reply.json());
        assert_eq!(answered.results.len(), count);
        for result in answered.results {
            match result.status() {
                RecordStatus::Recorded | RecordStatus::Duplicate | RecordStatus::Conflict => {}
                _ => is_told_well(&result.error, "drawn"),
            }
        }
    }
}

fn huge() -> UpsertCustomerRequest {
    let text = |bytes: usize| WireValue { kind: Some(Kind::StringValue("x".repeat(bytes))) };
    let fields = [("first_name", 5 * MIB), ("country", 3 * MIB), ("email_address", 2 * MIB), ("member", 10)];
    let attributes: Struct = fields.into_iter().map(|(name, bytes)| (name.to_owned(), text(bytes))).collect();
    UpsertCustomerRequest {
        identities: vec![Identity { r#type: "customer_id".to_owned(), value: "huge".to_owned() }],
        attributes: Some(attributes),
        ..UpsertCustomerRequest::default()
    }
}

#[tokio::test]
async fn a_profile_of_10_mb_is_refused_field_by_field_with_the_limits() {
    let server = Server::shared();
    let refused = server.customers().await.upsert_customer(huge()).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let details = refused.get_error_details();
    let told: Vec<(String, String)> = details
        .bad_request()
        .map(|bad| bad.field_violations.iter().map(|v| (v.field.clone(), v.description.clone())).collect())
        .unwrap_or_default();
    let reply = web::post(server.address, "/v1/customers:upsert", &serde_json::to_value(huge()).expect("JSON"));
    assert_eq!(reply.status, 400, "{}", reply.body);
    for field in ["attributes.first_name", "attributes.country", "attributes.email_address"] {
        let why = &told.iter().find(|(named, _)| named == field).unwrap_or_else(|| panic!("{field}: {told:?}")).1;
        assert!(why.contains("at most 256"), "{field}: {why}");
        assert!(reply.body.contains(field), "{field}: {}", reply.body);
    }
    assert!(told.iter().any(|(named, _)| named == "attributes.member"), "{told:?}");
    assert!(server.view("customer_id", "huge").await.is_none(), "nothing of it was kept");
}
