//! Traceable links lead where the rules say, and count a click once.

use rapport::proto::{GetReportRequest, OutcomeType};
use serde_json::json;

use crate::{
    harness::{Server, eventually},
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
