//! What a page may do: beacons, preflights, limits, what it may say.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    edge::{EVIL, PAGE_KEY, SHOP, server_with_keys},
    harness::{Place, Server},
    web::{self, Reply},
};

/// The headers of a beacon: nothing that a browser would ask about first.
const BEACON: &[(&str, &str)] = &[("origin", SHOP), ("content-type", "text/plain;charset=UTF-8")];

/// A beacon of the shop's page.
fn beacon(server: &Server, path: &str, body: &Value) -> Reply {
    web::call(server.address, "POST", &format!("{path}?key={PAGE_KEY}"), BEACON, body.to_string().as_bytes())
}

fn hero() -> Value {
    json!({"placements": [{"placement": "home_hero"}]})
}

fn token_of(answer: &Value) -> String {
    let token = &answer["placements"][0]["presentations"][0]["presentationToken"];
    token.as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
}

fn visitor_of(answer: &Value) -> String {
    answer["visitorId"].as_str().unwrap_or_else(|| panic!("no visitor in {answer}")).to_owned()
}

fn outcome((token, visitor): (&str, &str), kind: &str) -> Value {
    json!({"events": [{"outcome": {"presentationToken": token, "type": kind}}], "visitorId": visitor})
}

fn reason(reply: &Reply) -> String {
    reply.json()["details"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_page_decides_and_reports_by_beacons() {
    let server = server_with_keys(&[]);
    let answer = beacon(&server, "/v1/decide", &hero());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert!(answer.header("vary").is_some_and(|vary| vary.contains("origin")), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let (token, visitor) = (token_of(&answer.json()), visitor_of(&answer.json()));
    for status in ["RECORD_STATUS_RECORDED", "RECORD_STATUS_DUPLICATE"] {
        let reply = beacon(&server, "/v1/events", &outcome((&token, &visitor), "OUTCOME_TYPE_IMPRESSION"));
        assert_eq!(reply.json()["results"][0]["status"], status, "{reply:?}");
    }
    // the same with a key in a header, which a browser asks about first
    let headers = [("origin", SHOP), ("content-type", "application/json"), ("x-api-key", PAGE_KEY)];
    let reply = web::call(server.address, "POST", "/v1/decide", &headers, hero().to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn a_browser_is_told_once_a_day_what_its_pages_may_send() {
    let server = server_with_keys(&[]);
    let ask = |origin: &str, path: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-api-key"),
        ];
        web::call(server.address, "OPTIONS", path, &headers, b"")
    };
    for path in ["/v1/decide", "/v1/events", "/rapport.v1.DecisionService/Decide", "/rapport.v1.EventService/Record"] {
        let told = ask(SHOP, path);
        assert_eq!(told.status, 204, "{path}: {told:?}");
        assert_eq!(told.header("access-control-allow-origin"), Some(SHOP));
        assert_eq!(told.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(told.header("access-control-max-age"), Some("86400"));
        assert_eq!(told.header("vary"), Some("origin"));
        let headers = told.header("access-control-allow-headers").expect("headers");
        assert!(["content-type", "x-api-key", "x-grpc-web"].iter().all(|name| headers.contains(name)), "{headers}");
        assert_eq!(told.header("access-control-allow-credentials"), None);
    }
    for (origin, path) in [(EVIL, "/v1/decide"), ("null", "/v1/decide"), (SHOP, "/v1/customers:get"), (SHOP, "/v1/x")] {
        let told = ask(origin, path);
        assert_eq!(told.status, 403, "{origin} {path}: {told:?}");
        assert_eq!(told.header("access-control-allow-origin"), None, "{told:?}");
        assert_eq!(told.header("vary"), Some("origin"));
    }
}

#[test]
fn a_page_that_may_call_can_read_its_errors() {
    let server = server_with_keys(&[]);
    let mistake = web::call(server.address, "POST", &format!("/v1/decide?key={PAGE_KEY}"), BEACON, b"{");
    let no_key = web::call(server.address, "POST", "/v1/decide", BEACON, b"{}");
    for (reply, status) in [(&mistake, 400), (&no_key, 401)] {
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(SHOP));
        assert!(reply.header("access-control-expose-headers").is_some_and(|names| names.contains("grpc-status")));
        assert!(reply.json()["message"].is_string());
    }
    let foreign = [("origin", EVIL), ("content-type", "text/plain")];
    let reply = web::call(server.address, "POST", &format!("/v1/decide?key={PAGE_KEY}"), &foreign, b"{}");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None));
    assert!(reason(&reply) == "ORIGIN_NOT_ALLOWED" && reply.header("vary") == Some("origin"), "{reply:?}");
}

#[test]
fn a_secret_key_in_a_url_never_works_and_is_never_logged() {
    let server = server_with_keys(&["--log-level", "trace"]);
    for (path, headers) in [
        ("/v1/decide?key=sk_admin", &[][..]),
        ("/v1/decide?key=sk_adm%69n", BEACON),
        ("/v1/events?a=b&key=sk_record", &[("x-api-key", "sk_admin")][..]),
        ("/v1/offers?key=sk_admin", &[][..]),
    ] {
        let method = if path.contains("offers") { "GET" } else { "POST" };
        let reply = web::call(server.address, method, path, headers, b"{}");
        assert_eq!((reply.status, reason(&reply).as_str()), (403, "SECRET_KEY_IN_QUERY"), "{path}: {reply:?}");
        assert!(!reply.body.contains("sk_"), "{reply:?}");
    }
    let unknown = web::call(server.address, "POST", "/v1/decide?key=guessed", BEACON, b"{}");
    assert_eq!((unknown.status, reason(&unknown).as_str()), (401, "UNKNOWN_API_KEY"));
    let log = server.log();
    assert!(!log.contains("sk_") && !log.contains("guessed"), "a key stands in the log:\n{log}");
}

#[test]
fn what_a_page_may_not_say_is_named() {
    let server = server_with_keys(&["--browser-rate", "1000"]);
    let fields = |reply: &Reply| -> Vec<String> {
        let violations = reply.json()["details"][1]["fieldViolations"].as_array().cloned().unwrap_or_default();
        violations.iter().map(|v| v["field"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let cases = [
        ("identities", json!([{"type": "customer_id", "value": "12345"}])),
        ("identities", json!([{"type": "email", "value": "a@shop.example"}])),
        ("assurance", json!("ASSURANCE_VERIFIED")),
        ("view", json!("VIEW_AGENT")),
        ("view", json!("VIEW_FULL")),
        ("trace", json!("TRACE_SUMMARY")),
        ("intent", json!("INTENT_PREVIEW")),
        ("as_of", json!("2026-01-01T00:00:00Z")),
        ("attribute_overrides", json!({"member": true})),
        ("send_window", json!({})),
        ("context.temperature", json!({"temperature": 20.0})),
        ("placements", json!([])),
        ("request_id", json!("r1")),
        ("session_id", json!("s".repeat(65))),
        ("placements[0].placement", json!([{"placement": "p".repeat(65)}])),
    ];
    for (field, value) in cases {
        let name = field.split(['.', '[']).next().unwrap_or_default();
        let mut question = hero();
        question[if name == "context" { "context" } else { name }] = value;
        let reply = beacon(&server, "/v1/decide", &question);
        assert_eq!(reply.status, 400, "{field}: {reply:?}");
        assert_eq!(fields(&reply), [field], "{reply:?}");
    }
    let answer = beacon(&server, "/v1/decide", &hero()).json();
    let (token, visitor) = (token_of(&answer), visitor_of(&answer));
    let money = |amount: &str| json!({"amount": amount, "currency": "GBP"});
    let conversion = |amount: &str| {
        let (kind, value) = ("OUTCOME_TYPE_CONVERSION", money(amount));
        json!({"outcome": {"presentationToken": token, "type": kind, "value": value}})
    };
    let events = [
        ("outcome.value", conversion("10000.01")),
        ("outcome.value", conversion("92233720368547758.07")),
        ("customer.type", json!({"eventId": "1", "customer": {"type": "purchase"}})),
        (
            "customer.identities",
            json!({"eventId": "1", "customer": {"type": "page_view", "identities": [{"type": "cookie", "value": "c"}]}}),
        ),
        ("outcome.type", json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_UNSUBSCRIBE"}})),
        ("outcome.type", json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_HANDOFF"}})),
        ("outcome.type", json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_CANCELLED"}})),
        ("outcome.note", json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_CLICK", "note": "x"}})),
        (
            "outcome.reason_code",
            json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_DECLINE", "reasonCode": "odd"}}),
        ),
    ];
    for (field, event) in events {
        let reply = beacon(&server, "/v1/events", &json!({"events": [event], "visitorId": visitor}));
        let result = &reply.json()["results"][0];
        assert_eq!(result["status"], "RECORD_STATUS_REFUSED", "{field}: {reply:?}");
        assert!(result["error"].as_str().is_some_and(|why| why.contains(&format!("`{field}`"))), "{field}: {reply:?}");
    }
    // nothing of this was taken for the presentation
    let reply = beacon(&server, "/v1/events", &outcome((&token, &visitor), "OUTCOME_TYPE_CLICK"));
    assert_eq!(reply.json()["results"][0]["status"], "RECORD_STATUS_RECORDED", "{reply:?}");
}

#[test]
fn a_page_knows_the_placements_of_pages_only() {
    let server = server_with_keys(&["--browser-rate", "1000"]);
    for name in ["agent_desktop", "agent_desktopp", "nothing"] {
        let question = json!({"placements": [{"placement": name}]});
        let answer = beacon(&server, "/v1/decide", &question).json();
        let place = &answer["placements"][0];
        assert_eq!(
            (&place["status"], &place["placement"]),
            (&json!("PLACEMENT_STATUS_UNKNOWN_PLACEMENT"), &json!(name))
        );
        assert_eq!(place["presentations"], json!([]), "{answer}");
        let strict = json!({"strict": true, "placements": [{"placement": name}], "allowedChannels": ["emial"]});
        let refused = beacon(&server, "/v1/decide", &strict);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(!refused.body.contains("did you mean"), "{refused:?}");
    }
    let strict = json!({"strict": true, "placements": [{"placement": "home_her"}]});
    assert!(beacon(&server, "/v1/decide", &strict).body.contains("did you mean `home_hero`"));
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_the_same_words_whatever_is_wrong() {
    let server = server_with_keys(&["--browser-rate", "1000"]);
    let answer = beacon(&server, "/v1/decide", &hero()).json();
    let (good, visitor) = (token_of(&answer), visitor_of(&answer));
    let foreign = token_of(&beacon(&server, "/v1/decide", &hero()).json());
    let preview = {
        let question = json!({"placements": [{"placement": "home_hero"}], "intent": "INTENT_PREVIEW"});
        let headers = [("x-api-key", "sk_decide"), ("content-type", "application/json")];
        let reply = web::call(server.address, "POST", "/v1/decide", &headers, question.to_string().as_bytes());
        token_of(&reply.json())
    };
    let altered = {
        let mut bytes = good.clone().into_bytes();
        let middle = bytes.len() / 2;
        bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    };
    let told: Vec<Value> = [altered, preview, foreign, "guessed".to_owned(), good[..good.len() - 1].to_owned()]
        .iter()
        .map(|token| beacon(&server, "/v1/events", &outcome((token, &visitor), "OUTCOME_TYPE_CLICK")).json())
        .collect();
    assert_eq!(told[0]["results"][0]["status"], "RECORD_STATUS_REFUSED");
    assert!(told.iter().all(|other| *other == told[0]), "{told:#?}");
}

#[test]
fn a_page_says_at_most_64_kib_and_a_service_more() {
    let server = server_with_keys(&[]);
    let padded = |bytes: usize| {
        let mut body = hero().to_string();
        body.push_str(&" ".repeat(bytes - body.len()));
        body
    };
    let key = format!("/v1/decide?key={PAGE_KEY}");
    assert_eq!(web::call(server.address, "POST", &key, BEACON, padded(64 << 10).as_bytes()).status, 200);
    let long = web::call(server.address, "POST", &key, BEACON, padded((64 << 10) + 1).as_bytes());
    assert_eq!((long.status, long.header("access-control-allow-origin")), (413, Some(SHOP)), "{long:?}");
    assert!(long.json()["message"].as_str().is_some_and(|why| why.contains("65536")), "{long:?}");
    let service = [("x-api-key", "sk_decide"), ("content-type", "application/json")];
    assert_eq!(web::call(server.address, "POST", "/v1/decide", &service, padded(200 << 10).as_bytes()).status, 200);
    let text = [("x-api-key", "sk_decide"), ("content-type", "text/plain")];
    let reply = web::call(server.address, "POST", "/v1/decide", &text, hero().to_string().as_bytes());
    assert_eq!((reply.status, reason(&reply).as_str()), (415, "CONTENT_TYPE"), "plain text is for pages");
}

#[test]
fn a_page_that_sends_slowly_loses_its_place() {
    let server = server_with_keys(&[]);
    let mut stream = TcpStream::connect(server.address).expect("connecting to the service");
    let head = format!(
        "POST /v1/decide?key={PAGE_KEY} HTTP/1.1\r\nhost: {}\r\norigin: {SHOP}\r\ncontent-type: text/plain\r\n\
         connection: close\r\ncontent-length: 100\r\n\r\n{{",
        server.address
    );
    stream.write_all(head.as_bytes()).expect("sending the head");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a read timeout");
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert!(reply.contains("did not arrive within 5 s"), "{reply}");
}

#[test]
fn nobody_keeps_an_answer() {
    let server = Server::shared();
    for (method, path) in rapport::http::ROUTES {
        if !path.starts_with("/v1/") {
            continue;
        }
        for method in [method, "HEAD", "DELETE", "OPTIONS"] {
            let body: &[u8] = if method == "POST" { b"{" } else { b"" };
            let reply = web::call(server.address, method, path, &[("content-type", "application/json")], body);
            assert_eq!(reply.header("cache-control"), Some("private, no-store"), "{method} {path}: {reply:?}");
        }
    }
    let unknown = web::get(server.address, "/v1/nothing", &[]);
    assert_eq!((unknown.status, unknown.header("cache-control")), (404, Some("private, no-store")));
}

#[test]
fn methods_are_answered_as_http_says() {
    let server = Server::shared();
    let reply = web::call(server.address, "OPTIONS", "/v1/decide", &[], b"");
    assert_eq!((reply.status, reply.header("allow"), reply.body.as_str()), (204, Some("POST"), ""));
    let reply = web::call(server.address, "GET", "/v1/decide", &[], b"");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    assert_eq!(reason(&reply), "WRONG_METHOD");
    let (get, head) =
        (web::get(server.address, "/v1/offers", &[]), web::call(server.address, "HEAD", "/v1/offers", &[], b""));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert!(
        web::call(server.address, "OPTIONS", "/v1/offers", &[], b"").header("allow").is_some_and(|a| a.contains("GET"))
    );
}

#[test]
fn large_answers_are_compressed_for_who_can_read_it() {
    let server = Server::shared();
    let plain = web::get(server.address, "/v1/offers", &[]);
    assert!(plain.bytes.len() > 1_400 && plain.header("content-encoding").is_none(), "{plain:?}");
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    let small = web::get(server.address, "/v1/offers", &[("accept-encoding", "gzip, deflate, br, zstd")]);
    assert_eq!((small.header("content-encoding"), small.header("vary")), (Some("gzip"), Some("accept-encoding")));
    assert!(small.bytes.len() * 2 < plain.bytes.len(), "{} of {}", small.bytes.len(), plain.bytes.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&small.bytes[..]).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, plain.body);
    let tiny = web::get(server.address, "/v1/ruleset:active", &[("accept-encoding", "gzip")]);
    assert!(tiny.bytes.len() < 1_400 && tiny.header("content-encoding").is_none(), "{tiny:?}");
}

#[test]
fn a_name_that_is_made_to_lead_here_leads_nowhere() {
    let server = Server::start(&Arc::new(Place::new()));
    let port = server.address.port();
    let (host, origin) = (format!("evil.example:{port}"), format!("http://evil.example:{port}"));
    let body = hero().to_string();
    let call = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let body = if method == "POST" { body.as_bytes() } else { b"" };
        web::call(server.address, method, path, headers, body)
    };
    let read = call("GET", "/v1/offers", &[("host", &host)]);
    assert_eq!((read.status, reason(&read).as_str()), (403, "FOREIGN_HOST"), "{read:?}");
    let written = call("POST", "/v1/decide", &[("host", &host), ("origin", &origin), ("content-type", "text/plain")]);
    assert_eq!((written.status, reason(&written).as_str()), (403, "ORIGIN_NOT_ALLOWED"), "{written:?}");
    let disguised = format!("localhost.evil.example:{port}");
    assert_eq!(call("GET", "/v1/offers", &[("host", &disguised)]).status, 403);

    let own = format!("http://localhost:{port}");
    let page = [("host", &own["http://".len()..]), ("origin", own.as_str()), ("content-type", "text/plain")];
    let reply = call("POST", "/v1/decide", &page);
    assert_eq!(reply.status, 200, "its own page may call, with plain text too: {reply:?}");
    let agent = json!({"placements": [{"placement": "agent_desktop"}], "view": "VIEW_AGENT", "trace": "TRACE_FULL"});
    let reply = web::call(server.address, "POST", "/v1/decide", &page, agent.to_string().as_bytes());
    assert_eq!(reply.status, 200, "it is no visitor's page: {reply:?}");
    assert_eq!(call("GET", "/v1/offers", &[("host", &own["http://".len()..])]).status, 200);
    let other = format!("http://localhost:{}", port.wrapping_add(1).max(1));
    assert_eq!(call("POST", "/v1/decide", &[("origin", &other)]).status, 403, "another service of this machine");
}
