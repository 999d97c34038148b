//! Visitors without a name, pages with a misspelt placement, and answers given twice.

use rapport::proto::{Match, OutcomeType, PlacementStatus, RespondRequest};
use serde_json::json;
use tonic::Code;

use crate::{
    harness::{Server, message, offers_of},
    web,
};

#[tokio::test]
async fn a_first_visitor_gets_an_answered_page() {
    let server = Server::shared();
    let answer = server.decide(json!({"placements": [{"placement": "home_hero"}]})).await.expect("an answer");
    assert_eq!(answer.r#match(), Match::Anonymous);
    let hero = &answer.placements[0];
    assert_eq!(hero.status(), PlacementStatus::Ok);
    let shown = &hero.presentations[0];
    assert_eq!((shown.offer.as_str(), shown.channel.as_str()), ("welcome", "web"));
    assert!(!shown.presentation_token.is_empty());
    let data = serde_json::to_value(shown.data.as_ref().expect("data of the placement")).expect("JSON");
    assert_eq!(data["headline"], json!("Good to see you"));
}

#[tokio::test]
async fn deciding_writes_no_profile() {
    let server = Server::shared();
    let request = json!({
        "identities": [{"type": "cookie", "value": "visitor-never-stored"}],
        "placements": [{"placement": "home_hero"}],
    });
    for _ in 0..3 {
        let answer = server.decide(request.clone()).await.expect("an answer");
        assert_eq!(answer.r#match(), Match::New);
        assert_eq!(offers_of(&answer, "home_hero"), ["welcome"]);
    }
    assert!(server.view("cookie", "visitor-never-stored").await.is_none());
}

#[tokio::test]
async fn one_misspelt_placement_never_blanks_a_page() {
    let server = Server::shared();
    let mut request = json!({
        "placements": [
            {"placement": "home_hero"}, {"placement": "side_bar"}, {"placement": "home_heroo"},
            {"placement": "basket_banner"}, {"placement": "members_corner"},
        ],
        "context": {"basket_value": 30},
    });
    let answer = server.decide(request.clone()).await.expect("an answer");
    let statuses: Vec<_> = answer.placements.iter().map(|p| (p.placement.as_str(), p.status())).collect();
    assert_eq!(
        statuses,
        [
            ("home_hero", PlacementStatus::Ok),
            ("side_bar", PlacementStatus::Ok),
            ("home_heroo", PlacementStatus::UnknownPlacement),
            ("basket_banner", PlacementStatus::Ok),
            ("members_corner", PlacementStatus::Empty),
        ]
    );
    request["strict"] = json!(true);
    let refused = server.decide(request).await.expect_err("strict refuses the page");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("home_heroo") || format!("{refused:?}").contains("placements[2]"));
}

#[tokio::test]
async fn json_answers_as_grpc_does() {
    let server = Server::shared();
    let reply = web::post(server.address, "/v1/decide", &json!({"placements": [{"placement": "home_hero"}]}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.header("content-type").is_some_and(|v| v.starts_with("application/json")));
    let body = reply.json();
    assert_eq!(body["match"], json!("MATCH_ANONYMOUS"));
    assert_eq!(body["placements"][0]["status"], json!("PLACEMENT_STATUS_OK"));
    assert_eq!(body["placements"][0]["presentations"][0]["offer"], json!("welcome"));
    // default values are emitted
    assert_eq!(body["degraded"], json!([]));
}

#[tokio::test]
async fn a_declined_offer_is_gone_from_the_answer() {
    let server = Server::shared();
    server.customer("visitor-declines", json!({})).await;
    let request = json!({
        "identities": [{"type": "customer_id", "value": "visitor-declines"}],
        "placements": [{"placement": "agent_desktop"}],
        "view": "VIEW_AGENT",
    });
    let answer = server.decide(request).await.expect("an answer");
    assert_eq!(offers_of(&answer, "agent_desktop"), ["upgrade", "accessory", "newsletter"]);
    let best = &answer.placements[0].presentations[0];
    let agent = best.agent.as_ref().expect("help for the agent");
    assert_eq!(agent.talk_track, "May I offer you an upgrade?");
    assert!(agent.decline_reasons.iter().any(|r| r.code == "not_interested"));

    let respond = RespondRequest {
        presentation_token: best.presentation_token.clone(),
        outcome: OutcomeType::Decline.into(),
        reason_code: "not_interested".to_owned(),
        request_id: "visitor-declines-1".to_owned(),
        ..RespondRequest::default()
    };
    let mut client = server.decisions().await;
    let first = client.respond(respond.clone()).await.expect("the decline is taken").into_inner();
    assert!(!first.duplicate);
    let again = first.decision.as_ref().expect("the re-ranked answer");
    assert_eq!(offers_of(again, "agent_desktop"), ["accessory", "newsletter", "thanks"]);

    let second = client.respond(respond).await.expect("the same decline again").into_inner();
    assert!(second.duplicate);
    let view = server.view("customer_id", "visitor-declines").await.expect("the customer");
    let declines = view.interactions.iter().filter(|i| i.outcomes.contains(&OutcomeType::Decline.into()));
    assert_eq!(declines.count(), 1);
}

#[tokio::test]
async fn an_undeclared_decline_reason_is_refused() {
    let server = Server::shared();
    server.customer("visitor-odd-reason", json!({})).await;
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "visitor-odd-reason"}],
            "placements": [{"placement": "agent_desktop"}],
        }))
        .await
        .expect("an answer");
    let request: RespondRequest = message(json!({
        "presentationToken": answer.placements[0].presentations[0].presentation_token,
        "outcome": "OUTCOME_TYPE_DECLINE",
        "reasonCode": "no_such_reason",
    }));
    let refused = server.decisions().await.respond(request).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
}
