use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::{
    app::{AppError, Violation},
    domain::{Trace, View},
    grpc::convert::tests::written,
    proto,
};

use super::{json, links};

#[test]
fn an_answer_goes_out_with_its_default_values_and_comes_back_equal() {
    let answer = written(View::Render, Trace::None);
    let text = serde_json::to_string(&answer).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let placement = &value["placements"][0];
    assert_eq!(placement["silenceReason"], "SILENCE_REASON_UNSPECIFIED");
    assert_eq!(value["degraded"], json!([]));
    assert_eq!(placement["presentations"][0]["image"], "");
    assert_eq!(placement["presentations"][0]["items"], json!([]));
    assert_eq!(placement["presentations"][0]["data"]["a"], json!({"amount": "12.50", "currency": "GBP"}));
    assert_eq!(value["rulesetRevision"], "0000000000000007");
    assert_eq!(serde_json::from_str::<proto::DecideResponse>(&text).unwrap(), answer);
}

#[test]
fn a_question_is_read_as_people_write_it() {
    let text = r#"{"identities":[{"type":"email","value":"a@b"}],"placements":[{"placement":"home_hero"}],
        "context":{"basket_value":30},"view":"VIEW_FULL","time_budget_ms":50}"#;
    let question: proto::DecideRequest = serde_json::from_str(text).unwrap();
    assert_eq!((question.view, question.time_budget_ms), (proto::View::Full as i32, 50));
    let context = question.context.unwrap();
    assert_eq!(context.fields["basket_value"], 30.0.into());
}

#[test]
fn malformed_questions_are_refused_by_name() {
    let why = |text: &str| serde_json::from_str::<proto::DecideRequest>(text).err().map(|e| e.to_string());
    assert!(why(r#"{"placement":[]}"#).unwrap().contains("placement"));
    assert!(why(r#"{"view":"VIEW_EVERYTHING"}"#).unwrap().contains("VIEW_EVERYTHING"));
    assert!(why(r#"{"context":{"a":NaN}}"#).is_some());
    assert!(why(r#"{"context":{"a":1,"a":2}}"#).unwrap().contains("twice"));
    let deep = format!(r#"{{"context":{{"a":{}{}}}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    assert!(why(&deep).unwrap().contains("recursion"));
}

async fn body(response: axum::response::Response) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn errors_mirror_the_status() {
    let violation = |n: usize| Violation { field: format!("context.a{n}"), description: "is wrong".into() };
    let status = AppError::Invalid(vec![violation(0), violation(1)]).into();
    let response = json::refused(&status);
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["content-type"], "application/json");
    let value = body(response).await;
    assert_eq!(value["code"], 3);
    assert_eq!(value["details"][0]["reason"], "INVALID_FIELDS");
    let listed = value["details"][1]["fieldViolations"].as_array().unwrap();
    assert_eq!(listed[1], json!({"field": "context.a1", "description": "is wrong"}));
}

#[tokio::test]
async fn very_many_violations_still_fit_a_header() {
    let violations = (0..1_000).map(|n| Violation { field: format!("f{n}"), description: "x".repeat(100) }).collect();
    let status: tonic::Status = AppError::Invalid(violations).into();
    assert!(status.details().len() < 12_000, "{}", status.details().len());
    let value = body(json::refused(&status)).await;
    let listed = value["details"][1]["fieldViolations"].as_array().unwrap();
    let last = listed.last().unwrap()["description"].as_str().unwrap();
    assert_eq!(last, format!("and {} more", 1_000 - (listed.len() - 1)));
}

#[test]
fn a_browser_that_asks_ahead_is_no_person() {
    let headers = |name: &'static str, value: &'static str| {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())])
    };
    assert!(links::is_prefetch(&headers("sec-purpose", "prefetch;prerender")));
    assert!(links::is_prefetch(&headers("purpose", "Prefetch")));
    assert!(links::is_prefetch(&headers("x-moz", "prefetch")));
    assert!(!links::is_prefetch(&headers("sec-fetch-mode", "navigate")));
}
