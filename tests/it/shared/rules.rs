//! What is published or paused on one replica is so on all.

use std::sync::Arc;

use rapport::proto::{
    GetActiveRevisionRequest, ListAuditRequest, ListPausesRequest, PauseKind, PauseRequest, PublishRevisionRequest,
    ResumeRequest, RuleFile,
};
use tonic::{Code, Status};

use super::{replica, until_metric};
use crate::{
    harness::{Place, Server, eventually},
    redis::server::RedisServer,
    reload::rules,
};

const FILE: &str = "all.yaml";

fn place(number: usize) -> Arc<Place> {
    let place = Arc::new(Place::empty());
    place.write_rule(FILE, &rules(number));
    place
}

async fn active(server: &Server) -> String {
    let active = server.rulesets().await.get_active_revision(GetActiveRevisionRequest {}).await;
    active.expect("a revision").into_inner().revision
}

/// Waits until both serve the same, and another one than before.
async fn until_both_serve(servers: [&Server; 2], before: &str) -> String {
    eventually("the same revision on both", || async {
        let both = [active(servers[0]).await, active(servers[1]).await];
        (both[0] == both[1] && both[0] != before).then(|| both[0].clone())
    })
    .await
}

async fn paused(server: &Server) -> Vec<String> {
    let pauses = server.rulesets().await.list_pauses(ListPausesRequest {}).await.expect("the pauses").into_inner();
    pauses.pauses.into_iter().map(|pause| pause.id).collect()
}

async fn until_paused(server: &Server, wanted: &[&str]) {
    eventually("the pauses", || async { (paused(server).await == wanted).then_some(()) }).await;
}

async fn pause(server: &Server, id: &str) {
    let kind = PauseKind::Offer.into();
    let request = PauseRequest { kind, id: id.to_owned(), reason: "the price".to_owned(), author: "ann".to_owned() };
    server.rulesets().await.pause(request).await.expect("it is paused");
}

async fn resume(server: &Server, id: &str) -> Result<(), Status> {
    let request = ResumeRequest {
        kind: PauseKind::Offer.into(),
        id: id.to_owned(),
        reason: "the price".to_owned(),
        author: "bob".to_owned(),
        force: true,
    };
    server.rulesets().await.resume(request).await.map(drop)
}

async fn publish(server: &Server, number: usize, force_reason: &str) -> Result<String, Status> {
    let request = PublishRevisionRequest {
        expected_revision: active(server).await,
        files: vec![RuleFile { path: FILE.to_owned(), text: rules(number) }],
        author: "ann".to_owned(),
        force: !force_reason.is_empty(),
        force_reason: force_reason.to_owned(),
        ..PublishRevisionRequest::default()
    };
    server.rulesets().await.publish_revision(request).await.map(|published| published.into_inner().revision)
}

async fn published_times(server: &Server) -> usize {
    let request = ListAuditRequest::default();
    server.rulesets().await.list_audit(request).await.expect("the audit list").into_inner().entries.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_on_one_replica_is_published_once_on_all() {
    let redis = RedisServer::start();
    let places = [place(1), place(1)];
    let servers = [replica(&places[0], &redis.url()), replica(&places[1], &redis.url())];
    let both = [&servers[0], &servers[1]];
    let first = until_both_serve(both, "").await;
    places[0].write_rule(FILE, &rules(2));
    let second = until_both_serve(both, &first).await;
    let told = [published_times(both[0]).await, published_times(both[1]).await];
    // the same edit comes to the other directory later: it is there already
    places[1].write_rule(FILE, &rules(2));
    places[0].write_rule(FILE, &rules(3));
    let third = until_both_serve(both, &second).await;
    places[0].write_rule(FILE, &rules(4));
    let fourth = until_both_serve(both, &third).await;
    // and one that comes too late is no edit
    places[1].write_rule(FILE, &rules(3));
    eventually("the late copy is seen", || async {
        servers[1].log().contains("what another replica published before").then_some(())
    })
    .await;
    assert_eq!(active(both[1]).await, fourth);
    for (server, told) in both.into_iter().zip(told) {
        assert_eq!(published_times(server).await, told + 2, "each replica keeps the whole audit list");
    }
    until_metric(both[1], "rapport_rules_received_total{what=\"revision\"}", |count| count >= 3.0).await;

    // a fresh replica serves what the others serve, whatever its directory has
    pause(both[0], "left_offer").await;
    let late = place(1);
    let newcomer = replica(&late, &redis.url());
    assert_eq!(active(&newcomer).await, fourth);
    assert_eq!(paused(&newcomer).await, ["left_offer"]);
    // but an edit of its directory is one
    late.write_rule(FILE, &rules(5));
    let fifth = until_both_serve([&newcomer, both[0]], &fourth).await;
    assert_eq!(until_both_serve(both, &fourth).await, fifth);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_wins_and_nothing_is_published_apart() {
    let mut redis = RedisServer::start();
    let places = [place(1), place(1)];
    let servers = [replica(&places[0], &redis.url()), replica(&places[1], &redis.url())];
    let both = [&servers[0], &servers[1]];
    let first = until_both_serve(both, "").await;
    pause(both[0], "left_offer").await;
    until_paused(both[1], &["left_offer"]).await;
    resume(both[1], "left_offer").await.expect("it is lifted");
    until_paused(both[0], &[]).await;
    pause(both[1], "left_offer").await;
    until_paused(both[0], &["left_offer"]).await;

    redis.kill();
    until_flagged_any(both).await;
    let refused = publish(both[0], 2, "").await.expect_err("two rulesets would serve");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(active(both[0]).await, first);
    assert_eq!(resume(both[0], "left_offer").await.expect_err("it stays paused").code(), Code::Unavailable);
    assert_eq!(paused(both[0]).await, ["left_offer"]);
    pause(both[0], "right_offer").await;
    let forced = publish(both[0], 3, "it must").await.expect("it serves here");
    assert_eq!((active(both[0]).await, active(both[1]).await), (forced.clone(), first.clone()));
    until_metric(both[0], "rapport_rules_unshared", |count| count == 2.0).await;

    // it comes back, and knows nothing any more
    redis.start_again();
    for server in both {
        until_paused(server, &["left_offer", "right_offer"]).await;
    }
    let after = until_both_serve(both, "").await;
    assert!([&first, &forced].contains(&&after), "one of the two that served");
    until_metric(both[0], "rapport_rules_unshared", |count| count == 0.0).await;
    resume(both[0], "right_offer").await.expect("it is lifted");
    until_paused(both[1], &["left_offer"]).await;
    let last = publish(both[1], 4, "").await.expect("it is published");
    assert_eq!(until_both_serve(both, &after).await, last);
}

async fn until_flagged_any(servers: [&Server; 2]) {
    for server in servers {
        eventually("redis is missed", || async { super::readiness(server).contains("down (").then_some(()) }).await;
    }
}
