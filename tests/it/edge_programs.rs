//! Programs among browsers, and how fast a browser may ask.

use serde_json::{Value, json};

use crate::{
    edge::{PAGE_KEY, SHOP, server_with_keys},
    harness::{Server, eventually},
    web::{self, Reply},
};

const PREVIEW: &str = "RECORD_STATUS_REFUSED";
const COUNTED: &str = "RECORD_STATUS_RECORDED";
/// The quota of new visitors from one address, and some more that come back to
/// it while the test asks.
const NEWCOMERS: usize = 60 + 40;

fn call(server: &Server, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let headers = [&[("origin", SHOP), ("content-type", "text/plain"), ("x-api-key", PAGE_KEY)], headers].concat();
    web::call(server.address, "POST", path, &headers, body.to_string().as_bytes())
}

fn decide(server: &Server, headers: &[(&str, &str)]) -> Reply {
    decide_as(server, headers, "")
}

fn decide_as(server: &Server, headers: &[(&str, &str)], visitor: &str) -> Reply {
    call(server, "/v1/decide", headers, &json!({"placements": [{"placement": "home_hero"}], "visitorId": visitor}))
}

/// What was shown: a token, and the visitor it was made for.
#[derive(Default)]
struct Shown {
    token: String,
    visitor: String,
}

fn shown(reply: &Reply) -> Shown {
    let answer = reply.json();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
    let token = text(&answer["placements"][0]["presentations"][0]["presentationToken"]);
    Shown { token, visitor: text(&answer["visitorId"]) }
}

/// What becomes of an impression.
fn impression(server: &Server, Shown { token, visitor }: &Shown, headers: &[(&str, &str)]) -> String {
    let event = json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_IMPRESSION"}});
    let body = json!({"events": [event], "visitorId": visitor});
    let reply = call(server, "/v1/events", headers, &body);
    reply.json()["results"][0]["status"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

async fn counter(server: &Server, line: &str) -> u64 {
    eventually(line, || async {
        let metrics = web::get(server.private, "/metrics", &[]).body;
        let found = metrics.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        found.filter(|count| *count > 0)
    })
    .await
}

#[tokio::test]
async fn a_program_sees_the_page_and_nothing_of_it_counts() {
    let server = server_with_keys(&["--browser-rate", "1000"]);
    let programs = [
        ("declared", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        ("tool", "curl/8.5.0"),
        ("silent", ""),
    ];
    for (kind, agent) in programs {
        let agent = [("user-agent", agent)];
        let seen = decide(&server, &agent);
        assert_eq!(seen.status, 200, "{kind}: {seen:?}");
        assert_eq!(seen.json()["placements"][0]["presentations"][0]["offer"], "welcome", "{kind}");
        assert_eq!(seen.json()["visitorId"], "", "{kind}");
        let token = shown(&seen);
        assert_eq!(impression(&server, &token, &agent), PREVIEW, "{kind}: its own token");
        assert_eq!(impression(&server, &token, &[]), PREVIEW, "{kind}: its token in a person's browser");
        // a person's token counts nothing for a program, and is good afterwards
        let persons = shown(&decide(&server, &[]));
        assert_eq!(impression(&server, &persons, &agent), PREVIEW, "{kind}: a person's token");
        assert_eq!(impression(&server, &persons, &[]), COUNTED, "{kind}");
        assert!(counter(&server, &format!("rapport_browser_programs_total{{kind=\"{kind}\"}}")).await >= 3);
    }
    let headless =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36";
    let headless = [("user-agent", headless)];
    assert_eq!(impression(&server, &shown(&decide(&server, &headless)), &headless), COUNTED);
    // a service is no browser, whatever it calls itself
    let service = [("x-api-key", "sk_admin"), ("content-type", "application/json"), ("user-agent", "curl/8.5.0")];
    let body = json!({"placements": [{"placement": "home_hero"}]}).to_string();
    let answer = web::call(server.address, "POST", "/v1/decide", &service, body.as_bytes());
    assert_eq!(impression(&server, &shown(&answer), &[]), COUNTED);
}

#[tokio::test]
async fn a_burst_of_new_visitors_is_a_program() {
    let server = server_with_keys(&["--browser-rate", "10000", "--trusted-proxies", "1"]);
    let from = |address| [("x-forwarded-for", address)];
    let first = shown(&decide(&server, &from("198.51.100.7")));
    assert_eq!(impression(&server, &first, &[]), COUNTED);
    let mut last = Shown::default();
    for _ in 0..NEWCOMERS {
        last = shown(&decide(&server, &from("198.51.100.7")));
    }
    assert_eq!(impression(&server, &last, &[]), PREVIEW, "the address has too many new visitors");
    let known = shown(&decide(&server, &from("198.51.100.9")));
    let mut last = Shown::default();
    for _ in 0..NEWCOMERS {
        last = shown(&decide_as(&server, &from("198.51.100.9"), &known.visitor));
    }
    assert_eq!(impression(&server, &last, &[]), COUNTED, "one visitor who looks at many pages");
    let elsewhere = shown(&decide(&server, &from("198.51.100.8")));
    assert_eq!(impression(&server, &elsewhere, &from("198.51.100.7")), COUNTED, "outcomes of people count there too");
    assert!(counter(&server, "rapport_browser_programs_total{kind=\"burst\"}").await >= 1);
}

/// What a page that permits profiling is shown at a place.
fn shown_at(server: &Server, placement: &str, headers: &[(&str, &str)]) -> (Shown, String) {
    let consent = json!({"profiling": "PERMISSION_GRANTED"});
    let question = json!({"placements": [{"placement": placement}], "pageConsent": consent});
    let reply = call(server, "/v1/decide", headers, &question);
    let link = reply.json()["placements"][0]["presentations"][0]["link"].as_str().unwrap_or_default().to_owned();
    let path = link.find("/c/").map_or_else(String::new, |at| link[at..].to_owned());
    (shown(&reply), path)
}

/// Whether there is a profile of a visitor.
fn is_remembered(server: &Server, visitor: &str) -> bool {
    let service = [("x-api-key", "sk_admin"), ("content-type", "application/json")];
    let body = json!({"identities": [{"type": "visitor_id", "value": visitor}]}).to_string();
    let reply = web::call(server.address, "POST", "/v1/customers:get", &service, body.as_bytes());
    assert!(matches!(reply.status, 200 | 404), "{reply:?}");
    reply.status == 200
}

#[tokio::test]
async fn what_a_burst_reports_makes_no_profile() {
    let server = server_with_keys(&["--browser-rate", "10000", "--trusted-proxies", "1"]);
    let from = |address| [("x-forwarded-for", address)];
    let (crowd, elsewhere) = (from("198.51.100.7"), from("198.51.100.8"));
    let seen: Vec<Shown> = (0..2).map(|_| shown_at(&server, "home_hero", &crowd).0).collect();
    let linked: Vec<(Shown, String)> = (0..2).map(|_| shown_at(&server, "linked_slot", &crowd)).collect();
    for _ in 0..NEWCOMERS {
        decide(&server, &crowd);
    }
    assert_eq!(impression(&server, &seen[0], &crowd), COUNTED);
    assert_eq!(impression(&server, &seen[1], &elsewhere), COUNTED);
    assert_eq!(web::get(server.address, &linked[0].1, &crowd).status, 302);
    let clicks = "rapport_outcomes_total{type=\"click\"}";
    assert_eq!(counter(&server, clicks).await, 1);
    // what counted of nobody does not count once more of the visitor
    assert_eq!(web::get(server.address, &linked[0].1, &elsewhere).status, 302);
    assert_eq!(web::get(server.address, &linked[1].1, &elsewhere).status, 302);
    // the last click comes after all else in the log
    eventually("the click from elsewhere", || async { is_remembered(&server, &linked[1].0.visitor).then_some(()) })
        .await;
    assert!(is_remembered(&server, &seen[1].visitor));
    // nor the other way round
    assert_eq!(web::get(server.address, &linked[1].1, &crowd).status, 302);
    assert_eq!(counter(&server, clicks).await, 2);
    assert!(!is_remembered(&server, &seen[0].visitor) && !is_remembered(&server, &linked[0].0.visitor));
}

#[tokio::test]
async fn who_follows_links_too_fast_gets_there_uncounted() {
    let server = server_with_keys(&["--browser-rate", "1", "--trusted-proxies", "1"]);
    let from = [("x-forwarded-for", "198.51.100.7")];
    let (_, path) = shown_at(&server, "linked_slot", &from);
    for _ in 0..50 {
        assert_eq!(web::get(server.address, &path, &from).status, 302);
    }
    assert!(counter(&server, "rapport_clicks_dropped_total").await >= 1);
}

/// The statuses of so many questions from an address.
fn statuses(server: &Server, headers: &[(&str, &str)], count: usize) -> Vec<u16> {
    (0..count).map(|_| decide(server, headers).status).collect()
}

/// The quota is one a second and three at once, so that of many one after the
/// other most are refused, and never the first.
fn is_limited(statuses: &[u16]) -> bool {
    statuses.contains(&429)
}

#[tokio::test]
async fn a_browser_that_asks_too_fast_is_told_when_to_come_back() {
    let server = server_with_keys(&["--browser-rate", "1", "--trusted-proxies", "1"]);
    let here = [("x-forwarded-for", "6.6.6.6, 198.51.100.7")];
    let answered = statuses(&server, &here, 200);
    assert_eq!(answered[..3], [200, 200, 200]);
    assert!(is_limited(&answered), "{answered:?}");
    let refused = (0..200).map(|_| decide(&server, &here)).find(|reply| reply.status == 429).expect("a refusal");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(refused.header("cache-control"), Some("private, no-store"));
    assert_eq!(refused.json()["details"][0]["reason"], "RATE_LIMITED");
    assert!(counter(&server, "rapport_browser_requests_limited_total").await >= 1);

    assert_eq!(statuses(&server, &[("x-forwarded-for", "198.51.100.8")], 1), [200], "another address");
    let other_key = [("x-forwarded-for", "198.51.100.7"), ("origin", SHOP), ("x-api-key", "pk_other")];
    let body = json!({"placements": [{"placement": "home_hero"}]}).to_string();
    assert_eq!(web::call(server.address, "POST", "/v1/decide", &other_key, body.as_bytes()).status, 200, "another key");
    let service = [("x-api-key", "sk_decide"), ("x-forwarded-for", "198.51.100.7")];
    for _ in 0..10 {
        assert_eq!(web::call(server.address, "POST", "/v1/decide", &service, body.as_bytes()).status, 200, "a service");
    }
    // one household has 64 bits of addresses for itself
    let mut household = Vec::new();
    for host in 0..200 {
        household.extend(statuses(&server, &[("x-forwarded-for", &format!("2001:db8:1:2::{host:x}"))], 1));
    }
    assert!(is_limited(&household), "{household:?}");
    assert_eq!(statuses(&server, &[("x-forwarded-for", "2001:db8:1:3::1")], 1), [200], "the neighbours");
}

#[test]
fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
    let server = server_with_keys(&["--browser-rate", "1"]);
    let mut answered = Vec::new();
    for host in 0..200 {
        answered.extend(statuses(&server, &[("x-forwarded-for", &format!("198.51.100.{host}"))], 1));
    }
    assert!(is_limited(&answered), "whoever writes addresses of its own has one quota: {answered:?}");
}
