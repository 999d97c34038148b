//! What pages tell of their visitors: of the visitor of a signed id alone, with
//! consent, and nothing that only a service may say.

use serde_json::{Value, json};

use crate::{
    edge::{PAGE_KEY, SHOP as ORIGIN, place_with_keys},
    harness::{SHOP, Server},
    web,
};

const RECORDED: &str = "RECORD_STATUS_RECORDED";
const REFUSED: &str = "RECORD_STATUS_REFUSED";
/// More new visitors than an address may have, and some more.
const NEWCOMERS: usize = 60 + 40;

/// The fixture's rules, and an offer for who looked for a lamp.
fn server() -> Server {
    let rules = SHOP
        .replace(
            "  - { id: views, count: page_view }\n",
            "  - { id: views, count: page_view }\n  - { id: last_words, last: search, of: words }\n",
        )
        .replace(
            "offers:\n",
            "offers:\n  - id: lamps\n    name: Lamps\n    purpose: marketing\n    issue: grow\n    group: seasonal\n    \
             value: 100\n    placements: [side_bar]\n    eligibility: \"p.views >= 1 && p.last_words == 'lamp'\"\n    \
             treatments:\n      web: { en: { text: \"Lamps\", links: { shop: \"https://shop.example/lamps\" } } }\n",
        );
    let (place, keys) = place_with_keys();
    place.write_rule("shop.yaml", &rules);
    let keys = keys.to_string_lossy().into_owned();
    let arguments = ["--api-keys", &keys, "--cors-origin", ORIGIN, "--browser-rate", "10000", "--trusted-proxies", "1"];
    Server::start_with(&place, &arguments)
}

fn call(server: &Server, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
    let headers = [&[("origin", ORIGIN), ("content-type", "text/plain"), ("x-api-key", PAGE_KEY)], headers].concat();
    let reply = web::call(server.address, "POST", path, &headers, body.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn decide(server: &Server, visitor: &str, headers: &[(&str, &str)]) -> Value {
    let consent = json!({"profiling": "PERMISSION_GRANTED"});
    let body = json!({"placements": [{"placement": "side_bar"}], "visitorId": visitor, "pageConsent": consent});
    call(server, "/v1/decide", headers, &body)
}

fn new_visitor(server: &Server) -> String {
    decide(server, "", &[])["visitorId"].as_str().expect("a visitor id").to_owned()
}

/// Who is at a page, and what the page says of profiling.
#[derive(Clone, Copy)]
struct Page<'a> {
    visitor: &'a str,
    profiling: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

fn permitted(visitor: &str) -> Page<'_> {
    Page { visitor, profiling: "PERMISSION_GRANTED", headers: &[] }
}

/// What becomes of an event, and why.
fn send(server: &Server, page: Page<'_>, event: &Value) -> (String, String) {
    let consent = json!({"profiling": page.profiling});
    let body = json!({"events": [event], "visitorId": page.visitor, "pageConsent": consent});
    let result = &call(server, "/v1/events", page.headers, &body)["results"][0];
    let text = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("error"))
}

fn event(id: &str, kind: &str, data: Value) -> Value {
    json!({"eventId": id, "customer": {"type": kind, "data": data}})
}

/// What a service sees of a visitor; `None` when nothing is known.
fn profile(server: &Server, visitor: &str) -> Option<Value> {
    let service = [("x-api-key", "sk_admin"), ("content-type", "application/json")];
    let body = json!({"identities": [{"type": "visitor_id", "value": visitor}]}).to_string();
    let reply = web::call(server.address, "POST", "/v1/customers:get", &service, body.as_bytes());
    assert!(matches!(reply.status, 200 | 404), "{reply:?}");
    (reply.status == 200).then(|| reply.json())
}

/// A call of a service.
fn serve(server: &Server, path: &str, body: &Value) -> Value {
    let service = [("x-api-key", "sk_admin"), ("content-type", "application/json")];
    let reply = web::call(server.address, "POST", path, &service, body.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn offers(answer: &Value) -> Vec<&str> {
    let shown = answer["placements"][0]["presentations"].as_array().expect("presentations");
    shown.iter().filter_map(|one| one["offer"].as_str()).collect()
}

#[test]
fn what_a_page_tells_counts_in_the_next_decision() {
    let server = server();
    let visitor = new_visitor(&server);
    assert!(!offers(&decide(&server, &visitor, &[])).contains(&"lamps"));
    let page = permitted(&visitor);
    let view = event("1", "page_view", json!({"url": "https://shop.example/lamps"}));
    let mut search = event("2", "search", json!({"words": "lamp", "results": 12}));
    search["customer"]["channel"] = json!("web");
    for sent in [&view, &search] {
        assert_eq!(send(&server, page, sent).0, RECORDED);
        assert_eq!(send(&server, page, sent).0, "RECORD_STATUS_DUPLICATE");
    }
    assert_eq!(offers(&decide(&server, &visitor, &[]))[0], "lamps");
    // of that visitor alone, and the id is of that visitor's events
    let other = new_visitor(&server);
    assert_eq!(send(&server, permitted(&other), &view).0, RECORDED);
    assert!(!offers(&decide(&server, &other, &[])).contains(&"lamps"));
    let identity = json!([{"type": "customer_id", "value": "page-events"}]);
    let service = json!({"eventId": "1", "customer": {"type": "page_view", "identities": identity}});
    let told = serve(&server, "/v1/events", &json!({"events": [service]}));
    assert_eq!(told["results"][0]["status"], RECORDED, "{told}");
}

#[test]
fn what_only_a_service_may_say_is_refused() {
    let server = server();
    let visitor = new_visitor(&server);
    let money = json!({"amount": "9.90", "currency": "GBP"});
    let with = |field: &str, value: Value| {
        let mut event = event("3", "product_view", json!({}));
        event["customer"][field] = value;
        event
    };
    let mut dated = event("3", "page_view", json!({}));
    dated["time"] = json!("2024-01-01T00:00:00Z");
    let lines = |count: usize| json!(vec![json!({"item": "mug"}); count]);
    for (sent, says) in [
        (with("identities", json!([{"type": "customer_id", "value": "ann"}])), "`customer.identities` may not"),
        (with("amount", money.clone()), "`customer.amount` may not"),
        (with("items", json!([{"item": "mug", "unitPrice": money}])), "`customer.items[0].unit_price` may not"),
        (with("items", json!([{"item": "mug", "quantity": 1001}])), "`customer.items[0].quantity`"),
        (with("items", lines(21)), "has 21 entries: at most 20"),
        (with("channel", json!("call_centre")), "is not a channel"),
        (with("data", json!({"price": "cheap"})), "`customer.data.price`"),
        (with("data", json!({"notes": "x".repeat(2_100)})), "at most 2048"),
        (dated, "`time` may not"),
        (event("", "page_view", json!({})), "`event_id` is empty"),
        (event("3", "purchase", json!({})), "`purchase` is not an event type that a browser may send"),
        (event("3", "survey", json!({})), "`survey` is not an event type that a browser may send"),
        (event("3", "complaint_opned", json!({})), "`complaint_opned` is not an event type that a browser may send"),
    ] {
        let (status, error) = send(&server, permitted(&visitor), &sent);
        assert_eq!(status, REFUSED, "{sent}");
        assert!(error.contains(says) && !error.contains("complaint_opened"), "{sent}: {error}");
    }
    for foreign in ["", "AAAA", &format!("{visitor}A"), &"A".repeat(400)] {
        let (status, error) = send(&server, permitted(foreign), &event("3", "page_view", json!({})));
        assert!(status == REFUSED && error.contains("`visitor_id` is none of ours"), "{foreign}: {error}");
    }
    assert!(profile(&server, &visitor).is_none());
    // what is refused keeps nothing else out, and as many as may come, may
    assert_eq!(send(&server, permitted(&visitor), &with("items", lines(20))).0, RECORDED);
    assert!(profile(&server, &visitor).is_some());
}

#[test]
fn without_consent_nothing_is_written() {
    let server = server();
    let visitor = new_visitor(&server);
    let view = |id: &str| event(id, "page_view", json!({}));
    for profiling in ["PERMISSION_UNSPECIFIED", "PERMISSION_DENIED"] {
        let (status, error) = send(&server, Page { profiling, ..permitted(&visitor) }, &view("1"));
        assert!(status == REFUSED && error.contains("with consent to profiling only"), "{error}");
    }
    assert!(profile(&server, &visitor).is_none());
    // the consent of who logged in stands for the page that says nothing
    let identities =
        json!([{"type": "customer_id", "value": "page-consents"}, {"type": "visitor_id", "value": visitor}]);
    let consent = |permission: &str| {
        let consents = json!([{"purpose": "CONSENT_PURPOSE_PROFILING", "permission": permission, "source": "site"}]);
        serve(&server, "/v1/customers:upsert", &json!({"identities": identities, "consents": consents}));
    };
    consent("PERMISSION_GRANTED");
    let silent = Page { profiling: "PERMISSION_UNSPECIFIED", ..permitted(&visitor) };
    assert_eq!(send(&server, silent, &view("2")).0, RECORDED);
    assert_eq!(send(&server, Page { profiling: "PERMISSION_DENIED", ..silent }, &view("3")).0, REFUSED);
    consent("PERMISSION_DENIED");
    assert_eq!(send(&server, permitted(&visitor), &view("4")).0, REFUSED);
}

#[test]
fn programs_write_nothing_and_crowds_make_nobody() {
    let server = server();
    let view = event("1", "page_view", json!({}));
    let visitor = new_visitor(&server);
    let program = [("user-agent", "curl/8.5.0")];
    assert_eq!(send(&server, Page { headers: &program, ..permitted(&visitor) }, &view).0, REFUSED);
    assert!(profile(&server, &visitor).is_none());
    let crowd = [("x-forwarded-for", "198.51.100.7")];
    for _ in 0..NEWCOMERS {
        decide(&server, "", &crowd);
    }
    let page = Page { headers: &crowd, ..permitted(&visitor) };
    assert_eq!(send(&server, page, &view).0, REFUSED);
    assert!(profile(&server, &visitor).is_none());
    // who is known stays known there
    assert_eq!(send(&server, permitted(&visitor), &view).0, RECORDED);
    assert_eq!(send(&server, page, &event("2", "page_view", json!({}))).0, RECORDED);
}
