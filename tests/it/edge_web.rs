//! gRPC-web, made by hand (gRPC's `PROTOCOL-WEB.md`): frames with a flag and a
//! length, the trailers as the last one; or all of it as base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use rapport::proto::{
    DecideRequest, DecideResponse, Event, Outcome, OutcomeType, PlacementRequest, RecordRequest, RecordResponse,
    RecordStatus, event::Kind,
};

use crate::{
    edge::{EVIL, PAGE_KEY, SHOP, server_with_keys},
    harness::Server,
    web::{self, Reply},
};

const DECIDE: &str = "/rapport.v1.DecisionService/Decide";
const RECORD: &str = "/rapport.v1.EventService/Record";
const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";

fn frame(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    frame.extend_from_slice(&bytes);
    frame
}

/// The frames of a body: flag and bytes.
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(([flag, length @ ..], rest)) = body.split_first_chunk::<5>() {
        let (bytes, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        frames.push((*flag, bytes.to_vec()));
        body = rest;
    }
    assert!(body.is_empty(), "half a frame: {body:?}");
    frames
}

/// Base64 of parts, each of which may end in padding.
fn from_text(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| BASE64_STANDARD.decode(group).expect("base64")).collect()
}

fn call(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let headers = [&[("x-api-key", PAGE_KEY), ("x-grpc-web", "1")], headers].concat();
    web::call(server.address, "POST", path, &headers, body)
}

/// The message and the trailers of an answer.
fn answered<M: Message + Default>(body: &[u8]) -> M {
    let frames = frames(body);
    let [(0, message), (0x80, trailers)] = frames.as_slice() else { panic!("{frames:?}") };
    let trailers = String::from_utf8_lossy(trailers);
    assert!(trailers.lines().any(|line| line.replace(' ', "") == "grpc-status:0"), "{trailers}");
    M::decode(message.as_slice()).expect("a message")
}

fn hero() -> DecideRequest {
    let placements = vec![PlacementRequest { placement: "home_hero".to_owned(), count: 0 }];
    DecideRequest { placements, ..DecideRequest::default() }
}

#[test]
fn a_page_decides_and_records_over_grpc_web() {
    let server = server_with_keys(&[]);
    let headers = [("content-type", BINARY), ("origin", SHOP)];
    let reply = call(&server, DECIDE, &headers, &frame(&hero()));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(BINARY)), "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin"), Some(SHOP));
    assert!(reply.header("access-control-expose-headers").is_some_and(|names| names.contains("grpc-message")));
    let answer: DecideResponse = answered(&reply.bytes);
    let shown = &answer.placements[0].presentations[0];
    assert_eq!(shown.offer, "welcome");

    let outcome = Outcome {
        presentation_token: shown.presentation_token.clone(),
        r#type: OutcomeType::Impression as i32,
        ..Outcome::default()
    };
    let event = Event { kind: Some(Kind::Outcome(outcome)), ..Event::default() };
    let events = RecordRequest { events: vec![event], visitor_id: answer.visitor_id.clone(), page_consent: None };
    let recorded: RecordResponse = answered(&call(&server, RECORD, &headers, &frame(&events)).bytes);
    assert_eq!(recorded.results[0].status(), RecordStatus::Recorded);
}

#[test]
fn text_is_base64_both_ways() {
    let server = server_with_keys(&[]);
    for kind in [TEXT, "application/grpc-web-text+proto", "application/grpc-web-text; charset=utf-8"] {
        let headers = [("content-type", kind), ("accept", TEXT), ("origin", SHOP)];
        let reply = call(&server, DECIDE, &headers, BASE64_STANDARD.encode(frame(&hero())).as_bytes());
        assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with(TEXT)), "{reply:?}");
        let answer: DecideResponse = answered(&from_text(&reply.bytes));
        assert_eq!(answer.placements[0].presentations[0].offer, "welcome");
    }
}

#[test]
fn refusals_are_statuses_that_a_page_may_read() {
    let server = server_with_keys(&[]);
    let status = |reply: &Reply| reply.header("grpc-status").map(str::to_owned);
    let wrong = DecideRequest { view: 3, ..hero() };
    let headers = [("content-type", BINARY), ("origin", SHOP)];
    let reply = call(&server, DECIDE, &headers, &frame(&wrong));
    assert_eq!((reply.status, status(&reply).as_deref()), (200, Some("3")), "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin"), Some(SHOP));

    let long = DecideRequest { session_id: "s".repeat(70_000), ..hero() };
    let reply = call(&server, DECIDE, &headers, &frame(&long));
    assert_eq!(status(&reply).as_deref(), Some("3"), "more than 64 KiB: {reply:?}");
    assert!(reply.header("grpc-message").is_some_and(|why| why.contains("65536")), "{reply:?}");

    let foreign = call(&server, DECIDE, &[("content-type", BINARY), ("origin", EVIL)], &frame(&hero()));
    assert_eq!((status(&foreign).as_deref(), foreign.header("access-control-allow-origin")), (Some("7"), None));
    assert_eq!(foreign.header("content-type"), Some(BINARY));
}

#[test]
fn a_page_sends_nothing_else_to_grpc_methods() {
    let server = server_with_keys(&[]);
    for path in [DECIDE, RECORD] {
        for kind in ["text/plain", "application/json", "application/octet-stream"] {
            let reply = call(&server, path, &[("content-type", kind), ("origin", SHOP)], &frame(&hero()));
            assert_eq!(reply.status, 415, "{path} {kind}: {reply:?}");
        }
    }
}

#[test]
fn other_routes_are_as_they_were() {
    let server = Server::shared();
    let grpc_web = |path| web::call(server.address, "POST", path, &[("content-type", BINARY)], &frame(&hero()));
    let answer: DecideResponse = answered(&grpc_web(DECIDE).bytes);
    assert_eq!(answer.placements.len(), 1, "a service may speak it too");
    let unknown = grpc_web("/rapport.v1.DecisionService/Erase");
    assert_eq!((unknown.status, unknown.header("grpc-status")), (200, Some("12")), "{unknown:?}");
    let unknown = grpc_web("/nothing");
    assert_eq!((unknown.status, unknown.header("grpc-status")), (200, Some("12")), "{unknown:?}");
    let json = web::call(server.address, "POST", "/nothing", &[("content-type", "application/json")], b"{}");
    assert_eq!((json.status, json.header("content-type")), (404, Some("application/json")), "{json:?}");
    assert_eq!(web::get(server.address, "/", &[]).status, 200);
}
