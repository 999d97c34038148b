//! Erasing: at rest nothing personal is ever in the clear, and after an erasure
//! nothing of the person is found in any file, in any form, or by any call, also
//! when the process is killed right after the acknowledgement.

use std::{fs, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use rapport::proto::{
    EraseCustomerRequest, EraseCustomerResponse, ExplainRequest, ExportCustomerRequest, ExportDecisionsRequest,
    GetCustomerRequest, ListTimelineRequest, ListTimelineResponse, LookupRequest, Match, RecordRequest, RecordResponse,
    RecordStatus, UpsertCustomerRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{Place, Server, message},
    web,
};

/// What only this person has. Long enough to be found by accident nowhere.
const CUSTOMER: &str = "Cust-Zephyrine-90817";
const MAIL: &str = "zephyrine.quillfeather@example.org";
const PHONE: &str = "+447700900817";
const FIRST_NAME: &str = "Zephyrinette";
const COUNTRY: &str = "Quillfeatheria";
const NOTE: &str = "prefers-evening-calls-90817";
const PROOF: &str = "consent-text-90817";

const SECRETS: [&str; 7] = [CUSTOMER, MAIL, PHONE, FIRST_NAME, COUNTRY, NOTE, PROOF];

/// Every form in which a text might lie in a file.
fn forms(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut forms = Vec::new();
    for text in [text.to_owned(), text.to_lowercase(), text.to_uppercase()] {
        let bytes = text.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        forms.push((text.clone(), bytes.to_vec()));
        forms.push((format!("{text} in UTF-16"), text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
        forms.push((format!("{text} in hexadecimal"), hex.to_uppercase().into_bytes()));
        forms.push((format!("{text} in hexadecimal"), hex.into_bytes()));
        // in base64 it depends on what stands before; the ends depend on the neighbours
        for before in 0..3 {
            let padded = [vec![0; before], bytes.to_vec()].concat();
            let whole = STANDARD.encode(padded).into_bytes();
            let inner = whole[before.div_ceil(3) * 4..whole.len() - 4].to_vec();
            forms.push((format!("{text} in base64"), inner));
        }
    }
    // a phone number is kept without its sign
    if let Some(digits) = text.strip_prefix('+') {
        forms.push((digits.to_owned(), digits.as_bytes().to_vec()));
    }
    forms
}

fn files(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}

/// Nothing of the person stands in any file of the data directory or in the
/// service's log.
fn nothing_in_files(place: &Place, server: &Server) {
    let mut all = vec![("the service's log".to_owned(), server.log().into_bytes())];
    files(&place.data(), &mut all);
    assert!(all.iter().any(|(name, _)| name.ends_with("rapport.redb")), "the store is searched");
    assert!(all.iter().any(|(name, _)| name.contains("/log/")), "the log is searched");
    let finder = Finder::new(SECRETS.iter().flat_map(|secret| forms(secret)).collect());
    for (name, content) in &all {
        assert_eq!(finder.first_in(content), None, "in {name}");
    }
}

/// Finds the first of many texts, all at once.
struct Finder {
    wanted: Vec<(String, Vec<u8>)>,
    /// By their first two bytes.
    by_start: Vec<Vec<usize>>,
}

impl Finder {
    fn new(wanted: Vec<(String, Vec<u8>)>) -> Self {
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (at, (form, bytes)) in wanted.iter().enumerate() {
            assert!(bytes.len() >= 8, "`{form}` is too short to be searched for");
            by_start[start_of(bytes)].push(at);
        }
        Self { wanted, by_start }
    }

    fn first_in(&self, content: &[u8]) -> Option<&str> {
        (0..content.len().saturating_sub(1)).find_map(|at| {
            let rest = &content[at..];
            let found = self.by_start[start_of(rest)].iter().find(|one| rest.starts_with(&self.wanted[**one].1))?;
            Some(self.wanted[*found].0.as_str())
        })
    }
}

fn start_of(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

#[test]
fn the_search_finds_each_form() {
    let finder = Finder::new(forms(MAIL));
    for (form, bytes) in forms(MAIL) {
        let content = [b"before".to_vec(), bytes, b"after".to_vec()].concat();
        assert!(finder.first_in(&content).is_some(), "{form}");
    }
    assert_eq!(finder.first_in(b"zephyrine quillfeather of example.org"), None);
    for before in 0..3 {
        let encoded = STANDARD.encode([&b"abc"[..before], MAIL.as_bytes(), b"xyz"].concat());
        assert!(finder.first_in(encoded.as_bytes()).is_some(), "in base64 after {before} bytes");
    }
}

fn identities() -> Value {
    json!([{"type": "customer_id", "value": CUSTOMER}, {"type": "email", "value": MAIL}, {"type": "phone", "value": PHONE}])
}

fn one(kind: &str, value: &str) -> Value {
    json!([{"type": kind, "value": value}])
}

fn purchase(id: &str, at: Option<&str>) -> RecordRequest {
    message(json!({"events": [{
        "eventId": id,
        "source": "erase",
        "time": at,
        "customer": {
            "identities": one("email", MAIL),
            "type": "purchase",
            "amount": {"amount": "12.00", "currency": "GBP"},
            "data": {"note": NOTE},
        },
    }]}))
}

/// Somebody with attributes, consents, events, a decision and an answer to it;
/// answers the decision and its token.
async fn somebody(server: &Server) -> (String, String) {
    let upsert: UpsertCustomerRequest = message(json!({
        "identities": identities(),
        "attributes": {"first_name": FIRST_NAME, "email_address": MAIL, "country": COUNTRY},
        "consents": [
            {"purpose": "CONSENT_PURPOSE_PROFILING", "permission": "PERMISSION_GRANTED", "proof": PROOF, "source": "form"},
        ],
    }));
    server.customers().await.upsert_customer(upsert).await.expect("a customer");
    let recorded = server.events().await.record(purchase("first", None)).await.expect("an event").into_inner();
    assert_eq!(recorded.results[0].status(), RecordStatus::Recorded, "{recorded:?}");
    let answer = server
        .decide(json!({
            "identities": one("email", MAIL),
            "placements": [{"placement": "linked_slot"}],
            "requestId": "erase-question",
            "context": {"page": NOTE},
        }))
        .await
        .expect("an answer");
    let token = answer.placements[0].presentations[0].presentation_token.clone();
    let click: RecordRequest = message(json!({"events": [{
        "eventId": "click",
        "source": "erase",
        "outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_IMPRESSION", "note": NOTE},
    }]}));
    let recorded = server.events().await.record(click).await.expect("an outcome").into_inner();
    assert_eq!(recorded.results[0].status(), RecordStatus::Recorded, "{recorded:?}");
    (answer.decision_id, token)
}

async fn timeline(server: &Server, request: Value) -> Result<ListTimelineResponse, Status> {
    let request: ListTimelineRequest = message(request);
    Ok(server.customers().await.list_timeline(request).await?.into_inner())
}

async fn erase(server: &Server, validate_only: bool) -> Result<EraseCustomerResponse, Status> {
    let request = json!({"identities": one("phone", PHONE), "reason": "asked for", "validateOnly": validate_only});
    let request: EraseCustomerRequest = message(request);
    Ok(server.customers().await.erase_customer(request).await?.into_inner())
}

async fn export(server: &Server) -> Result<Value, Status> {
    let request: ExportCustomerRequest = message(json!({"identities": one("customer_id", CUSTOMER)}));
    let document = server.customers().await.export_customer(request).await?.into_inner().document;
    Ok(serde_json::to_value(document).expect("a document"))
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map_or_else(String::new, |info| info.reason.clone())
}

/// No call finds anything of the person.
async fn nothing_by_calls(server: &Server, decision: &str) {
    let mut customers = server.customers().await;
    for (kind, value) in [("customer_id", CUSTOMER), ("email", MAIL), ("phone", PHONE)] {
        let lookup: LookupRequest = message(json!({"identity": {"type": kind, "value": value}}));
        let found = customers.lookup(lookup).await.expect("a look-up").into_inner();
        assert!(found.matches.is_empty() && found.r#match() != Match::Known, "{found:?}");
        let get: GetCustomerRequest = message(json!({"identities": one(kind, value)}));
        assert_eq!(customers.get_customer(get).await.expect_err("nobody").code(), Code::NotFound);
        let listed = timeline(server, json!({"identities": one(kind, value)})).await;
        assert_eq!(listed.expect_err("nobody").code(), Code::NotFound);
    }
    assert_eq!(export(server).await.expect_err("nobody").code(), Code::NotFound);
    assert_eq!(erase(server, false).await.expect_err("nobody").code(), Code::NotFound);
    let mut decisions = server.decisions().await;
    let explained = decisions.explain(ExplainRequest { decision_id: decision.to_owned(), ..Default::default() }).await;
    let status = explained.expect_err("erased");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "ERASED"), "{status:?}");
    let mut exported = decisions.export_decisions(ExportDecisionsRequest::default()).await.expect("rows").into_inner();
    while let Some(row) = exported.message().await.expect("a row") {
        assert_ne!(row.decision_id, decision);
    }
    // asking again with the same request id must not give the old answer
    let again = server
        .decide(json!({
            "identities": one("email", MAIL),
            "placements": [{"placement": "linked_slot"}],
            "requestId": "erase-question",
            "context": {"page": NOTE},
        }))
        .await;
    match again {
        Err(status) => assert_eq!(reason(&status), "ERASED"),
        // after a restart the id is not known any more: it is a new question of nobody
        Ok(answer) => {
            assert_ne!(answer.decision_id, decision);
            let told = serde_json::to_string(&answer).expect("JSON");
            assert!(!told.contains(FIRST_NAME) && !told.contains(MAIL), "{told}");
        }
    }
}

/// What happened before is refused, by identity and by token.
async fn late_events_are_refused(server: &Server, token: &str) {
    let mut events = server.events().await;
    let refused = |answer: &RecordResponse| {
        let result = &answer.results[0];
        assert_eq!((result.status(), result.ack), (RecordStatus::Refused, 0), "{result:?}");
        let told = serde_json::to_string(result).expect("JSON");
        assert!(told.contains("erased"), "{told}");
    };
    let late = purchase("late", Some("2021-01-01T00:00:00Z"));
    refused(&events.record(late).await.expect("an answer").into_inner());
    // sent again because the acknowledgement was lost
    let again = purchase("first", Some("2021-01-01T00:00:00Z"));
    refused(&events.record(again).await.expect("an answer").into_inner());
    let outcome: RecordRequest = message(json!({"events": [{
        "eventId": "accept",
        "source": "erase",
        "outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_CLICK"},
    }]}));
    refused(&events.record(outcome).await.expect("an answer").into_inner());
}

/// The page, tokens and kinds of a timeline while the customer lives.
async fn the_timeline_tells_what_happened(server: &Server, decision: &str) {
    let whole = timeline(server, json!({"identities": identities()})).await.expect("a timeline");
    let types: Vec<&str> = whole.entries.iter().map(|entry| entry.r#type.as_str()).collect();
    assert_eq!(types, ["impression", "decision", "purchase", "upserted"]);
    assert_eq!(whole.entries[1].decision_id, decision);
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let request = json!({"identities": identities(), "pageSize": 1, "pageToken": token});
        let page = timeline(server, request).await.expect("a page");
        paged.extend(page.entries);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let other = json!({"identities": identities(), "pageToken": token, "kinds": ["TIMELINE_KIND_EVENT"]});
        assert_eq!(timeline(server, other).await.expect_err("another list").code(), Code::InvalidArgument);
    }
    assert_eq!(paged, whole.entries);
    let only = json!({"identities": identities(), "kinds": ["TIMELINE_KIND_OUTCOME"]});
    let only = timeline(server, only).await.expect("a timeline").entries;
    assert_eq!(only, whole.entries[..1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_erased_customer_is_left() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let (decision, token) = somebody(&server).await;
    the_timeline_tells_what_happened(&server, &decision).await;
    let document = export(&server).await.expect("a document");
    let text = document.to_string();
    for secret in SECRETS {
        assert!(text.contains(secret) || text.contains(&secret.to_lowercase()), "`{secret}` is not exported: {text}");
    }
    assert_eq!(document["decisions"][0]["decisionId"], json!(decision), "{text}");

    // while the customer lives everything at rest is sealed: in the log, and, after
    // a stop, in the store
    nothing_in_files(&place, &server);
    server.terminate();
    server.wait();
    nothing_in_files(&place, &server);
    server = Server::start(&place);
    assert_eq!(export(&server).await.expect("a document")["customer"], document["customer"]);

    let told = erase(&server, true).await.expect("a preview");
    assert!(told.erasure_id.is_empty() && told.ack == 0, "{told:?}");
    assert!(server.view("email", MAIL).await.is_some(), "nothing is erased yet");
    let receipt = erase(&server, false).await.expect("a receipt");
    // right after the acknowledgement
    server.kill();
    nothing_in_files(&place, &server);
    assert_eq!(receipt.removed, told.removed);
    let removed = |what: &str| receipt.removed.iter().find(|one| one.what == what).map_or(0, |one| one.count);
    assert_eq!((removed("profiles"), removed("identities"), removed("timeline")), (1, 3, 4), "{receipt:?}");
    assert!(receipt.remaining.iter().any(|one| one.what == "tombstones") && !receipt.erasure_id.is_empty());

    server = Server::start(&place);
    nothing_by_calls(&server, &decision).await;
    late_events_are_refused(&server, &token).await;
    nothing_by_calls(&server, &decision).await;
    nothing_in_files(&place, &server);
    server.terminate();
    server.wait();
    nothing_in_files(&place, &server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_is_somebody_new() {
    let place = Arc::new(Place::new());
    let server = Server::start(&place);
    let (decision, token) = somebody(&server).await;
    erase(&server, false).await.expect("a receipt");
    let metrics = web::get(server.private, "/metrics", &[]).body;
    assert!(metrics.lines().any(|line| line == "rapport_erasures_total 1"), "{metrics}");
    nothing_by_calls(&server, &decision).await;
    let recorded = server.events().await.record(purchase("again", None)).await.expect("an event").into_inner();
    assert_eq!(recorded.results[0].status(), RecordStatus::Recorded, "{recorded:?}");
    let view = server.view("email", MAIL).await.expect("somebody new");
    let given = |name: &&String| !["language", "member"].contains(&name.as_str());
    let known: Vec<&String> = view.attributes.keys().filter(given).collect();
    assert!(known.is_empty() && view.consents.is_empty() && view.interactions.is_empty(), "{view:?}");
    assert_eq!((view.identities.len(), view.events[0].count), (1, 1));
    late_events_are_refused(&server, &token).await;
    let entries = timeline(&server, json!({"identities": one("email", MAIL)})).await.expect("a timeline").entries;
    assert_eq!(entries.len(), 1);
}
