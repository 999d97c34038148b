//! Malformed requests are refused with every violation; the service serves on.

use prost::Message;
use rapport::{
    grpc::structs::{Kind, ListValue, Struct, Value as WireValue},
    proto::{DecideRequest, Identity, PlacementRequest, RecordRequest, RecordStatus, RespondRequest},
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{Server, message},
    raw, web,
};

const DECIDE: &str = "/rapport.v1.DecisionService/Decide";
const MIB: usize = 1024 * 1024;

fn hero() -> DecideRequest {
    message(json!({"placements": [{"placement": "home_hero"}]}))
}

fn number(value: f64) -> WireValue {
    WireValue { kind: Some(Kind::NumberValue(value)) }
}

fn context(name: &str, value: WireValue) -> Struct {
    Struct { fields: [(name.to_owned(), value)].into_iter().collect() }
}

fn nested(depth: usize) -> WireValue {
    (0..depth)
        .fold(number(1.0), |inner, _| WireValue { kind: Some(Kind::ListValue(ListValue { values: vec![inner] })) })
}

/// Requests that must be refused, and the field the refusal must name.
fn malformed() -> Vec<(&'static str, &'static str, DecideRequest)> {
    let many = Struct { fields: (0..10_000).map(|n| (format!("a{n}"), number(1.0))).collect() };
    let long = "x".repeat(MIB);
    let with_context = |name: &str, value| DecideRequest { context: Some(context(name, value)), ..hero() };
    let identity = |kind: &str, value: &str| DecideRequest {
        identities: vec![Identity { r#type: kind.to_owned(), value: value.to_owned() }],
        ..hero()
    };
    let text = |value: &str| WireValue { kind: Some(Kind::StringValue(value.to_owned())) };
    let placements = vec![PlacementRequest { placement: "home_hero".to_owned(), count: 0 }; 10_000];
    vec![
        ("10,000 context attributes", "context", DecideRequest { context: Some(many), ..hero() }),
        ("not a number", "context", with_context("basket_value", number(f64::NAN))),
        ("infinity", "context", with_context("temperature", number(f64::INFINITY))),
        ("text for money", "context", with_context("basket_value", text("thirty"))),
        ("a number for text", "context", with_context("page", number(3.0))),
        ("a list for text", "context", with_context("page", nested(3))),
        ("an undeclared attribute", "context", with_context("bascet_value", number(3.0))),
        ("a stored attribute as context", "context", with_context("country", text("GB"))),
        ("1 MiB of context", "context", with_context("page", text(&long))),
        ("1 MiB of session", "session_id", DecideRequest { session_id: long.clone(), ..hero() }),
        ("1 MiB of request id", "request_id", DecideRequest { request_id: long.clone(), ..hero() }),
        ("1 MiB of identity", "identities[0]", identity("customer_id", &long)),
        ("an unknown identity type", "identities[0]", identity("passport", "1")),
        ("no e-mail address", "identities[0]", identity("email", "nobody")),
        ("no phone number", "identities[0]", identity("phone", "call me")),
        ("an empty identity", "identities[0]", identity("customer_id", "")),
        ("unknown view", "view", DecideRequest { view: 99, ..hero() }),
        ("unknown intent", "intent", DecideRequest { intent: -1, ..hero() }),
        ("unknown trace", "trace", DecideRequest { trace: 77, ..hero() }),
        ("unknown purpose", "purpose", DecideRequest { purpose: 42, ..hero() }),
        ("unknown assurance", "assurance", DecideRequest { assurance: 42, ..hero() }),
        ("10,000 placements", "placements", DecideRequest { placements, ..hero() }),
        (
            "an override outside of PREVIEW",
            "attribute_overrides",
            DecideRequest { attribute_overrides: Some(context("country", text("GB"))), ..hero() },
        ),
    ]
}

fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    details.bad_request().map_or_else(Vec::new, |bad| bad.field_violations.iter().map(|v| v.field.clone()).collect())
}

async fn serves_on(server: &Server) {
    let answer = server.decide(json!({"placements": [{"placement": "home_hero"}]})).await.expect("it serves on");
    assert_eq!(answer.placements[0].presentations[0].offer, "welcome");
}

#[tokio::test]
async fn malformed_questions_are_refused_over_grpc() {
    let server = Server::shared();
    let mut client = server.decisions().await;
    for (what, field, request) in malformed() {
        let refused = client.decide(request).await.expect_err(what);
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
        let named = violations(&refused);
        assert!(named.iter().any(|v| v.starts_with(field)), "{what}: {named:?} does not name `{field}`");
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn malformed_questions_are_refused_over_json() {
    let server = Server::shared();
    for (what, field, request) in malformed() {
        // JSON has no NaN and no infinity
        let finite = request
            .context
            .as_ref()
            .is_none_or(|c| c.fields.values().all(|v| !matches!(v.kind, Some(Kind::NumberValue(n)) if !n.is_finite())));
        let Ok(body) = serde_json::to_value(&request) else { continue };
        if !finite {
            continue;
        }
        let reply = web::post(server.address, "/v1/decide", &body);
        assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.body);
        assert!(reply.json().is_object(), "{what}: the error is JSON");
        let camel = field.split('_').enumerate().fold(String::new(), |name, (at, part)| {
            let (head, tail) = part.split_at(usize::from(at > 0));
            name + &head.to_uppercase() + tail
        });
        assert!(reply.body.contains(field) || reply.body.contains(&camel), "{what}: {}", reply.body);
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn every_violation_is_named_at_once() {
    let server = Server::shared();
    let request = json!({
        "identities": [{"type": "passport", "value": "1"}, {"type": "email", "value": "nobody"}],
        "context": {"basket_value": "thirty", "bascet_value": 3},
        "sessionId": "x".repeat(1000),
        "placements": [{"placement": "home_hero"}],
    });
    let refused = server.decide(request.clone()).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let named = violations(&refused);
    for field in ["identities[0]", "identities[1]", "session_id"] {
        assert!(named.iter().any(|v| v.starts_with(field)), "{field} is not in {named:?}");
    }
    assert_eq!(named.iter().filter(|v| v.starts_with("context")).count(), 2, "{named:?}");
    let reply = web::post(server.address, "/v1/decide", &request);
    assert_eq!(reply.status, 400);
    for text in ["passport", "identities[1]", "basket_value", "bascet_value"] {
        assert!(reply.body.contains(text), "`{text}` is not in {}", reply.body);
    }
}

/// A field of protobuf: tag, length, bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let server = Server::shared();
    let deep = DecideRequest { context: Some(context("page", nested(1_000))), ..hero() }.encode_to_vec();
    let cases: [(&str, Vec<u8>); 5] = [
        ("invalid UTF-8", field(3, b"\xff\xfe\xfd")),
        ("nesting 1,000 deep", deep),
        ("a wrong wire type", vec![3 << 3, 1]),
        ("a cut message", field(3, b"session")[..4].to_vec()),
        ("an endless varint", vec![0xff; 16]),
    ];
    for (what, bytes) in cases {
        let refused = raw::call(server.channel().await, DECIDE, bytes).await.expect_err(what);
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
    }
    serves_on(&server).await;
}

#[tokio::test]
async fn text_that_is_no_request_is_refused() {
    let server = Server::shared();
    let deep = format!("{{\"context\": {{\"page\": {}1{}}}}}", "[".repeat(1_000), "]".repeat(1_000));
    let unknown_key = json!({"placement": "home_hero"}).to_string();
    let cases: [(&str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("no JSON", b"{".to_vec()),
        ("not a number", br#"{"context": {"basket_value": NaN}}"#.to_vec()),
        ("an overflow", br#"{"context": {"temperature": 1e999}}"#.to_vec()),
        ("invalid UTF-8", b"{\"sessionId\": \"\xff\xfe\"}".to_vec()),
        ("nesting 1,000 deep", deep.into_bytes()),
        ("a wrong type", br#"{"placements": "home_hero"}"#.to_vec()),
        ("an unknown key", unknown_key.into_bytes()),
        ("an unknown enum name", br#"{"view": "VIEW_SIDEWAYS"}"#.to_vec()),
    ];
    for (what, bytes) in cases {
        let reply = web::post_bytes(server.address, "/v1/decide", &bytes);
        assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.body);
        assert!(reply.json()["message"].is_string(), "{what}: {}", reply.body);
    }
    // a service that refuses early may close before the body is sent; then there is no reply to read
    let reply = web::try_call(server.address, "POST", "/v1/events", &[], &vec![b' '; 16 * MIB]);
    assert!(reply.is_none_or(|r| (400..500).contains(&r.status)), "16 MiB are refused");
    assert_eq!(web::post(server.address, "/v1/nothing", &json!({})).status, 404);
    serves_on(&server).await;
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let server = Server::shared();
    server.customer("malformed-token", json!({})).await;
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "malformed-token"}],
            "placements": [{"placement": "agent_desktop"}],
        }))
        .await
        .expect("an answer");
    let token = answer.placements[0].presentations[0].presentation_token.clone();
    let mut forged = token.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("ASCII");
    let tokens = [forged, token[..token.len() - 1].to_owned(), String::new(), "x".repeat(MIB), "%%%".to_owned()];
    let mut client = server.decisions().await;
    for token in tokens {
        let request: RespondRequest = message(json!({"presentationToken": token, "outcome": "OUTCOME_TYPE_ACCEPT"}));
        let refused = client.respond(request).await.expect_err("a forged token");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let event: Value = json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_CLICK"}});
        let record: RecordRequest = message(json!({"events": [event]}));
        match server.events().await.record(record).await {
            Ok(reply) => assert_eq!(reply.into_inner().results[0].status(), RecordStatus::Refused),
            Err(refused) => assert_eq!(refused.code(), Code::InvalidArgument, "{refused}"),
        }
    }
    let unanswered: RespondRequest = message(json!({"presentationToken": token}));
    let refused = client.respond(unanswered).await.expect_err("no outcome");
    assert_eq!(refused.code(), Code::InvalidArgument);
    serves_on(&server).await;
}

#[tokio::test]
async fn one_bad_event_does_not_spoil_the_others() {
    let server = Server::shared();
    let event = |id: &str, kind: &str| {
        json!({"eventId": id, "customer": {
            "identities": [{"type": "customer_id", "value": "malformed-events"}], "type": kind,
        }})
    };
    let request: RecordRequest = message(json!({"events": [
        event("malformed-1", "page_view"), event("malformed-2", "no_such_event"), event("", "page_view"),
        event("malformed-4", "page_view"),
    ]}));
    let reply = server.events().await.record(request).await.expect("a result for each").into_inner();
    let statuses: Vec<_> = reply.results.iter().map(|r| r.status()).collect();
    assert_eq!(
        statuses,
        [RecordStatus::Recorded, RecordStatus::Refused, RecordStatus::Refused, RecordStatus::Recorded]
    );
    assert!(reply.results[1].error.contains("no_such_event"), "{reply:?}");
}
