//! Publishing and pausing over a store that fails, is old or is damaged.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use crate::{
    app::{App, AppError, CHANGES_MAX, LongWork, OpenError, ResumeInput},
    domain::{AuditAction, Pause, PauseKind, RevisionOrigin, RulesetHash, Timestamp},
    rules::{self, SourceFile},
    store::{Store, StoreConfig},
};

use super::{Change, Refusal, Rules, watch::Taken};

const SCENARIO: &str = r#"
scenarios:
  - name: nobody wins
    now: 2026-11-20T12:00:00Z
    request: { placements: [hero] }
    expect: [ { placement: hero, winners: [] } ]
"#;

/// Rules that differ by a number.
pub(super) fn files(number: u32) -> Vec<SourceFile> {
    text(&format!(
        r#"
settings: {{ currency: GBP }}
channels: [ {{ id: web, kind: self_service, require: [text] }} ]
placements: [ {{ id: hero, channel: web }} ]
issues: [ {{ id: sell }} ]
groups: [ {{ id: all }} ]
offers:
  - {{ id: a, purpose: service, issue: sell, group: all, value: 5, placements: [hero], treatments: {{ web: {{ en: {{ text: "{number}" }} }} }} }}
"#
    ))
}

/// The same, failing their checks.
fn failing(number: u32) -> Vec<SourceFile> {
    text(&(files(number)[0].text.to_string() + SCENARIO))
}

fn text(text: &str) -> Vec<SourceFile> {
    vec![SourceFile { path: "all.yaml".into(), text: text.into() }]
}

fn opened(dir: &Path, found: &Rules) -> Result<App, OpenError> {
    App::open(Store::open(StoreConfig::new(dir)).unwrap(), found, "http://127.0.0.1:7070")
}

fn open(dir: &Path, number: u32) -> App {
    opened(dir, &Ok(files(number))).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn call(force: bool) -> Change {
    Change {
        author: "ann".into(),
        comment: "".into(),
        origin: RevisionOrigin::Api,
        force: force.then(|| "we know".into()),
        expected: None,
    }
}

fn active(app: &App) -> RulesetHash {
    let info = app.revision();
    assert_eq!((info.activation.hash, info.ruleset.hash), (app.current().ruleset.hash, info.ruleset.hash));
    info.ruleset.hash
}

fn pause() -> Pause {
    Pause { kind: PauseKind::Offer, id: "a".into(), reason: "price".into(), author: "ann".into(), since: Timestamp(0) }
}

fn resume() -> ResumeInput {
    ResumeInput { kind: PauseKind::Offer, id: "a".into(), reason: "ok".into(), author: "bob".into(), force: false }
}

/// Waits until the store is open again.
fn mended(app: &App) {
    app.store.set_failing(false);
    let begun = Instant::now();
    while !app.store.healthy() || app.store.control().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the store never mends");
        std::thread::yield_now();
    }
}

#[test]
fn a_pause_that_cannot_be_written_is_in_effect_and_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), 1);
    app.store.set_failing(true);
    assert!(matches!(app.pause(pause()), Err(AppError::Unavailable(_))));
    assert_eq!(app.pauses().list.len(), 1);
    app.write_what_is_unwritten();
    mended(&app);
    assert_eq!(app.store.control().unwrap().pauses.list.len(), 0);
    app.write_what_is_unwritten();
    assert_eq!(app.store.control().unwrap().pauses, *app.pauses());
    let audit = app.audit(u64::MAX, 10).unwrap();
    assert_eq!((audit[0].action, audit.len()), (AuditAction::Pause, 2));
}

#[test]
fn a_resume_that_cannot_be_written_leaves_the_pause_and_nothing_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), 1);
    app.pause(pause()).unwrap();
    app.store.set_failing(true);
    let more = Pause { kind: PauseKind::Channel, id: "web".into(), ..pause() };
    assert!(app.pause(more).is_err());
    assert!(app.resume(&resume()).is_err());
    let paused = |app: &App| app.pauses().list.iter().map(|pause| pause.id.to_string()).collect::<Vec<_>>();
    assert_eq!(paused(&app), ["a", "web"]);
    mended(&app);
    app.write_what_is_unwritten();
    let told: Vec<_> = app.audit(u64::MAX, 10).unwrap().iter().map(|entry| entry.action).collect();
    assert_eq!(told, [AuditAction::Pause, AuditAction::Pause, AuditAction::Publish], "the pauses, and no resume");
    assert_eq!(app.store.control().unwrap().pauses, *app.pauses());
    assert!(app.resume(&resume()).unwrap().changed);
    drop(app);
    assert_eq!(paused(&open(dir.path(), 1)), ["web"]);
}

#[test]
fn an_edit_that_could_not_be_kept_is_taken_later() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), 1);
    app.store.set_failing(true);
    for _ in 0..2 {
        assert_eq!(app.take_files(&files(2)), Taken::Failed);
    }
    assert_eq!(active(&app), rules::hash_of(&files(1)));
    assert_eq!(app.revision().refused.len(), 1);
    mended(&app);
    assert_eq!(app.take_files(&files(2)), Taken::Whole);
    assert_eq!(active(&app), rules::hash_of(&files(2)));
    assert!(app.revision().refused.is_empty());
}

#[test]
fn a_refused_edit_stays_told_over_a_publish_by_call_and_is_looked_at_anew() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), 1);
    assert_eq!(app.take_files(&failing(2)), Taken::Whole);
    let lines = app.revision().refused;
    assert_eq!(lines.len(), 1);
    app.publish(&files(3), &call(false)).unwrap();
    assert_eq!(app.revision().refused, lines);
    // looked at anew, it would undo the call
    assert_eq!(app.take_files(&failing(2)), Taken::Whole);
    let told = app.revision().refused;
    assert!(told.len() == 1 && told[0].contains("undo it"), "{told:?}");
    // a call forces what the directory has
    app.publish(&failing(2), &call(true)).unwrap();
    assert!(app.revision().refused.is_empty());
    app.publish(&files(3), &call(false)).unwrap();
    assert_eq!((app.take_files(&failing(2)), active(&app)), (Taken::Whole, rules::hash_of(&files(3))));
}

#[test]
fn an_old_data_directory_starts_with_what_served_before() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), 1);
    app.publish(&failing(2), &call(true)).unwrap();
    app.store.forget_revisions();
    drop(app);
    // the same files served before: they are not checked again
    let app = opened(dir.path(), &Ok(failing(2))).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(active(&app), rules::hash_of(&failing(2)));
    app.store.forget_revisions();
    drop(app);
    let app = opened(dir.path(), &Err(Refusal(vec!["no such directory".to_owned()]))).unwrap_or_else(|e| panic!("{e}"));
    assert!([rules::hash_of(&files(1)), rules::hash_of(&failing(2))].contains(&active(&app)));
    assert_eq!(app.revision().refused, ["no such directory"]);
    app.store.forget_revisions();
    drop(app);
    let app = opened(dir.path(), &Ok(failing(3))).unwrap_or_else(|error| panic!("{error}"));
    assert_ne!(active(&app), rules::hash_of(&failing(3)));
    assert!(app.revision().refused[0].contains("nobody wins"));
    // where nothing served, nothing is taken unchecked
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(opened(empty.path(), &Ok(failing(2))), Err(OpenError::Rules(_))));
}

#[test]
fn a_damaged_row_is_passed_over_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), 1);
    app.publish(&files(2), &call(false)).unwrap();
    app.store.damage_revision(rules::hash_of(&files(2)));
    drop(app);
    let app = opened(dir.path(), &Err(Refusal(vec!["gone".to_owned()]))).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(active(&app), rules::hash_of(&files(1)));
    app.publish(&files(2), &call(false)).unwrap();
    assert_eq!(app.revisions().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_calls_are_bounded_and_their_threads_keep_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let app = Arc::new(open(dir.path(), 1));
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    for _ in 0..CHANGES_MAX {
        let held = Arc::clone(&held);
        let call = app.run_long(LongWork::Change, move |_| {
            let _ = held.lock().unwrap().recv();
            Ok(())
        });
        // the caller goes, the thread stays
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    }
    let refused = app.run_long(LongWork::Change, |_| Ok(())).await;
    assert!(matches!(refused, Err(AppError::Exhausted(_))), "{refused:?}");
    assert!(app.run_long(LongWork::Trial, |_| Ok(())).await.is_ok());
    drop(release);
    let begun = Instant::now();
    while app.run_long(LongWork::Change, |_| Ok(())).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no place is given back");
        tokio::task::yield_now().await;
    }
}
