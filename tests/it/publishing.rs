//! Revisions over the wire: nothing is lost, nothing serves unchecked, and who
//! did what is known.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rapport::proto::{
    AuditAction, AuditEntry, DiffRevisionsRequest, FileChange, GetActiveRevisionRequest, GetActiveRevisionResponse,
    GetRevisionRequest, ListAuditRequest, ListRevisionsRequest, PauseKind, PauseRequest, PublishRevisionRequest,
    ResumeRequest, Revision, RevisionOrigin, RollbackRevisionRequest, RuleFile, ValidateRevisionRequest,
    ruleset_service_client::RulesetServiceClient,
};
use serde_json::json;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    harness::{Place, Server, eventually},
    reload::rules,
    web,
};

/// Longer than the directory needs to settle and to be taken.
const TAKEN_BY_NOW: Duration = Duration::from_millis(1_500);

/// A pause between two writes that the service may take for the end.
const WRITES_STALLED: Duration = Duration::from_millis(200);

type Client = RulesetServiceClient<Channel>;

fn files(text: &str) -> Vec<RuleFile> {
    vec![RuleFile { path: "all.yaml".to_owned(), text: text.to_owned() }]
}

fn publish(text: &str, expected: &str) -> PublishRevisionRequest {
    PublishRevisionRequest {
        files: files(text),
        expected_revision: expected.to_owned(),
        author: "ann".to_owned(),
        comment: "from a test".to_owned(),
        ..PublishRevisionRequest::default()
    }
}

async fn active(client: &mut Client) -> GetActiveRevisionResponse {
    client.get_active_revision(GetActiveRevisionRequest {}).await.expect("a revision").into_inner()
}

async fn kept(client: &mut Client) -> Vec<Revision> {
    client.list_revisions(ListRevisionsRequest::default()).await.expect("the revisions").into_inner().revisions
}

async fn audit(client: &mut Client) -> Vec<AuditEntry> {
    client.list_audit(ListAuditRequest::default()).await.expect("the audit list").into_inner().entries
}

/// The number in the content of the answer.
async fn serves(server: &Server) -> String {
    let answer = server.decide(json!({"placements": [{"placement": "left"}]})).await.expect("an answer");
    answer.placements[0].presentations[0].message.as_ref().expect("a message").text.clone()
}

async fn becomes(server: &Server, number: &str) {
    eventually(&format!("the rules of number {number}"), || async { (serves(server).await == number).then_some(()) })
        .await;
}

fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let listed = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    listed.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
}

fn place(number: usize) -> Arc<Place> {
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", &rules(number));
    place
}

#[tokio::test]
async fn a_revision_is_published_kept_compared_and_rolled_back() {
    let place = place(0);
    let mut server = Server::start(&place);
    let mut client = server.rulesets().await;
    let first = active(&mut client).await;
    assert_eq!((first.origin(), &*first.author), (RevisionOrigin::Start, "directory"));

    let answer = client.publish_revision(publish(&rules(1), &first.revision)).await.expect("published").into_inner();
    assert!(answer.changed, "{answer:?}");
    assert_eq!(serves(&server).await, "1", "it serves when it is answered");
    let second = active(&mut client).await;
    assert_eq!((&*second.revision, second.origin()), (&*answer.revision, RevisionOrigin::Api));
    assert_eq!((&*second.author, &*second.comment), ("ann", "from a test"));
    let steps: Vec<String> = answer.report.expect("a report").timings.into_iter().map(|t| t.step).collect();
    assert_eq!(steps, ["compile", "lint", "scenarios", "population", "keep", "swap"]);

    // whoever looked before that publish is told which one is active now
    let lost = client.publish_revision(publish(&rules(2), &first.revision)).await.expect_err("another is active");
    assert_eq!(lost.code(), Code::Aborted);
    assert!(lost.message().contains(&second.revision), "{lost}");
    assert_eq!(serves(&server).await, "1");
    let unnamed = client.publish_revision(publish(&rules(2), "")).await.expect_err("nothing is expected");
    assert_eq!(unnamed.code(), Code::InvalidArgument);

    // publishing what is active changes nothing
    let again = client.publish_revision(publish(&rules(1), &second.revision)).await.expect("an answer").into_inner();
    assert!(!again.changed);

    let revisions = kept(&mut client).await;
    let hashes: Vec<&str> = revisions.iter().map(|r| &*r.revision).collect();
    assert_eq!(hashes, [&*second.revision, &*first.revision]);
    assert!(revisions[0].active && !revisions[1].active);
    assert_eq!((&*revisions[0].parent, revisions[0].offers), (&*first.revision, 2));
    let request = GetRevisionRequest { revision: first.revision.clone() };
    let got = client.get_revision(request).await.expect("a kept revision").into_inner();
    assert_eq!(got.files, files(&rules(0)));
    let request = DiffRevisionsRequest { from: first.revision.clone(), to: String::new() };
    let diff = client.diff_revisions(request).await.expect("a diff").into_inner();
    assert_eq!((diff.files.len(), diff.files[0].change()), (1, FileChange::Changed));
    assert!(diff.files[0].unified.contains("text: \"1\""), "{}", diff.files[0].unified);
    assert_eq!(diff.offers_changed, ["left_offer", "right_offer"]);

    let request = RollbackRevisionRequest {
        revision: first.revision.clone(),
        expected_revision: second.revision.clone(),
        author: "bob".to_owned(),
        comment: "it was better".to_owned(),
        ..RollbackRevisionRequest::default()
    };
    assert!(client.rollback_revision(request.clone()).await.expect("rolled back").into_inner().changed);
    assert_eq!(serves(&server).await, "0");
    assert_eq!(client.rollback_revision(request).await.expect_err("another is active").code(), Code::Aborted);

    // the rollback stays active over a kill, although it is not the last edit
    server.kill();
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let restarted = active(&mut client).await;
    assert_eq!((&*restarted.revision, restarted.origin()), (&*first.revision, RevisionOrigin::Rollback));
    assert_eq!((&*restarted.author, &*restarted.comment), ("bob", "it was better"));
    let told: Vec<_> = audit(&mut client).await.iter().map(|e| (e.action(), e.author.clone())).collect();
    let expected = [(AuditAction::Rollback, "bob"), (AuditAction::Publish, "ann"), (AuditAction::Publish, "directory")];
    assert_eq!(told, expected.map(|(action, author)| (action, author.to_owned())));
}

/// What is told of an edit of the directory that is not taken.
async fn refused(client: &mut Client) -> String {
    eventually("the refused edit", || {
        let mut client = client.clone();
        async move {
            let errors = active(&mut client).await.refused_errors;
            (!errors.is_empty()).then(|| errors.join("\n"))
        }
    })
    .await
}

#[tokio::test]
async fn an_edit_of_the_directory_undoes_no_call() {
    let place = place(0);
    let mut server = Server::start(&place);
    let mut client = server.rulesets().await;
    let first = active(&mut client).await.revision;
    let called = client.publish_revision(publish(&rules(1), &first)).await.expect("published").into_inner().revision;
    // writing the same text again is no edit
    place.write_rule("all.yaml", &rules(0));
    tokio::time::sleep(TAKEN_BY_NOW).await;
    assert_eq!(serves(&server).await, "1");
    server.kill();
    let mut server = Server::start(&place);
    assert_eq!(serves(&server).await, "1", "the call's revision goes on over a restart");
    place.write_rule("all.yaml", &rules(2));
    let mut client = server.rulesets().await;
    let told = refused(&mut client).await;
    assert!(told.contains(&called) && told.contains("published by `ann`") && told.contains("--expect"), "{told}");
    assert_eq!(serves(&server).await, "1");
    // nor does an edit while the service is down
    server.kill();
    place.write_rule("all.yaml", &rules(3));
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    assert!(refused(&mut client).await.contains("undo it"));
    assert_eq!(serves(&server).await, "1");
    // a call that publishes what the directory holds ends it
    client.publish_revision(publish(&rules(3), &called)).await.expect("published");
    assert!(active(&mut client).await.refused_errors.is_empty());
    place.write_rule("all.yaml", &rules(4));
    becomes(&server, "4").await;
    let told = active(&mut client).await;
    assert_eq!((told.origin(), &*told.author), (RevisionOrigin::Directory, "directory"));
}

#[tokio::test]
async fn an_edit_of_the_directory_undoes_no_rollback() {
    let place = place(0);
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let first = active(&mut client).await.revision;
    place.write_rule("all.yaml", &rules(1));
    becomes(&server, "1").await;
    let second = active(&mut client).await.revision;
    let back = |to: &str, from: &str| RollbackRevisionRequest {
        revision: to.to_owned(),
        expected_revision: from.to_owned(),
        author: "bob".to_owned(),
        ..RollbackRevisionRequest::default()
    };
    client.rollback_revision(back(&first, &second)).await.expect("rolled back");
    place.write_rule("all.yaml", &format!("{}# a word\n", rules(1)));
    let told = refused(&mut client).await;
    assert!(told.contains("rolled back by `bob`"), "{told}");
    assert_eq!(serves(&server).await, "0");
    // the directory holds what is active: it is followed again
    place.write_rule("all.yaml", &rules(0));
    eventually("nothing refused", || {
        let mut client = client.clone();
        async move { active(&mut client).await.refused_errors.is_empty().then_some(()) }
    })
    .await;
    place.write_rule("all.yaml", &rules(2));
    becomes(&server, "2").await;
}

#[tokio::test]
async fn a_publish_without_offers_is_refused_and_a_path_stays_inside() {
    let place = place(0);
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let first = active(&mut client).await.revision;
    let nothing = rules(0).split("offers:").next().expect("the rest").to_owned();
    let emptied = client.publish_revision(publish(&nothing, &first)).await.expect_err("no offer is left");
    assert_eq!(emptied.code(), Code::FailedPrecondition, "{emptied}");
    assert!(violations(&emptied).iter().any(|line| line.contains("no offer is left of 2")), "{emptied:?}");
    let mut outside = publish(&rules(1), &first);
    outside.files[0].path = "a/../../all.yaml".to_owned();
    assert_eq!(client.publish_revision(outside).await.expect_err("outside").code(), Code::InvalidArgument);
    assert_eq!(active(&mut client).await.revision, first);
}

#[tokio::test]
async fn validating_tells_everything_and_changes_nothing() {
    let place = place(4);
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let before = active(&mut client).await;
    let broken = rules(5).replace("purpose: marketing", "purpos: marketing").replace("channel: web", "channel: wbe");
    let request = ValidateRevisionRequest { files: files(&broken) };
    let answer = client.validate_revision(request).await.expect("a report").into_inner();
    let report = answer.report.expect("a report");
    assert!(!answer.acceptable && report.errors.len() >= 4, "{report:?}");
    assert!(report.errors.iter().all(|error| error.starts_with("all.yaml:")), "{report:?}");
    let request = ValidateRevisionRequest { files: files(&rules(5)) };
    let answer = client.validate_revision(request).await.expect("a report").into_inner();
    let report = answer.report.expect("a report");
    assert!(answer.acceptable && report.errors.is_empty(), "{report:?}");
    assert_eq!(report.active_revision, before.revision);
    assert_eq!(active(&mut client).await, before);
    assert_eq!((serves(&server).await.as_str(), kept(&mut client).await.len()), ("4", 1));

    let refused = client.publish_revision(publish(&broken, &before.revision)).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let told = violations(&refused);
    assert!(told.iter().any(|v| v.starts_with("files: all.yaml:") && v.contains("purpos")), "{told:?}");
    // mistakes of the text are never forced
    let forced = PublishRevisionRequest {
        force: true,
        force_reason: "it is urgent".to_owned(),
        ..publish(&broken, &before.revision)
    };
    assert_eq!(client.publish_revision(forced).await.expect_err("refused").code(), Code::InvalidArgument);
    assert_eq!(active(&mut client).await.revision, before.revision);
}

const SCENARIO: &str = r#"
scenarios:
  - name: the other side wins
    now: 2026-11-20T12:00:00Z
    request: { placements: [left] }
    expect: [ { placement: left, winners: [right_offer] } ]
"#;

#[tokio::test]
async fn forcing_needs_a_reason_that_is_kept() {
    let place = place(0);
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let first = active(&mut client).await.revision;
    let failing = format!("{}{SCENARIO}", rules(1));
    let refused = client.publish_revision(publish(&failing, &first)).await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let told = violations(&refused);
    assert!(told.iter().any(|v| v.contains("the other side wins")), "{told:?}");

    let silent = PublishRevisionRequest { force: true, ..publish(&failing, &first) };
    let refused = client.publish_revision(silent).await.expect_err("refused");
    assert_eq!((refused.code(), violations(&refused).len()), (Code::InvalidArgument, 1));
    assert_eq!(serves(&server).await, "0");

    let forced = PublishRevisionRequest {
        force: true,
        force_reason: "the test of it is wrong".to_owned(),
        ..publish(&failing, &first)
    };
    let answer = client.publish_revision(forced).await.expect("forced").into_inner();
    assert_eq!(answer.report.expect("a report").scenario_failures.len(), 1);
    assert_eq!(serves(&server).await, "1");
    assert_eq!(active(&mut client).await.force_reason, "the test of it is wrong");
    assert_eq!(kept(&mut client).await[0].force_reason, "the test of it is wrong");
    let entry = audit(&mut client).await.swap_remove(0);
    assert_eq!((entry.action(), &*entry.force_reason), (AuditAction::Publish, "the test of it is wrong"));
    assert!(entry.overridden[0].contains("the other side wins"), "{entry:?}");
    assert_eq!(entry.previous_revision, first);

    // resuming goes through the same checks
    let pause = PauseRequest {
        kind: PauseKind::Offer as i32,
        id: "left_offer".to_owned(),
        reason: "a moment".to_owned(),
        ..PauseRequest::default()
    };
    client.pause(pause).await.expect("paused");
    let mut request = ResumeRequest {
        kind: PauseKind::Offer as i32,
        id: "left_offer".to_owned(),
        reason: "it is over".to_owned(),
        ..ResumeRequest::default()
    };
    assert_eq!(client.resume(request.clone()).await.expect_err("refused").code(), Code::FailedPrecondition);
    request.force = true;
    assert!(client.resume(request).await.expect("forced").into_inner().changed);
    let entry = audit(&mut client).await.swap_remove(0);
    assert_eq!((entry.action(), &*entry.force_reason, entry.overridden.len()), (AuditAction::Resume, "it is over", 1));
}

#[tokio::test]
async fn a_broken_or_missing_directory_serves_the_last_good_rules() {
    let place = place(6);
    let mut server = Server::start(&place);
    let good = active(&mut server.rulesets().await).await.revision;
    server.kill();
    place.write_rule("all.yaml", &rules(7).replace("purpose: marketing", "purpos: marketing"));
    let mut server = Server::start(&place);
    assert_eq!(serves(&server).await, "6");
    let told = active(&mut server.rulesets().await).await;
    assert_eq!(told.revision, good);
    assert!(told.refused_errors.iter().any(|e| e.contains("purpos")), "{told:?}");
    assert!(server.log().contains("serves on"), "{}", server.log());
    assert_eq!(web::get(server.private, "/readyz", &[]).status, 200);
    let metrics = web::get(server.private, "/metrics", &[]).body;
    let errors = metrics.lines().find(|line| line.starts_with("rapport_ruleset_refused_errors "));
    assert!(errors.is_some_and(|line| !line.ends_with(" 0")), "{errors:?}");
    assert!(metrics.contains(&format!("rapport_ruleset_info{{revision=\"{good}\"")), "{metrics}");

    server.kill();
    fs::remove_file(place.rules().join("all.yaml")).expect("the rules are gone");
    let server = Server::start(&place);
    assert_eq!(serves(&server).await, "6");
    // and the next sound edit is taken
    place.write_rule("all.yaml", &rules(8));
    becomes(&server, "8").await;
    assert!(active(&mut server.rulesets().await).await.refused_errors.is_empty());
}

#[test]
fn a_first_start_with_broken_rules_fails_with_every_mistake() {
    let place = Place::empty();
    place.write_rule("all.yaml", &rules(0).replace("purpose: marketing", "purpos: marketing"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0", "--data-dir"])
        .arg(place.data())
        .arg("--rules")
        .arg(place.rules())
        .output()
        .expect("starting the service");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.matches("purpos").count() >= 2, "{said}");
}

fn config_map(rules: &Path, version: &str, text: &str) {
    let data = rules.join(version);
    fs::create_dir(&data).expect("a directory of the version");
    fs::write(data.join("all.yaml"), text).expect("writing the rules");
    std::os::unix::fs::symlink(version, rules.join("..data_tmp")).expect("a link");
    fs::rename(rules.join("..data_tmp"), rules.join("..data")).expect("swapping the link");
}

#[tokio::test]
async fn swapped_links_are_followed() {
    let place = Arc::new(Place::empty());
    let rules_dir = place.rules();
    config_map(&rules_dir, "..2026_11_20", &rules(1));
    std::os::unix::fs::symlink("..data/all.yaml", rules_dir.join("all.yaml")).expect("a link");
    let server = Server::start(&place);
    assert_eq!(serves(&server).await, "1");
    for number in [2, 3] {
        config_map(&rules_dir, &format!("..2026_11_2{number}"), &rules(number));
        let swapped = Instant::now();
        becomes(&server, &number.to_string()).await;
        assert!(swapped.elapsed() < Duration::from_secs(5), "taken after {:?}", swapped.elapsed());
    }
    assert_eq!(kept(&mut server.rulesets().await).await.len(), 3, "a version is published once");
}

/// Writes a file in parts; answers the longest time between two of them.
fn write_slowly(path: &Path, text: &str) -> Duration {
    let (mut written, mut longest, mut last) = (String::new(), Duration::ZERO, Instant::now());
    for part in text.as_bytes().chunks(80) {
        written.push_str(std::str::from_utf8(part).expect("ASCII"));
        fs::write(path, &written).expect("writing a part");
        longest = longest.max(last.elapsed());
        last = Instant::now();
        thread::sleep(Duration::from_millis(50));
    }
    longest
}

#[tokio::test]
async fn a_slow_writer_is_waited_for() {
    let place = place(1);
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    for number in 2..20 {
        let before = kept(&mut client).await.len();
        let longest = write_slowly(&place.rules().join("all.yaml"), &rules(number));
        becomes(&server, &number.to_string()).await;
        // a machine that stalls the writer proves nothing
        if longest > WRITES_STALLED {
            continue;
        }
        let revisions = kept(&mut client).await;
        assert_eq!(revisions.len(), before + 1, "a part of the file was published: {revisions:?}");
        assert!(active(&mut client).await.refused_errors.is_empty());
        return;
    }
    panic!("the writer was stalled every time");
}

#[tokio::test]
async fn the_same_calls_speak_json() {
    let place = place(1);
    let server = Server::start(&place);
    let first = web::get(server.address, "/v1/ruleset:active", &[]).json();
    let body = json!({
        "files": [{"path": "all.yaml", "text": rules(2)}],
        "expectedRevision": first["revision"], "author": "ann", "comment": "json",
    });
    let published = web::post(server.address, "/v1/revisions:publish", &body);
    assert_eq!(published.status, 200, "{}", published.body);
    assert_eq!(published.json()["changed"], true);
    assert_eq!(web::post(server.address, "/v1/revisions:publish", &body).status, 409);
    let revisions = web::get(server.address, "/v1/revisions?pageSize=1", &[]).json();
    assert_eq!(revisions["revisions"][0]["author"], "ann");
    let token = revisions["nextPageToken"].as_str().expect("a second page").to_owned();
    let rest = web::get(server.address, &format!("/v1/revisions?pageSize=1&pageToken={token}"), &[]).json();
    assert_eq!(rest["revisions"][0]["revision"], first["revision"]);
    assert_eq!(rest["nextPageToken"], "");
    let diff = web::post(server.address, "/v1/revisions:diff", &json!({"from": first["revision"]}));
    assert_eq!(diff.json()["offersChanged"][0], "left_offer", "{}", diff.body);
    let refused = web::post(server.address, "/v1/revisions:validate", &json!({"files": [{"path": "a.txt"}]}));
    assert!(refused.status == 400 && refused.body.contains("files[0].path"), "{}", refused.body);
    assert_eq!(web::post(server.address, "/v1/revisions:get", &json!({"revision": "1"})).status, 400);
    assert_eq!(web::post(server.address, "/v1/revisions:get", &json!({"revision": "00000000000000ff"})).status, 404);
    assert_eq!(web::get(server.address, "/v1/audit?pageToken=x", &[]).status, 400);
    let newest = web::get(server.address, "/v1/audit?pageSize=1", &[]).json();
    assert_eq!((&newest["entries"][0]["author"], &newest["nextPageToken"]), (&json!("ann"), &json!("2")));
}

#[tokio::test]
async fn only_messages_with_rule_files_may_be_long() {
    let place = place(1);
    let server = Server::start(&place);
    let mut client = server.rulesets().await;
    let parts: Vec<RuleFile> = (0..3)
        .map(|part| RuleFile { path: format!("{part}.yaml"), text: "#".repeat(1 << 19) + "\n" })
        .chain(files(&rules(2)))
        .collect();
    let answer = client.validate_revision(ValidateRevisionRequest { files: parts }).await.expect("a report");
    assert!(answer.into_inner().report.is_some());
    let request = rapport::proto::ListOffersRequest { page_token: "x".repeat(2 << 20), ..Default::default() };
    let refused = client.list_offers(request).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("length"), "{refused}");
}
