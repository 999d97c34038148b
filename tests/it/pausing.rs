//! What is paused is out of every decision at once, whatever happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rapport::proto::{
    AuditAction, DecideRequest, ExplainRequest, ListAuditRequest, ListPausesRequest, ListPausesResponse, PauseKind,
    PauseRequest, PauseResponse, ResumeRequest, ruleset_service_client::RulesetServiceClient,
};
use serde_json::json;
use tonic::{Code, Status, transport::Channel};

use crate::{
    harness::{Place, Server, eventually, message, offers_of},
    reload::rules,
    web,
};

const CLIENTS: usize = 8;
const INTERVAL: Duration = Duration::from_millis(10);
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

type Client = RulesetServiceClient<Channel>;

async fn pause(client: &mut Client, kind: PauseKind, id: &str) -> Result<PauseResponse, Status> {
    let request = PauseRequest {
        kind: kind as i32,
        id: id.to_owned(),
        reason: "the price is wrong".to_owned(),
        author: "ann".to_owned(),
    };
    Ok(client.pause(request).await?.into_inner())
}

fn resume(kind: PauseKind, id: &str) -> ResumeRequest {
    ResumeRequest {
        kind: kind as i32,
        id: id.to_owned(),
        reason: "the price is right".to_owned(),
        author: "bob".to_owned(),
        ..ResumeRequest::default()
    }
}

async fn paused(client: &mut Client) -> ListPausesResponse {
    client.list_pauses(ListPausesRequest {}).await.expect("the pauses").into_inner()
}

fn place() -> Arc<Place> {
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", &rules(1));
    place
}

async fn shown(server: &Server, placement: &str) -> Vec<String> {
    let answer = server.decide(json!({"placements": [{"placement": placement}]})).await.expect("an answer");
    offers_of(&answer, placement)
}

/// When each question was asked and answered, and whether the offer was in its answer.
async fn ask(server: Arc<Server>, stop: Arc<AtomicBool>) -> Vec<(Instant, Instant, bool)> {
    let mut client = server.decisions().await;
    let request: DecideRequest = message(json!({"placements": [{"placement": "left"}]}));
    let mut seen = Vec::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let asked = Instant::now();
        let answer = client.decide(request.clone()).await.expect("no question fails").into_inner();
        seen.push((asked, Instant::now(), offers_of(&answer, "left") == ["left_offer"]));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_in_effect_within_a_second_under_load() {
    let place = place();
    let server = Arc::new(Server::start(&place));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(ask(Arc::clone(&server), Arc::clone(&stop)))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut client = server.rulesets().await;
    let asked = Instant::now();
    pause(&mut client, PauseKind::Offer, "left_offer").await.expect("paused");
    let answered = Instant::now();
    tokio::time::sleep(EFFECTIVE_WITHIN).await;
    let resuming = Instant::now();
    client.resume(resume(PauseKind::Offer, "left_offer")).await.expect("resumed");
    let resumed = Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for client in clients {
        seen.extend(client.await.expect("the client ends"));
    }
    assert!(seen.iter().any(|(at, _, shown)| *at < asked && *shown), "it was shown before");
    let effective = answered.min(asked + EFFECTIVE_WITHIN);
    // what was asked before and answered after it was resumed may be either
    let meanwhile = || seen.iter().filter(|(at, until, _)| *at > effective && *until < resuming);
    assert_eq!(meanwhile().filter(|(.., shown)| *shown).count(), 0, "shown although it was paused");
    assert!(meanwhile().next().is_some(), "it was asked for while it was paused");
    assert!(seen.iter().any(|(at, _, shown)| *at > resumed && *shown), "shown again when resumed");
}

#[tokio::test]
async fn a_pause_survives_a_kill_and_every_publish() {
    let place = place();
    let mut server = Server::start(&place);
    let mut client = server.rulesets().await;
    let told = pause(&mut client, PauseKind::Offer, "left_offer").await.expect("paused");
    assert!(told.changed && told.pauses_version == 1, "{told:?}");
    server.kill();
    let mut server = Server::start(&place);
    assert_eq!(shown(&server, "left").await, [""; 0]);
    assert_eq!(shown(&server, "right").await, ["right_offer"]);

    // the offer goes, comes back in an edit, and is still paused
    let mut client = server.rulesets().await;
    let without = rules(2).replace("left_offer", "other_offer");
    place.write_rule("all.yaml", &without);
    eventually("the other offer", || async { (shown(&server, "left").await == ["other_offer"]).then_some(()) }).await;
    assert_eq!(paused(&mut client).await.pauses.len(), 1);
    // what a kept revision knows can be paused and stays so
    assert!(!pause(&mut client, PauseKind::Offer, "left_offer").await.expect("an answer").changed);
    place.write_rule("all.yaml", &rules(3));
    eventually("the rules of number 3", || async { shown(&server, "left").await.is_empty().then_some(()) }).await;

    server.kill();
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let list = paused(&mut client).await.pauses;
    assert_eq!(
        (list.len(), &*list[0].id, &*list[0].reason, &*list[0].author),
        (1, "left_offer", "the price is wrong", "ann")
    );
    assert!(client.resume(resume(PauseKind::Offer, "left_offer")).await.expect("resumed").into_inner().changed);
    assert_eq!(shown(&server, "left").await, ["left_offer"]);
    assert!(paused(&mut client).await.pauses.is_empty());
    let entries = client.list_audit(ListAuditRequest { page_size: 2, ..Default::default() }).await.expect("the list");
    let entries = entries.into_inner();
    assert!(!entries.next_page_token.is_empty());
    let newest = &entries.entries[0];
    assert_eq!((newest.action(), &*newest.author, &*newest.subject), (AuditAction::Resume, "bob", "offer left_offer"));
    assert_eq!(newest.reason, "the price is right");
}

#[tokio::test]
async fn every_kind_of_thing_is_paused() {
    let place = place();
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    for (kind, id) in [(PauseKind::Issue, "grow"), (PauseKind::Group, "all"), (PauseKind::Channel, "web")] {
        pause(&mut client, kind, id).await.expect("paused");
        assert!(shown(&server, "left").await.is_empty() && shown(&server, "right").await.is_empty(), "{kind:?}");
        let metrics = eventually("the gauge of pauses", || async {
            let body = web::get(server.private, "/metrics", &[]).body;
            let name = kind.as_str_name().trim_start_matches("PAUSE_KIND_").to_lowercase();
            body.contains(&format!("rapport_pauses{{kind=\"{name}\"}} 1")).then_some(body)
        });
        metrics.await;
        client.resume(resume(kind, id)).await.expect("resumed");
        assert_eq!(shown(&server, "left").await, ["left_offer"], "{kind:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_paused_is_told() {
    let place = place();
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let unknown = pause(&mut client, PauseKind::Offer, "left_ofer").await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains("did you mean `left_offer`"), "{unknown}");
    let unknown = client.resume(resume(PauseKind::Channel, "wbe")).await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    let nothing = client.resume(resume(PauseKind::Channel, "web")).await.expect("an answer").into_inner();
    assert!(!nothing.changed && nothing.pauses_version == 0, "{nothing:?}");

    let first = pause(&mut client, PauseKind::Channel, "web").await.expect("paused");
    let again = pause(&mut client, PauseKind::Channel, "web").await.expect("an answer");
    assert!(first.changed && !again.changed && first.pause == again.pause, "{first:?} {again:?}");
    assert_eq!(first.pauses_version, again.pauses_version);

    let wrong = PauseRequest { kind: 9, id: String::new(), reason: "two\nlines".to_owned(), author: "x".repeat(101) };
    let refused = client.pause(wrong).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let bad = tonic_types::StatusExt::get_error_details(&refused).bad_request().cloned().expect("the fields");
    let fields: Vec<String> = bad.field_violations.into_iter().map(|v| v.field).collect();
    assert_eq!(fields, ["kind", "id", "reason", "author"]);
    for reason in [String::new(), "x".repeat(501)] {
        let request = PauseRequest { kind: 1, id: "left_offer".to_owned(), reason, author: String::new() };
        assert_eq!(client.pause(request).await.expect_err("refused").code(), Code::InvalidArgument);
    }
    let body = json!({"kind": "PAUSE_KIND_OFFER", "id": "left_offer", "reason": "json"});
    let reply = web::post(server.address, "/v1/pauses:pause", &body);
    assert!(reply.status == 200 && reply.json()["pause"]["author"] == "api", "{}", reply.body);
    assert_eq!(web::get(server.address, "/v1/pauses", &[]).json()["pauses"].as_array().map(Vec::len), Some(2));
    let reply = web::post(server.address, "/v1/pauses:resume", &body);
    assert!(reply.status == 200 && reply.json()["changed"] == true, "{}", reply.body);
}

#[tokio::test]
async fn decisions_replay_with_what_was_paused_then() {
    let place = place();
    let mut server = Server::start(&place);
    let mut client = server.rulesets().await;
    let mut decided: Vec<(String, bool)> = Vec::new();
    let question = json!({"placements": [{"placement": "left"}], "trace": "TRACE_FULL"});
    for round in 0..3 {
        for pausing in [false, true] {
            if pausing {
                pause(&mut client, PauseKind::Offer, "left_offer").await.expect("paused");
            } else if round > 0 {
                client.resume(resume(PauseKind::Offer, "left_offer")).await.expect("resumed");
            }
            let answer = server.decide(question.clone()).await.expect("an answer");
            assert_eq!(offers_of(&answer, "left").is_empty(), pausing);
            decided.push((answer.decision_id, pausing));
        }
    }
    identical(&server, &decided).await;
    client.resume(resume(PauseKind::Offer, "left_offer")).await.expect("resumed");
    identical(&server, &decided).await;
    server.kill();
    let server = Server::start(&place);
    let answer = server.decide(question).await.expect("an answer");
    decided.push((answer.decision_id, false));
    identical(&server, &decided).await;
}

async fn identical(server: &Server, decided: &[(String, bool)]) {
    for (id, pausing) in decided {
        let told = eventually("the stored decision", || async {
            let request = ExplainRequest { decision_id: id.clone(), offer: String::new() };
            match server.decisions().await.explain(request).await {
                Ok(reply) => Some(reply.into_inner()),
                // decisions are recorded behind the answer
                Err(status) if status.code() == Code::NotFound => None,
                Err(status) => panic!("explaining: {status}"),
            }
        })
        .await;
        assert!(told.identical, "decision `{id}` does not replay: {:?}", told.lines);
        let says = told.lines.iter().any(|line| line.contains("left_offer") && line.contains("paused"));
        assert_eq!(says, *pausing, "{:?}", told.lines);
    }
}
