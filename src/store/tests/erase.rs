//! Erasing: nothing of the person is left in any file, whenever the process ends.

use std::path::Path;

use super::support::*;
use crate::domain::*;
use crate::store::*;

/// What stands in the data of the person, and nowhere else.
const MAIL: &str = "ann.of.the.erased@example.org";
const NOTE: &str = "calls back at dawn";

fn noted(id: u128) -> EventKind {
    match purchase(id as i64) {
        EventKind::Customer { event, channel, amount, items, bought, conversion, .. } => EventKind::Customer {
            event,
            channel,
            amount,
            items,
            bought,
            conversion,
            data: format!("{{\"note\":\"{NOTE}\"}}").into(),
        },
        other => other,
    }
}

async fn live(store: &Store, first: u128, events: u128) -> CustomerKey {
    let mut key = None;
    for id in first..first + events {
        let target = Target::Identities(vec![identity(store, EMAIL, MAIL)]);
        key = store.record(vec![submission(target, id, noted(id))]).await[0].customer;
    }
    key.unwrap()
}

fn erasure(customer: CustomerKey) -> NewErasure {
    NewErasure { id: 77, at: NOW.plus_us(1_000_000), reason: "asked for".into(), customer }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    all
}

fn holds(dir: &Path, wanted: &[u8]) -> Vec<String> {
    let has = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    files(dir).into_iter().filter(|(_, bytes)| has(bytes)).map(|(name, _)| name).collect()
}

fn nothing_is_plain(dir: &Path) {
    for text in [MAIL, NOTE, "example.org"] {
        assert_eq!(holds(dir, text.as_bytes()), Vec::<String>::new(), "`{text}`");
    }
}

fn query(customer: CustomerKey) -> TimelineQuery {
    TimelineQuery { customers: vec![customer], before: None, from: None, len_max: 100 }
}

async fn is_gone(store: &Store, key: CustomerKey) {
    let mail = [identity(store, EMAIL, MAIL)];
    assert_eq!(store.resolve(&mail).await.unwrap(), Resolved::Unknown);
    assert!(store.profile(key).await.unwrap().is_none());
    assert_eq!(store.timeline(query(key), |_| true).await.unwrap(), TimelinePage::default());
    assert!(store.erased(key).is_some());
    assert_eq!(store.shared.embedded.data_key(key).unwrap(), None);
}

#[test]
fn at_rest_everything_personal_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let key = live(&store, 1, 20).await;
        stored(&store).await;
        let hot = store.profile(key).await.unwrap().unwrap();
        assert!(store.submit_decision(decision(1, Some(hot), 0)));
        assert!(store.decision(decision_id(1)).await.unwrap().is_some());
        stored(&store).await;
        assert_eq!(store.timeline(query(key), |_| true).await.unwrap().entries.len(), 21);
    });
    store.close();
    nothing_is_plain(dir.path());
}

#[test]
fn after_an_erasure_neither_key_nor_row_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let key = runtime.block_on(async {
        let key = live(&store, 1, 20).await;
        stored(&store).await;
        // some of it is not stored yet
        live(&store, 100, 5).await;
        key
    });
    let data_key = store.hot(key).unwrap().data_key.clone();
    assert!(!holds(dir.path(), &data_key.0).is_empty(), "the search finds what is there");
    let erased = runtime.block_on(store.erase(erasure(key))).unwrap().unwrap();
    assert_eq!((erased.customers.as_slice(), erased.identities.len()), (&[key][..], 1));
    // as it is at the moment of the acknowledgement, and as the next start has it
    let copy = crashed_copy(&store);
    for dir in [dir.path(), copy.path()] {
        assert_eq!(holds(dir, &data_key.0), Vec::<String>::new());
        nothing_is_plain(dir);
    }
    runtime.block_on(is_gone(&store, key));
    assert_eq!(runtime.block_on(store.erase(erasure(key))).unwrap(), None);
    store.close();
    drop(store);
    for dir in [dir.path(), copy.path()] {
        let store = Store::open(config(dir)).unwrap();
        runtime.block_on(is_gone(&store, key));
        store.close();
        assert_eq!(holds(dir, &data_key.0), Vec::<String>::new());
    }
}

/// A store with one customer, who is at rest.
fn with_one(dir: &Path) -> (Store, tokio::runtime::Runtime, CustomerKey) {
    let (store, runtime) = (Store::open(config(dir)).unwrap(), runtime());
    let key = runtime.block_on(live(&store, 1, 3));
    runtime.block_on(stored(&store));
    (store, runtime, key)
}

#[test]
fn an_erasure_that_only_the_log_has_is_finished_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, runtime, key) = with_one(dir.path());
    let data_key = store.hot(key).unwrap().data_key.clone();
    // nothing reaches the embedded store any more
    let quiet = store.shared.embedded.quiet().unwrap();
    let mut erasing = Box::pin(store.erase(erasure(key)));
    let waits = runtime.block_on(async {
        let waits = tokio::time::timeout(std::time::Duration::from_millis(300), &mut erasing).await;
        // the log has it, memory too
        is_gone_in_memory(&store, key).await;
        waits.is_err()
    });
    assert!(waits, "it is not acknowledged before the key is overwritten");
    let copy = tempfile::tempdir().unwrap();
    super::support::copy(dir.path(), copy.path());
    assert!(!holds(copy.path(), &data_key.0).is_empty());
    quiet.abort().unwrap();
    assert!(runtime.block_on(erasing).unwrap().is_some());

    let store = Store::open(config(copy.path())).unwrap();
    runtime.block_on(async {
        stored(&store).await;
        is_gone(&store, key).await;
    });
    store.close();
    assert_eq!(holds(copy.path(), &data_key.0), Vec::<String>::new());
}

async fn is_gone_in_memory(store: &Store, key: CustomerKey) {
    while store.erased(key).is_none() || store.hot(key).is_some() {
        tokio::task::yield_now().await;
    }
    let mail = [identity(store, EMAIL, MAIL)];
    assert_eq!(store.resolve(&mail).await.unwrap(), Resolved::Unknown);
    assert!(store.profile(key).await.unwrap().is_none());
}

#[test]
fn a_key_whose_transaction_was_committed_and_that_was_not_overwritten_goes_on_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, runtime, key) = with_one(dir.path());
    let data_key = store.hot(key).unwrap().data_key.clone();
    let slots = std::fs::read(dir.path().join("keys.slots")).unwrap();
    runtime.block_on(store.erase(erasure(key))).unwrap();
    store.close();
    drop(store);
    // as if the process had ended between the two
    std::fs::write(dir.path().join("keys.slots"), slots).unwrap();
    assert!(!holds(dir.path(), &data_key.0).is_empty());
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(holds(dir.path(), &data_key.0), Vec::<String>::new());
    runtime.block_on(is_gone(&store, key));
}

#[test]
fn late_events_are_refused_and_who_comes_back_is_somebody_new() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let store = Store::open(config(dir.path())).unwrap();
    let key = runtime.block_on(live(&store, 1, 3));
    runtime.block_on(store.erase(erasure(key))).unwrap().unwrap();
    let check = |store: &Store, id: u128| {
        runtime.block_on(async {
            let mail = || Target::Identities(vec![identity(store, EMAIL, MAIL)]);
            let late = store.record(vec![submission(mail(), id, purchase(1))]).await.remove(0);
            assert!(matches!(&late.status, ReceiptStatus::Refused(why) if why.starts_with("erased")), "{late:?}");
            let clicked = outcome(decision_id(1), Some(key), OutcomeType::Click);
            let one = submission(Target::Customer(key), id + 1, clicked);
            let late = store.record(vec![one]).await.remove(0);
            assert!(matches!(&late.status, ReceiptStatus::Refused(why) if why.starts_with("erased")), "{late:?}");
            assert_eq!(store.resolve(&[identity(store, EMAIL, MAIL)]).await.unwrap(), Resolved::Unknown);
        });
    };
    check(&store, 50);
    store.close();
    drop(store);
    let store = Store::open(config(dir.path())).unwrap();
    check(&store, 60);
    let again = runtime.block_on(live(&store, 2_000_000, 1));
    assert_ne!(again, key, "another key");
    runtime.block_on(store.erase(NewErasure { id: 78, at: NOW.plus_us(3_000_000), ..erasure(again) })).unwrap();
    let third = runtime.block_on(live(&store, 4_000_000, 1));
    assert!(third != key && third != again);
    assert_eq!(store.erased_len(), 2);
}

#[test]
fn a_shared_identity_stays_with_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let mut keys = Vec::new();
        for (n, name) in ["ann", "bob", "cat"].into_iter().enumerate() {
            let identities = vec![identity(&store, CUSTOMER_ID, name), identity(&store, PHONE, "447700900000")];
            let one = submission(Target::Identities(identities), n as u128 + 1, purchase(1));
            keys.push(store.record(vec![one]).await[0].customer.unwrap());
        }
        store.erase(erasure(keys[0])).await.unwrap().unwrap();
        let phone = identity(&store, PHONE, "447700900000");
        assert_eq!(store.holders(&phone).await.unwrap(), keys[1..]);
        store.erase(NewErasure { id: 2, ..erasure(keys[1]) }).await.unwrap().unwrap();
        assert_eq!(store.resolve(std::slice::from_ref(&phone)).await.unwrap(), Resolved::Known(keys[2]));
        stored(&store).await;
    });
    store.close();
    drop(store);
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let phone = identity(&store, PHONE, "447700900000");
        assert_eq!(store.holders(&phone).await.unwrap().len(), 1);
        let ann = identity(&store, CUSTOMER_ID, "ann");
        assert_eq!(store.resolve(&[ann]).await.unwrap(), Resolved::Unknown);
    });
}

/// What happened to others before an erasure is still theirs, though they share
/// an identity with the erased, or come with one of the erased; what only the shared
/// one names may have been of the erased.
#[test]
fn an_erasure_does_not_lock_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let named = |store: &Store, given: &[(IdentityTypeId, &str)]| {
        Target::Identities(given.iter().map(|(kind, value)| identity(store, *kind, value)).collect())
    };
    const FAMILY: (IdentityTypeId, &str) = (PHONE, "447700900000");
    let send = |store: &Store, given: &[(IdentityTypeId, &str)], id: u128| {
        let target = named(store, given);
        runtime.block_on(store.record(vec![submission(target, id, purchase(1))])).remove(0)
    };
    let ann = send(&store, &[(CUSTOMER_ID, "ann"), FAMILY, (EMAIL, MAIL)], 1).customer.unwrap();
    let bob = send(&store, &[(CUSTOMER_ID, "bob"), FAMILY], 2).customer.unwrap();
    let erased = runtime.block_on(store.erase(erasure(ann))).unwrap().unwrap();
    assert_eq!((erased.identities.len(), erased.shared.len()), (2, 1));
    let check = |store: &Store, id: u128| {
        // of then it may have been either's, and names nobody else
        let by_phone = send(store, &[FAMILY], id);
        assert!(matches!(&by_phone.status, ReceiptStatus::Refused(why) if why.starts_with("erased")), "{by_phone:?}");
        let bobs = send(store, &[(CUSTOMER_ID, "bob"), FAMILY], id + 8);
        assert_eq!((bobs.status, bobs.customer, bobs.left_out.len()), (ReceiptStatus::Recorded, Some(bob), 0));
        let both = send(store, &[(EMAIL, MAIL), (CUSTOMER_ID, "bob"), FAMILY], id + 1);
        assert_eq!(both.customer, Some(bob));
        assert_eq!(both.left_out, [LeftOut { kind: EMAIL, why: NotLinked::Erased }]);
        let mail = identity(store, EMAIL, MAIL);
        assert_eq!(runtime.block_on(store.resolve(&[mail])).unwrap(), Resolved::Unknown);
        for (n, of_ann) in
            [&[(CUSTOMER_ID, "ann"), FAMILY][..], &[(CUSTOMER_ID, "nobody yet"), (EMAIL, MAIL)], &[(EMAIL, MAIL)]]
                .into_iter()
                .enumerate()
        {
            let late = send(store, of_ann, id + 2 + n as u128);
            assert!(matches!(&late.status, ReceiptStatus::Refused(why) if why.starts_with("erased")), "{late:?}");
        }
    };
    store.link_by(super::merging::linking(3));
    check(&store, 50);
    store.close();
    drop(store);
    let store = Store::open(config(dir.path())).unwrap();
    store.link_by(super::merging::linking(3));
    check(&store, 60);
}

/// In which segments somebody was says much of them: the log has it sealed, and
/// of who was erased nothing is written.
#[test]
fn segments_are_sealed_and_go_with_the_erased() {
    const SEGMENT: &str = "with_a_chronic_illness";
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let key = runtime.block_on(live(&store, 1, 1));
    runtime.block_on(stored(&store));
    let changed = || {
        let entered = vec![SEGMENT.into()];
        vec![crate::predict::SegmentsChanged { customer: key, entered, left: Vec::new() }]
    };
    let mut segments = Membership::default();
    segments.insert(3);
    let before = store.stats().log_records;
    assert!(store.segments_changed(changed(), NOW));
    assert_eq!(store.stats().log_records, before + 1);
    store.save_members(&[(key, segments.clone())]).unwrap();
    assert_eq!(store.piece_after(None, 10).unwrap().members, [(key, segments.clone())]);
    assert_eq!(holds(dir.path(), SEGMENT.as_bytes()), Vec::<String>::new());

    runtime.block_on(store.erase(erasure(key))).unwrap().unwrap();
    assert_eq!(store.piece_after(None, 10).unwrap().members, []);
    // a look that began before goes on
    let before = store.stats().log_records;
    assert!(store.segments_changed(changed(), NOW.plus_us(2_000_000)));
    store.save_members(&[(key, segments)]).unwrap();
    assert_eq!(store.stats().log_records, before);
    assert_eq!(store.piece_after(None, 10).unwrap().members, []);
}

#[test]
fn a_decision_of_the_erased_keeps_only_its_public_part() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let key = live(&store, 1, 1).await;
        let hot = store.profile(key).await.unwrap().unwrap();
        assert!(store.submit_decision(decision(1, Some(hot), 0)));
        let before = store.decision(decision_id(1)).await.unwrap().unwrap();
        assert!(before.record.customer.is_some() && !before.erased);
        store.erase(erasure(key)).await.unwrap().unwrap();
        let after = store.decision(decision_id(1)).await.unwrap().unwrap();
        assert!(after.record.customer.is_none() && after.erased);
        assert_eq!(after.record.winners, before.record.winners);
    });
}

#[test]
fn another_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rapport.redb");
    {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(embedded::META).unwrap().insert("format", 1).unwrap();
        transaction.commit().unwrap();
    }
    let error = Store::open(config(dir.path())).err().unwrap().to_string();
    assert!(error.contains("format `1`") && error.contains("format `3`"), "{error}");
    assert!(!dir.path().join("keys.slots").exists(), "nothing is made");
}

#[test]
fn who_was_merged_goes_too_and_so_do_the_kept_merges() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let (ann, bob) = runtime.block_on(async {
        let ann = live(&store, 1, 3).await;
        let bob = buy(&store, "bob", 50).await.customer.unwrap();
        stored(&store).await;
        (ann, bob)
    });
    let keys = [ann, bob].map(|key| store.hot(key).unwrap().data_key.clone());
    runtime.block_on(async {
        let merged = store.merge((ann, bob), (MergeId(5), NOW.plus_us(500)), "the same person").await;
        assert_eq!(merged.status, ReceiptStatus::Recorded);
        stored(&store).await;
        let customers = vec![ann, bob];
        let entries = store.timeline(TimelineQuery { customers, ..query(ann) }, |_| true).await.unwrap().entries;
        assert_eq!(entries.len(), 4);
    });
    assert_eq!(store.shared.merges(&[ann, bob]).unwrap().len(), 1);
    for key in &keys {
        let files = holds(dir.path(), &key.0);
        assert!(files.iter().all(|file| file.contains("/keys.")), "{files:?}");
    }
    let erased = runtime.block_on(store.erase(erasure(bob))).unwrap().unwrap();
    assert!(erased.customers.len() == 2 && erased.customers.contains(&ann) && erased.customers.contains(&bob));
    let check = |store: &Store| {
        for key in [ann, bob] {
            assert!(runtime.block_on(store.profile(key)).unwrap().is_none() && store.erased(key).is_some());
            assert_eq!(runtime.block_on(store.timeline(query(key), |_| true)).unwrap(), TimelinePage::default());
        }
        assert!(store.shared.merges(&[ann, bob]).unwrap().is_empty());
        assert_eq!(store.shared.embedded.merge_rows().unwrap(), [0; 3]);
        for key in &keys {
            assert_eq!(holds(dir.path(), &key.0), Vec::<String>::new());
        }
        nothing_is_plain(dir.path());
    };
    check(&store);
    store.close();
    drop(store);
    check(&Store::open(config(dir.path())).unwrap());
}

/// What was decided while the erased was one with somebody who lives on is that
/// one's: it is known which that is.
#[test]
fn it_is_known_what_was_decided_for_others_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = super::merging::open(dir.path());
    runtime().block_on(async {
        let ann = buy(&store, "ann", 1).await.customer.unwrap();
        let bob = buy(&store, "bob", 2).await.customer.unwrap();
        let (from, until) = (NOW.plus_us(1_000), NOW.plus_us(2_000));
        assert_eq!(store.meanwhile(vec![bob]).await.unwrap(), []);
        store.merge((ann, bob), (MergeId(5), from), "the same").await;
        store.undo_merge(ann, (MergeId(5), until), "they are not").await;
        let span = Meanwhile { survivor: ann, from, until };
        assert_eq!(store.meanwhile(vec![bob]).await.unwrap(), [span]);
        stored(&store).await;
        assert_eq!(store.meanwhile(vec![bob]).await.unwrap(), [span]);
        // with the one who has them nothing is left
        assert_eq!(store.meanwhile(vec![ann]).await.unwrap(), []);
        assert_eq!(store.meanwhile(vec![ann, bob]).await.unwrap(), []);
    });
}

#[test]
fn a_unit_of_a_budget_of_the_erased_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let claim = ledger::BudgetClaim { offer: OFFER, max: 1, window_from: NOW.plus_us(-1) };
    {
        let store = Store::open(config(dir.path())).unwrap();
        runtime.block_on(async {
            let (ann, bob) = (buy(&store, "ann", 1).await, buy(&store, "bob", 2).await);
            for (n, customer) in [(1, ann.customer), (2, bob.customer)] {
                let hot = store.profile(customer.unwrap()).await.unwrap();
                assert!(store.submit_decision(decision(n, hot, 0)));
                store.decision(decision_id(n)).await.unwrap().unwrap();
            }
            store.erase(erasure(ann.customer.unwrap())).await.unwrap().unwrap();
            stored(&store).await;
        });
        store.close();
    }
    let store = Store::open(config(dir.path())).unwrap();
    // bob's is there
    assert!(!store.ledger().budgets().has_room(&claim, NOW.plus_us(1_000_000)));
    assert!(store.ledger().budgets().has_room(&ledger::BudgetClaim { max: 2, ..claim }, NOW.plus_us(1_000_000)));
}
