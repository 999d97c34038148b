//! The document is well made, and says what the service reads and writes.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{document, operations::Operation, serve};
use crate::{http::ROUTES, proto};

/// Visits every value of a document with its path.
fn walk<'j>(value: &'j Json, path: &str, see: &mut dyn FnMut(&str, &'j Json)) {
    see(path, value);
    match value {
        Json::Object(fields) => fields.iter().for_each(|(name, value)| walk(value, &format!("{path}/{name}"), see)),
        Json::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| walk(value, &format!("{path}/{at}"), see));
        }
        _ => {}
    }
}

fn operations(document: &Json) -> Vec<(String, &Json)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |one| (path, one)));
    all.map(|(path, (method, one))| (format!("{} {path}", method.to_uppercase()), one)).collect()
}

#[test]
fn every_route_is_in_it_and_no_other() {
    let document = document();
    let found: BTreeSet<String> = operations(&document).into_iter().map(|(name, _)| name).collect();
    let routes: BTreeSet<String> = ROUTES.iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(found, routes, "a route has no operation, or its call is not among the descriptors");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, "", &mut |path, value| {
        if let (true, Some(target)) = (path.ends_with("/$ref"), value.as_str()) {
            let pointer = target.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{path}: {target} leads nowhere");
            used.insert(target.to_owned());
        }
    });
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "nothing uses {name}");
        assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} has no description");
    }
    assert!(schemas.len() > 60, "{} schemas", schemas.len());
}

#[test]
fn operations_are_whole() {
    let document = document();
    assert_eq!(document["openapi"], json!("3.1.0"));
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name} has no summary");
        assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{name} answers nothing");
        for scheme in
            operation["security"].as_array().expect("security").iter().flat_map(|one| one.as_object()).flatten()
        {
            assert!(schemes.contains_key(scheme.0), "{name}: {} is not declared", scheme.0);
        }
        if let Some(id) = operation.get("operationId") {
            assert!(ids.insert(id.to_string()), "{id} stands twice");
        }
        let path = name.split_once(' ').expect("a path").1;
        let declared: Vec<&Json> = operation["parameters"].as_array().into_iter().flatten().collect();
        let in_path = declared.iter().filter(|one| one["in"] == json!("path"));
        assert_eq!(in_path.count(), path.matches('{').count(), "{name}");
    }
    let decide = &document["paths"]["/v1/decide"]["post"];
    assert!(decide["requestBody"]["content"]["text/plain"].is_object());
    assert!(decide["security"].as_array().is_some_and(|all| all.contains(&json!({"publishableKey": []}))));
    assert!(document["paths"]["/v1/respond"]["post"]["requestBody"]["content"]["text/plain"].is_null());
    assert_eq!(document["paths"]["/v1/offers"]["get"]["parameters"].as_array().map(Vec::len), Some(4));
}

#[test]
fn every_field_is_described_by_its_comment() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for (field, value) in schema["properties"].as_object().into_iter().flatten().filter(|_| name != "Status") {
            assert!(value["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}.{field}");
        }
    }
    let described = &document["components"]["schemas"]["DecideResponse"]["properties"]["decisionId"]["description"];
    assert_eq!(described, "UUIDv7 of the decision; the key for `Explain`.");
}

fn validator(document: &Json, name: &str) -> jsonschema::Validator {
    let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": document["components"]});
    jsonschema::validator_for(&schema).unwrap_or_else(|why| panic!("{name}: {why}"))
}

#[test]
fn every_schema_is_a_json_schema() {
    let document = document();
    for name in document["components"]["schemas"].as_object().expect("schemas").keys() {
        validator(&document, name);
    }
}

#[test]
fn what_is_read_is_what_the_schema_allows() {
    let document = document();
    let schema = validator(&document, "DecideRequest");
    let cases = [
        (json!({}), true),
        (json!({"identities": [{"type": "email", "value": "a@b"}], "assurance": "ASSURANCE_VERIFIED"}), true),
        (json!({"sessionId": "a", "time_budget_ms": 5, "timeBudgetMs": null}), false),
        (json!({"session_id": "a", "timeBudgetMs": "5"}), true),
        (json!({"timeBudgetMs": -1}), false),
        (json!({"timeBudgetMs": u32::MAX}), true),
        (json!({"timeBudgetMs": u64::from(u32::MAX) + 1}), false),
        (json!({"timeBudgetMs": [1]}), false),
        (json!({"assurance": 3, "view": 0}), true),
        (json!({"assurance": 4}), false),
        (json!({"assurance": "VERIFIED"}), false),
        (json!({"pageConsent": null}), true),
        (json!({"pageConsent": {"profiling": "PERMISSION_GRANTED", "marketing": 2}}), true),
        (json!({"pageConsent": {"profiling": null}}), false),
        (json!({"pageConsent": []}), false),
        (json!({"context": {"basket": 30, "tags": ["a"], "nothing": null}}), true),
        (json!({"context": [1]}), false),
        (json!({"sendWindow": {"from": "2026-06-10T10:00:00Z"}}), true),
        (json!({"sendWindow": {"from": 5}}), false),
        (json!({"sendWindow": {"begin": "2026-06-10T10:00:00Z"}}), false),
        (json!({"placements": [{"placement": "home"}, {"placement": "list", "count": 3}]}), true),
        (json!({"placements": [null]}), false),
        (json!({"placements": {"placement": "home"}}), false),
        (json!({"strict": "yes"}), false),
        (json!({"placments": []}), false),
        (json!([]), false),
    ];
    for (value, wanted) in cases {
        let read = serde_json::from_value::<proto::DecideRequest>(value.clone());
        assert_eq!(read.is_ok(), wanted, "the service: {value} {:?}", read.err());
        assert_eq!(schema.is_valid(&value), wanted, "the schema: {value}");
    }
}

#[test]
fn one_of_many_is_at_most_one() {
    let document = document();
    let schema = validator(&document, "Event");
    let outcome = json!({"presentationToken": "t", "type": "OUTCOME_TYPE_CLICK"});
    assert!(schema.is_valid(&json!({"eventId": "1", "outcome": outcome})));
    assert!(!schema.is_valid(&json!({"outcome": outcome, "customer": {"type": "purchase"}})));
    let both = json!({"outcome": outcome, "customer": {"type": "purchase"}});
    assert!(serde_json::from_value::<proto::Event>(both).is_err());
}

#[test]
fn what_is_written_has_every_field() {
    let document = document();
    let schema = validator(&document, "GetReportResponse");
    let report = proto::GetReportResponse {
        rows: vec![proto::ReportRow { eligible: u64::MAX, ..proto::ReportRow::default() }],
        lift: Some(proto::Lift { difference: -0.5, ..proto::Lift::default() }),
        ..proto::GetReportResponse::default()
    };
    let mut written = serde_json::to_value(&report).expect("JSON");
    assert!(schema.is_valid(&written), "{:?}", schema.iter_errors(&written).map(|e| e.to_string()).collect::<Vec<_>>());
    assert_eq!(written["rows"][0]["eligible"], json!(u64::MAX.to_string()));
    written["rows"][0]["eligible"] = json!(5);
    assert!(!schema.is_valid(&written), "64-bit integers are text");
    written["rows"][0].as_object_mut().expect("a row").remove("eligible");
    assert!(!schema.is_valid(&written), "every field is written");
}

#[test]
fn a_copy_that_is_still_good_is_not_sent_again() {
    use axum::http::{HeaderMap, StatusCode, header};
    let first = serve(&HeaderMap::new());
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(first.headers()[header::CACHE_CONTROL], "public, max-age=300");
    let tag = first.headers()[header::ETAG].clone();
    let asked = |known: &str| HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().expect("a header"))]);
    for known in [tag.to_str().expect("text"), &format!("\"x\", W/{}", tag.to_str().expect("text")), "*"] {
        assert_eq!(serve(&asked(known)).status(), StatusCode::NOT_MODIFIED, "{known}");
    }
    assert_eq!(serve(&asked("\"0123456789abcdef\"")).status(), StatusCode::OK);
}

#[test]
fn the_table_names_calls_that_there_are() {
    for (method, path) in ROUTES {
        let operation = Operation::of(method, path).unwrap_or_else(|| panic!("{method} {path} has no operation"));
        if let Some(name) = operation.call() {
            let known = super::descriptors::Descriptors::compiled().call(name).is_some();
            assert!(known, "{method} {path}: there is no call `{name}`");
        }
    }
}
