//! A new channel is a file, not code.

use std::{fs, path::Path, sync::Arc};

use rapport::proto::{OutcomeType, PlacementStatus, RespondRequest};
use serde_json::json;

use crate::harness::{Place, Server, offers_of, repository};

/// The sixth channel.
pub const STORE_TILL: &str = include_str!("fixtures/store_till.yaml");

/// Copies the rule files of the repository, as a user would have them.
fn copy_rules(place: &Place) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory of rules").map(|e| e.expect("an entry")) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).expect("copying a rule file");
            }
        }
    }
    copy(&repository().join("rules"), &place.rules());
}

#[tokio::test]
async fn the_store_till_is_yaml_alone() {
    let place = Arc::new(Place::empty());
    copy_rules(&place);
    place.write_rule("store_till.yaml", STORE_TILL);
    let server = Server::start(&place);
    server.customer("till-customer", json!({})).await;

    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "till-customer"}],
            "placements": [{"placement": "till_screen"}],
            "view": "VIEW_AGENT",
        }))
        .await
        .expect("an answer");
    assert_eq!(answer.placements[0].status(), PlacementStatus::Ok, "{answer:?}");
    assert_eq!(offers_of(&answer, "till_screen"), ["till_bag", "till_card"]);
    let shown = &answer.placements[0].presentations[0];
    assert_eq!(shown.channel, "store_till");
    assert_eq!(shown.treatment, "till_bag/store_till/en");
    assert_eq!(shown.agent.as_ref().map(|a| a.talk_track.as_str()), Some("Would you like a bag for life?"));

    let respond = RespondRequest {
        presentation_token: shown.presentation_token.clone(),
        outcome: OutcomeType::Accept.into(),
        ..RespondRequest::default()
    };
    let reply = server.decisions().await.respond(respond).await.expect("the answer is taken").into_inner();
    let again = reply.decision.expect("the re-ranked answer");
    assert_eq!(offers_of(&again, "till_screen"), ["till_card"]);
    let view = server.view("customer_id", "till-customer").await.expect("the customer");
    assert!(view.interactions.iter().any(|i| i.channel == "store_till" && i.offer == "till_bag"), "{view:?}");
}
