//! Every route and every call of the descriptors, by every kind of caller.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use prost::Message;
use rapport::http::ROUTES;
use sha2::{Digest, Sha256};

use crate::{
    harness::{Place, Server},
    raw, web,
};

/// An origin whose pages may call.
pub const SHOP: &str = "https://shop.example";
/// One whose pages may not.
pub const EVIL: &str = "https://evil.example";
/// The key of the shop's pages.
pub const PAGE_KEY: &str = "pk_shop";

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Everybody.
    Public,
    /// Pages, and services with this role or a higher one.
    Pages(&'static str),
    /// Services with this role or a higher one.
    Services(&'static str),
}

/// What every call is declared to be; one that is missing here fails.
const DECLARED: &[(&str, Access)] = &[
    ("/rapport.v1.DecisionService/Decide", Access::Pages("decide")),
    ("/rapport.v1.DecisionService/DecideStream", Access::Services("decide")),
    ("/rapport.v1.DecisionService/Respond", Access::Services("record")),
    ("/rapport.v1.DecisionService/Explain", Access::Services("record")),
    ("/rapport.v1.DecisionService/ExportDecisions", Access::Services("admin")),
    ("/rapport.v1.EventService/Record", Access::Pages("record")),
    ("/rapport.v1.EventService/RecordStream", Access::Services("record")),
    ("/rapport.v1.EventService/Subscribe", Access::Services("admin")),
    ("/rapport.v1.CustomerService/ListTimeline", Access::Services("record")),
    ("/rapport.v1.CustomerService/MergeCustomers", Access::Services("admin")),
    ("/rapport.v1.CustomerService/ListMerges", Access::Services("record")),
    ("/rapport.v1.CustomerService/UndoMerge", Access::Services("admin")),
    ("/rapport.v1.CustomerService/EraseCustomer", Access::Services("admin")),
    ("/rapport.v1.CustomerService/ExportCustomer", Access::Services("admin")),
    ("/rapport.v1.AnalysisService/GetAnalysis", Access::Services("admin")),
    ("/rapport.v1.CustomerService/GetCustomer", Access::Services("record")),
    ("/rapport.v1.CustomerService/UpsertCustomer", Access::Services("record")),
    ("/rapport.v1.CustomerService/SetDoNotContact", Access::Services("record")),
    ("/rapport.v1.CustomerService/Lookup", Access::Services("record")),
    ("/rapport.v1.CustomerService/WatchCustomer", Access::Services("record")),
    ("/rapport.v1.RulesetService/GetActiveRevision", Access::Services("decide")),
    ("/rapport.v1.RulesetService/ListOffers", Access::Services("record")),
    ("/rapport.v1.RulesetService/GetReport", Access::Services("admin")),
    ("/rapport.v1.RulesetService/Pause", Access::Services("admin")),
    ("/rapport.v1.RulesetService/Resume", Access::Services("admin")),
    ("/rapport.v1.RulesetService/ListPauses", Access::Services("record")),
    ("/rapport.v1.RulesetService/ValidateRevision", Access::Services("admin")),
    ("/rapport.v1.RulesetService/EvaluateReach", Access::Services("admin")),
    ("/rapport.v1.RulesetService/PublishRevision", Access::Services("admin")),
    ("/rapport.v1.RulesetService/RollbackRevision", Access::Services("admin")),
    ("/rapport.v1.RulesetService/ListRevisions", Access::Services("admin")),
    ("/rapport.v1.RulesetService/GetRevision", Access::Services("admin")),
    ("/rapport.v1.RulesetService/DiffRevisions", Access::Services("admin")),
    ("/rapport.v1.RulesetService/ListAudit", Access::Services("admin")),
    ("/v1/decide", Access::Pages("decide")),
    ("/v1/respond", Access::Services("record")),
    ("/v1/explain", Access::Services("record")),
    ("/v1/events", Access::Pages("record")),
    ("/v1/events:stream", Access::Services("record")),
    ("/v1/events:subscribe", Access::Services("admin")),
    ("/v1/customers:timeline", Access::Services("record")),
    ("/v1/customers:merge", Access::Services("admin")),
    ("/v1/customers:merges", Access::Services("record")),
    ("/v1/customers:undoMerge", Access::Services("admin")),
    ("/v1/customers:erase", Access::Services("admin")),
    ("/v1/customers:export", Access::Services("admin")),
    ("/v1/analysis", Access::Services("admin")),
    ("/v1/customers:get", Access::Services("record")),
    ("/v1/customers:upsert", Access::Services("record")),
    ("/v1/customers:doNotContact", Access::Services("record")),
    ("/v1/customers:lookup", Access::Services("record")),
    ("/v1/customers:watch", Access::Services("record")),
    ("/v1/ruleset:active", Access::Services("decide")),
    ("/v1/offers", Access::Services("record")),
    ("/v1/report", Access::Services("admin")),
    ("/v1/pauses:pause", Access::Services("admin")),
    ("/v1/pauses:resume", Access::Services("admin")),
    ("/v1/pauses", Access::Services("record")),
    ("/v1/revisions:validate", Access::Services("admin")),
    ("/v1/revisions:reach", Access::Services("admin")),
    ("/v1/revisions:publish", Access::Services("admin")),
    ("/v1/revisions:rollback", Access::Services("admin")),
    ("/v1/revisions", Access::Services("admin")),
    ("/v1/revisions:get", Access::Services("admin")),
    ("/v1/revisions:diff", Access::Services("admin")),
    ("/v1/audit", Access::Services("admin")),
    ("/c/{token}", Access::Public),
    ("/openapi.json", Access::Public),
    ("/rapport.js", Access::Public),
    ("/rapport.d.ts", Access::Public),
    ("/", Access::Public),
];

/// Why the edge turns a call away; every other error is of the call itself.
const REASONS: [&str; 9] = [
    "NO_API_KEY",
    "UNKNOWN_API_KEY",
    "ROLE_TOO_LOW",
    "NOT_FOR_BROWSERS",
    "ORIGIN_NOT_ALLOWED",
    "SECRET_KEY_IN_BROWSER",
    "SECRET_KEY_IN_QUERY",
    "FOREIGN_HOST",
    "RATE_LIMITED",
];

const ROLES: [&str; 3] = ["decide", "record", "admin"];

/// One kind of caller: its headers, and what it hears of a call.
struct Caller {
    what: &'static str,
    headers: &'static [(&'static str, &'static str)],
    hears: fn(Access) -> Option<&'static str>,
}

fn unless_public(access: Access, reason: &'static str) -> Option<&'static str> {
    (access != Access::Public).then_some(reason)
}

/// What a page hears of what is not for pages, whatever else is wrong.
fn in_a_page(access: Access, reason: Option<&'static str>) -> Option<&'static str> {
    match access {
        Access::Public => None,
        Access::Pages(_) => reason,
        Access::Services(_) => Some("NOT_FOR_BROWSERS"),
    }
}

fn with_role(access: Access, role: &str) -> Option<&'static str> {
    let (Access::Pages(needed) | Access::Services(needed)) = access else { return None };
    let rank = |role: &str| ROLES.iter().position(|known| *known == role);
    (rank(role) < rank(needed)).then_some("ROLE_TOO_LOW")
}

/// Callers of a service with keys.
const BY_KEY: &[Caller] = &[
    Caller { what: "no key", headers: &[], hears: |access| unless_public(access, "NO_API_KEY") },
    Caller {
        what: "no key, in a page",
        headers: &[("origin", SHOP)],
        hears: |access| unless_public(access, "NO_API_KEY"),
    },
    Caller {
        what: "an unknown key",
        headers: &[("x-api-key", "guessed")],
        hears: |access| unless_public(access, "UNKNOWN_API_KEY"),
    },
    Caller {
        what: "a browser key, right origin",
        headers: &[("x-api-key", PAGE_KEY), ("origin", SHOP)],
        hears: |access| in_a_page(access, None),
    },
    Caller {
        what: "a browser key, wrong origin",
        headers: &[("x-api-key", PAGE_KEY), ("origin", EVIL)],
        hears: |access| in_a_page(access, Some("ORIGIN_NOT_ALLOWED")),
    },
    Caller {
        what: "a browser key, the origin `null`",
        headers: &[("x-api-key", PAGE_KEY), ("origin", "null")],
        hears: |access| in_a_page(access, Some("ORIGIN_NOT_ALLOWED")),
    },
    Caller {
        what: "a browser key, no origin",
        headers: &[("x-api-key", PAGE_KEY)],
        hears: |access| in_a_page(access, Some("ORIGIN_NOT_ALLOWED")),
    },
    Caller {
        what: "a key to decide",
        headers: &[("x-api-key", "sk_decide")],
        hears: |access| with_role(access, "decide"),
    },
    Caller {
        what: "a key to record",
        headers: &[("authorization", "Bearer sk_record")],
        hears: |access| with_role(access, "record"),
    },
    Caller {
        what: "a key for everything",
        headers: &[("x-api-key", "sk_admin")],
        hears: |access| with_role(access, "admin"),
    },
    Caller {
        what: "a secret key in a page that may call",
        headers: &[("x-api-key", "sk_admin"), ("origin", SHOP)],
        hears: |access| unless_public(access, "SECRET_KEY_IN_BROWSER"),
    },
    Caller {
        what: "a secret key in another page",
        headers: &[("x-api-key", "sk_decide"), ("origin", EVIL)],
        hears: |access| unless_public(access, "SECRET_KEY_IN_BROWSER"),
    },
    Caller {
        what: "a secret key in a browser that names no origin",
        headers: &[("x-api-key", "sk_admin"), ("sec-fetch-site", "same-origin")],
        hears: |access| unless_public(access, "SECRET_KEY_IN_BROWSER"),
    },
    Caller {
        what: "a secret key in Node",
        headers: &[("x-api-key", "sk_admin"), ("sec-fetch-mode", "cors")],
        hears: |access| with_role(access, "admin"),
    },
];

/// Callers of a service without keys; `own` is its own origin.
const WITHOUT_KEYS: &[Caller] = &[
    Caller { what: "no page", headers: &[], hears: |_| None },
    Caller { what: "a permitted page", headers: &[("origin", SHOP)], hears: |access| in_a_page(access, None) },
    Caller {
        what: "another page",
        headers: &[("origin", EVIL)],
        hears: |access| unless_public(access, "ORIGIN_NOT_ALLOWED"),
    },
    Caller {
        what: "a page without an origin",
        headers: &[("origin", "null")],
        hears: |access| unless_public(access, "ORIGIN_NOT_ALLOWED"),
    },
    Caller {
        what: "another page that names no origin",
        headers: &[("sec-fetch-site", "cross-site")],
        hears: |access| unless_public(access, "ORIGIN_NOT_ALLOWED"),
    },
    Caller { what: "its own page, reading", headers: &[("sec-fetch-site", "same-origin")], hears: |_| None },
];

/// A place with a file of keys beside its rules.
pub fn place_with_keys() -> (Arc<Place>, PathBuf) {
    let place = Arc::new(Place::new());
    let line = |name: &str, role: &str, key: &str| {
        let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {role} {hash}\n")
    };
    let lines = [
        line("shop", "browser", PAGE_KEY),
        line("other", "browser", "pk_other"),
        line("site", "decide", "sk_decide"),
        line("desk", "record", "sk_record"),
        line("team", "admin", "sk_admin"),
    ];
    let path = place.data().with_file_name("keys");
    std::fs::write(&path, lines.concat()).expect("writing the keys");
    (place, path)
}

/// A service with keys whose pages are the shop's, with further arguments.
pub fn server_with_keys(arguments: &[&str]) -> Server {
    let (place, keys) = place_with_keys();
    let keys = keys.to_string_lossy().into_owned();
    Server::start_with(&place, &[&["--api-keys", &keys, "--cors-origin", SHOP], arguments].concat())
}

fn declared(path: &str) -> Access {
    let found = DECLARED.iter().find(|(declared, _)| *declared == path);
    found.unwrap_or_else(|| panic!("`{path}` is not declared: say who may call it")).1
}

/// Every call of the descriptors.
fn calls() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(rapport::proto::DESCRIPTORS).expect("the descriptors");
    let mut calls = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                calls.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    assert!(calls.len() >= 25, "{calls:?}");
    calls
}

/// The edge's reason in an answer.
fn reason_in(bytes: &[u8]) -> Option<&'static str> {
    REASONS.into_iter().find(|reason| bytes.windows(reason.len()).any(|part| part == reason.as_bytes()))
}

/// A message that a call which would never end refuses: a cursor that is none.
fn asked_of(path: &str) -> Vec<u8> {
    if path.ends_with("/Subscribe") { vec![0x0a, 1, b'x'] } else { Vec::new() }
}

fn over_json(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
    let path = path.replace("{token}", "guessed");
    let headers = [&[("content-type", "application/json")], headers].concat();
    let body: &[u8] = match (method, &*path) {
        ("POST", "/v1/events:subscribe") => br#"{"cursor": "x"}"#,
        ("POST", _) => b"{}",
        _ => b"",
    };
    let reply = web::call(server.address, method, &path, &headers, body);
    let reason = reason_in(&reply.bytes);
    assert!(reason.is_none() || reply.status >= 400, "{path}: {reply:?}");
    reason
}

/// The status of a gRPC-web call that is turned away stands in the headers.
fn over_grpc_web(server: &Server, path: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
    use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
    let headers = [&[("content-type", "application/grpc-web+proto")], headers].concat();
    let message = asked_of(path);
    let body = [&[0, 0, 0, 0, message.len() as u8][..], &message[..]].concat();
    let reply = web::call(server.address, "POST", path, &headers, &body);
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    let details = reply.header("grpc-status-details-bin").unwrap_or_default().trim_end_matches('=');
    reason_in(&BASE64_STANDARD_NO_PAD.decode(details).expect("base64"))
}

async fn walk(server: &Server, callers: &[Caller]) {
    let mut wrong = BTreeMap::new();
    for caller in callers {
        let channel = server.channel().await;
        for path in calls() {
            let expected = (caller.hears)(declared(&path));
            let refused = raw::call_with(channel.clone(), &path, caller.headers, asked_of(&path)).await;
            let heard = refused.err().and_then(|status| reason_in(status.details()));
            let web = over_grpc_web(server, &path, caller.headers);
            if heard != expected || web != expected {
                wrong.insert(format!("{path} by {}", caller.what), (expected, heard, web));
            }
        }
        for (method, path) in ROUTES {
            let expected = (caller.hears)(declared(path));
            let heard = over_json(server, method, path, caller.headers);
            if heard != expected {
                wrong.insert(format!("{method} {path} by {}", caller.what), (expected, heard, None));
            }
        }
    }
    assert!(wrong.is_empty(), "expected, heard, heard over gRPC-web: {wrong:#?}");
}

#[tokio::test]
async fn every_call_hears_what_is_declared_of_a_service_with_keys() {
    let server = server_with_keys(&["--browser-rate", "1000"]);
    walk(&server, BY_KEY).await;
    assert!(!server.log().contains("sk_"), "a key stands in the log");
}

#[tokio::test]
async fn every_call_hears_what_is_declared_of_a_service_without_keys() {
    let server = Server::start_with(&Arc::new(Place::new()), &["--cors-origin", SHOP, "--browser-rate", "1000"]);
    walk(&server, WITHOUT_KEYS).await;
    let own = format!("http://{}", server.address);
    for (method, path) in ROUTES {
        assert_eq!(over_json(&server, method, path, &[("origin", &own)]), None, "{path} by its own page");
    }
}

#[tokio::test]
async fn no_origin_may_call_until_one_is_named() {
    let (place, keys) = place_with_keys();
    let server = Server::start_with(&place, &["--api-keys", &keys.to_string_lossy()]);
    let headers = [("x-api-key", PAGE_KEY), ("origin", SHOP)];
    assert_eq!(over_json(&server, "POST", "/v1/decide", &headers), Some("ORIGIN_NOT_ALLOWED"));
    assert_eq!(over_json(&server, "POST", "/v1/decide", &[("x-api-key", "sk_decide")]), None);
}
