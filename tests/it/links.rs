//! Traceable links lead where the rules say, and count a click once.

use std::sync::Arc;

use rapport::proto::{DecideResponse, GetReportRequest, ListTimelineRequest, OutcomeType};
use serde_json::json;

use crate::{
    harness::{Place, Server, eventually, message},
    web,
};

/// The path of a traceable link, whatever the base address in front of it.
fn path_of(link: &str) -> String {
    let at = link.find("/c/").unwrap_or_else(|| panic!("`{link}` is no traceable link"));
    link[at..].to_owned()
}

async fn clicks_of(server: &Server, customer: &str) -> usize {
    let view = server.view("customer_id", customer).await.expect("the customer");
    view.interactions.iter().filter(|i| i.outcomes.contains(&OutcomeType::Click.into())).count()
}

async fn positives_of(server: &Server, offer: &str) -> u64 {
    let report = server.rulesets().await.get_report(GetReportRequest {}).await.expect("a report").into_inner();
    report.rows.iter().filter(|row| row.offer == offer).map(|row| row.accepts).sum()
}

#[tokio::test]
async fn a_click_is_followed_and_counted_once() {
    let server = Server::shared();
    server.customer("links-clicks", json!({})).await;
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "links-clicks"}],
            "placements": [{"placement": "linked_slot"}],
        }))
        .await
        .expect("an answer");
    let shown = &answer.placements[0].presentations[0];
    assert_eq!(shown.links.len(), 2);
    assert_eq!(shown.links.get("shop"), Some(&shown.link));
    let path = path_of(&shown.link);

    let before = positives_of(&server, "linked").await;
    let head = web::call(server.address, "HEAD", &path, &[], b"");
    assert_eq!(head.status, 302);
    let looks_ahead = [("purpose", "prefetch"), ("sec-purpose", "prefetch"), ("x-moz", "prefetch")];
    let programs = [("user-agent", "Slackbot-LinkExpanding 1.0"), ("user-agent", "curl/8.5.0"), ("user-agent", "")];
    for header in looks_ahead.into_iter().chain(programs) {
        let prefetch = web::get(server.address, &path, &[header]);
        assert!(prefetch.status < 500, "{prefetch:?}");
    }
    // the counted click below comes after these in the log: when it is seen, they would be
    for _ in 0..2 {
        let reply = web::get(server.address, &path, &[]);
        assert_eq!(reply.status, 302, "{}", reply.body);
        assert_eq!(reply.header("location"), Some("https://shop.example/linked"));
    }
    eventually("the click", || async { (clicks_of(&server, "links-clicks").await == 1).then_some(()) }).await;
    let after = eventually("the report", || async {
        let positives = positives_of(&server, "linked").await;
        (positives > before).then_some(positives)
    })
    .await;
    assert_eq!(after, before + 1);
}

/// The paths of both links of what is shown at the slot.
fn paths(answer: &DecideResponse) -> [String; 2] {
    ["shop", "more"].map(|name| path_of(&answer.placements[0].presentations[0].links[name]))
}

fn follow(server: &Server, path: &str) {
    let reply = web::get(server.address, path, &[]);
    assert_eq!(reply.status, 302, "{}", reply.body);
}

/// The links that a customer followed, the first first.
async fn followed(server: &Server, customer: &str) -> Vec<String> {
    let request: ListTimelineRequest = message(json!({
        "identities": [{"type": "customer_id", "value": customer}], "kinds": ["TIMELINE_KIND_OUTCOME"],
    }));
    let page = server.customers().await.list_timeline(request).await.expect("a timeline").into_inner();
    let clicks = page.entries.into_iter().filter(|entry| entry.r#type == "click");
    clicks.rev().map(|entry| entry.link).collect()
}

async fn see_followed(server: &Server, customer: &str, links: &[&str]) {
    eventually("the links followed", || async { (followed(server, customer).await == links).then_some(()) }).await;
}

async fn see_positives(server: &Server, count: u64) {
    eventually("the clicks", || async { (positives_of(server, "linked").await == count).then_some(()) }).await;
}

#[tokio::test]
async fn every_link_followed_is_told_in_order_and_counts_once() {
    // its own: it counts every click of the offer
    let server = Server::start(&Arc::new(Place::new()));
    let ask = |customer: &str| {
        json!({
            "identities": [{"type": "customer_id", "value": customer}],
            "placements": [{"placement": "linked_slot"}],
        })
    };
    server.customer("links-order", json!({})).await;
    let [shop, more] = paths(&server.decide(ask("links-order")).await.expect("an answer"));
    follow(&server, &shop);
    see_followed(&server, "links-order", &["shop"]).await;
    follow(&server, &shop);
    follow(&server, &more);
    see_followed(&server, "links-order", &["shop", "more"]).await;
    follow(&server, &shop);
    assert_eq!(clicks_of(&server, "links-order").await, 1, "both are of one presentation");
    see_positives(&server, 1).await;

    // nobody has a timeline, and counts once all the same
    let nobody = json!({"placements": [{"placement": "linked_slot"}]});
    let [shop, more] = paths(&server.decide(nobody).await.expect("an answer"));
    follow(&server, &more);
    see_positives(&server, 2).await;
    follow(&server, &shop);

    // a click reported without a link is one more entry, and no more of a success
    server.customer("links-reported", json!({})).await;
    let answer = server.decide(ask("links-reported")).await.expect("an answer");
    let [_, more] = paths(&answer);
    let token = &answer.placements[0].presentations[0].presentation_token;
    let click = json!({"events": [{"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_CLICK"}}]});
    server.events().await.record(message::<rapport::proto::RecordRequest>(click)).await.expect("the click is taken");
    follow(&server, &more);
    see_followed(&server, "links-reported", &["", "more"]).await;
    // all that was followed before is in the log by now
    see_positives(&server, 3).await;
    assert_eq!(followed(&server, "links-order").await, ["shop", "more"]);
}

#[tokio::test]
async fn looking_ahead_is_no_click() {
    let server = Server::shared();
    server.customer("links-prefetch", json!({})).await;
    let answer = server
        .decide(json!({
            "identities": [{"type": "customer_id", "value": "links-prefetch"}],
            "placements": [{"placement": "side_bar"}],
        }))
        .await
        .expect("an answer");
    let path = path_of(&answer.placements[0].presentations[0].link);
    web::call(server.address, "HEAD", &path, &[], b"");
    web::get(server.address, &path, &[("sec-purpose", "prefetch;prerender")]);
    // an event recorded afterwards is applied after anything these calls recorded
    let request = crate::harness::message::<rapport::proto::RecordRequest>(json!({"events": [{
        "eventId": "links-prefetch-1",
        "customer": {"identities": [{"type": "customer_id", "value": "links-prefetch"}], "type": "page_view"},
    }]}));
    server.events().await.record(request).await.expect("the event is taken");
    assert_eq!(clicks_of(&server, "links-prefetch").await, 0);
}

#[tokio::test]
async fn a_forged_link_leads_nowhere() {
    let server = Server::shared();
    let answer = server.decide(json!({"placements": [{"placement": "linked_slot"}]})).await.expect("an answer");
    let path = path_of(&answer.placements[0].presentations[0].link);
    // not followed: another test counts the clicks of this offer
    assert_eq!(web::call(server.address, "HEAD", &path, &[], b"").status, 302);
    for at in 3..path.len() {
        let mut forged = path.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        let reply = web::get(server.address, &forged, &[]);
        assert_eq!(reply.status, 404, "byte {at} of `{path}` changed");
        assert!(reply.header("location").is_none());
    }
    for path in ["/c/", "/c/x", "/c/%00", "/c/../v1/decide"] {
        assert_eq!(web::get(server.address, path, &[]).status, 404, "{path}");
    }
}
