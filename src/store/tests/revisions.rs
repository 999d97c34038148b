//! Revisions, pauses and the audit list at rest.

use crate::domain::{
    Activation, AuditAction, AuditEntry, Pause, PauseKind, Pauses, RevisionOrigin, RulesetHash, Timestamp,
};
use crate::rules::SourceFile;

use super::support::config;
use crate::store::{
    NewActive, REVISIONS_KEPT, Store,
    revisions::{REVISIONS_KEPT_MAX, REVISIONS_KEPT_MIN},
};

pub fn new_active(hash: RulesetHash, files: &[SourceFile], at: Timestamp) -> NewActive<'_> {
    NewActive {
        activation: Activation { hash, at, author: "ann".into(), ..Activation::default() },
        files,
        offers: 1,
        pausable: [vec![format!("offer_{}", hash.0).into()], vec![], vec!["all".into()], vec!["web".into()]],
        reserve_us: 5,
        overridden: Vec::new(),
        needed_from: None,
    }
}

fn files(n: u64) -> Vec<SourceFile> {
    vec![SourceFile { path: "rules/a.yaml".into(), text: format!("a: {n}").into() }]
}

fn activate(store: &Store, n: u64, at: i64, needed_from: Option<i64>) {
    let files = files(n);
    let new =
        NewActive { needed_from: needed_from.map(Timestamp), ..new_active(RulesetHash(n), &files, Timestamp(at)) };
    store.activate(&new).unwrap();
}

fn kept(store: &Store) -> Vec<u64> {
    store.revisions().unwrap().iter().map(|revision| revision.hash.0).collect()
}

#[test]
fn the_last_revisions_are_kept_and_those_that_the_log_needs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let many = REVISIONS_KEPT as u64 + 10;
    for n in 1..=many {
        activate(&store, n, n as i64, Some(0));
    }
    assert_eq!(kept(&store).len() as u64, many, "the log needs all of them");
    // those that were replaced at 5 or before are not needed
    activate(&store, many + 1, many as i64 + 1, Some(6));
    let left = kept(&store);
    assert_eq!(left[..3], [many + 1, many, many - 1]);
    assert!(!left.contains(&4) && left.contains(&5), "{left:?}");
    assert_eq!(store.load_ruleset(RulesetHash(4)).unwrap(), None);
    assert_eq!(store.load_ruleset(RulesetHash(5)).unwrap(), Some(files(5)));
    activate(&store, many + 2, many as i64 + 2, None);
    assert_eq!(kept(&store).len(), REVISIONS_KEPT);
    const { assert!(REVISIONS_KEPT_MIN == 3 && REVISIONS_KEPT < REVISIONS_KEPT_MAX) };
}

#[test]
fn a_revision_keeps_who_made_it_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    activate(&store, 1, 10, None);
    activate(&store, 2, 20, None);
    let again = files(1);
    let mut new = new_active(RulesetHash(1), &again, Timestamp(30));
    new.activation.author = "bob".into();
    new.activation.origin = RevisionOrigin::Rollback;
    new.activation.parent = Some(RulesetHash(2));
    store.activate(&new).unwrap();
    drop(store);

    let store = Store::open(config(dir.path())).unwrap();
    let revisions = store.revisions().unwrap();
    assert_eq!(kept(&store), [1, 2]);
    assert_eq!(
        (&*revisions[0].author, revisions[0].created_at, revisions[0].activated_at),
        ("ann", Timestamp(10), Timestamp(30))
    );
    assert_eq!((revisions[0].replaced_at, revisions[1].replaced_at), (None, Some(Timestamp(30))));
    let active = store.control().unwrap().active.unwrap();
    assert_eq!((active.hash, &*active.author, active.parent), (RulesetHash(1), "bob", Some(RulesetHash(2))));
    let audit = store.audit(u64::MAX, 10).unwrap();
    let told: Vec<_> = audit.iter().map(|entry| (entry.number, entry.action, &*entry.author)).collect();
    assert_eq!(
        told,
        [(3, AuditAction::Rollback, "bob"), (2, AuditAction::Publish, "ann"), (1, AuditAction::Publish, "ann")]
    );
}

#[test]
fn what_the_directory_had_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(store.control().unwrap().directory, None);
    activate(&store, u64::MAX - 1, 1, None);
    let api = files(2);
    let mut new = new_active(RulesetHash(2), &api, Timestamp(2));
    new.activation.origin = RevisionOrigin::Api;
    store.activate(&new).unwrap();
    assert_eq!(store.control().unwrap().directory, Some(RulesetHash(u64::MAX - 1)));
    store.save_directory(RulesetHash(3)).unwrap();
    assert_eq!(store.control().unwrap().directory, Some(RulesetHash(3)));
}

#[test]
fn pauses_survive_and_every_change_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let pause = |id: &str| Pause {
        kind: PauseKind::Offer,
        id: id.into(),
        reason: "wrong price".into(),
        author: "ann".into(),
        since: Timestamp(7),
    };
    let entry = |action, subject: &str| AuditEntry {
        number: 0,
        at: Timestamp(7),
        author: "ann".into(),
        action,
        subject: subject.into(),
        reason: "wrong price".into(),
        origin: None,
        previous: None,
        force_reason: "".into(),
        overridden: Vec::new(),
    };
    let pauses = Pauses::default().with(pause("a")).with(pause("b"));
    store.save_pauses(&pauses, &[entry(AuditAction::Pause, "offer a"), entry(AuditAction::Pause, "offer b")]).unwrap();
    let fewer = pauses.without(PauseKind::Offer, "a");
    store.save_pauses(&fewer, &[entry(AuditAction::Resume, "offer a")]).unwrap();
    // as a power cut leaves it
    let copy = super::support::crashed_copy(&store);
    let store = Store::open(config(copy.path())).unwrap();
    assert_eq!(store.control().unwrap().pauses, fewer);
    let page = store.audit(u64::MAX, 2).unwrap();
    let subjects: Vec<&str> = page.iter().map(|entry| &*entry.subject).collect();
    assert_eq!(subjects, ["offer a", "offer b"]);
    assert_eq!(store.audit(page[1].number, 2).unwrap().len(), 1);
    assert!(store.was_known(PauseKind::Offer, "offer_1").is_ok_and(|known| !known));
    activate(&store, 1, 1, None);
    assert!(store.was_known(PauseKind::Offer, "offer_1").unwrap());
    assert!(!store.was_known(PauseKind::Channel, "offer_1").unwrap());
}
