//! Recording: once, in order, and still there after a crash.

use std::{future::poll_fn, task::Poll};

use super::support::*;
use crate::domain::*;
use crate::store::*;

#[test]
fn an_event_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let first = buy(&store, "ann", 1).await;
        assert_eq!((first.status, first.created, first.version), (ReceiptStatus::Recorded, true, 1));
        let again = buy(&store, "ann", 1).await;
        assert_eq!((again.status, again.created, again.version), (ReceiptStatus::Duplicate, false, 1));
        assert_eq!(again.customer, first.customer);
        let mut other = submission(by_name(&store, "ann"), 1, purchase(5));
        other.content = 12_345;
        assert_eq!(store.record(vec![other]).await[0].status, ReceiptStatus::Conflict);
        let hot = store.hot(first.customer.unwrap()).unwrap();
        assert_eq!(hot.profile.stat(EventTypeId(3)).unwrap().count, 1);
        assert_eq!(hot.profile.identities.len(), 1);
        assert_eq!(hot.profile.arm_key.0, hot.profile.key.0);
    });
}

#[test]
fn a_batch_is_applied_in_order_and_duplicates_within_it_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let of = |id| submission(by_name(&store, "ann"), id, purchase(100));
        let receipts = store.record(vec![of(1), of(2), of(1)]).await;
        let statuses: Vec<_> = receipts.iter().map(|r| (r.status.clone(), r.version)).collect();
        let wanted = [(ReceiptStatus::Recorded, 1), (ReceiptStatus::Recorded, 2), (ReceiptStatus::Duplicate, 2)];
        assert_eq!(statuses, wanted);
    });
}

#[test]
fn identities_find_their_customer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let (ann, mail) = (identity(&store, CUSTOMER_ID, "ann"), identity(&store, EMAIL, "a@example.org"));
        let bob = identity(&store, CUSTOMER_ID, "bob");
        assert_eq!(store.resolve_hot(std::slice::from_ref(&ann)), Resolved::NotLoaded);
        assert_eq!(store.resolve(std::slice::from_ref(&ann)).await.unwrap(), Resolved::Unknown);
        assert_eq!(store.resolve_hot(std::slice::from_ref(&ann)), Resolved::Unknown);
        let both = Target::Identities(vec![ann.clone(), mail.clone()]);
        let key = store.record(vec![submission(both, 1, purchase(1))]).await[0].customer.unwrap();
        for known in [&ann, &mail] {
            assert_eq!(store.resolve_hot(std::slice::from_ref(known)), Resolved::Known(key));
        }
        let other = buy(&store, "bob", 2).await.customer.unwrap();
        assert_ne!(other, key);
        assert_eq!(store.resolve(&[ann.clone(), bob.clone()]).await.unwrap(), Resolved::Ambiguous);
        // reading says that it is ambiguous, an event makes them one
        let mixed = submission(Target::Identities(vec![ann.clone(), bob.clone()]), 3, purchase(1));
        assert_eq!(store.record(vec![mixed]).await[0].customer, Some(key));
        assert_eq!(store.resolve(&[ann, bob]).await.unwrap(), Resolved::Known(key));
    });
}

#[test]
fn nobody_may_only_have_outcomes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let seen = outcome(decision_id(1), None, OutcomeType::Impression);
        let receipts = store
            .record(vec![
                submission(Target::Anonymous, 1, seen.clone()),
                submission(Target::Anonymous, 1, seen),
                submission(Target::Anonymous, 2, purchase(1)),
                submission(Target::Identities(Vec::new()), 3, purchase(1)),
                submission(Target::Customer(CustomerKey(9)), 4, purchase(1)),
            ])
            .await;
        assert_eq!(receipts[0].status, ReceiptStatus::Recorded);
        assert_eq!(receipts[1].status, ReceiptStatus::Duplicate);
        for refused in &receipts[2..] {
            assert!(matches!(refused.status, ReceiptStatus::Refused(_)), "{refused:?}");
        }
        let mut tallies = store.tallies();
        let counted = tallies.wait_for(|t| t.offers.contains_key(&(OFFER, CHANNEL))).await.unwrap();
        assert_eq!(counted.offers[&(OFFER, CHANNEL)].trials, 1);
    });
}

#[test]
fn a_crash_loses_nothing_acknowledged_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let mut receipts = Vec::new();
    runtime.block_on(async {
        for n in 0..200_u128 {
            receipts.push(buy(&store, &format!("c{}", n % 20), n + 1).await);
            if n == 100 {
                // the first half comes from the embedded store afterwards
                stored(&store).await;
            }
        }
    });
    let copied = crashed_copy(&store);
    let recovered = Store::open(config(copied.path())).unwrap();
    runtime.block_on(async {
        for receipt in &receipts {
            let key = receipt.customer.unwrap();
            let before = store.profile(key).await.unwrap().unwrap();
            let after = recovered.profile(key).await.unwrap().unwrap();
            assert_eq!(before.profile, after.profile);
            assert_eq!(before.hash, after.hash);
            assert_eq!(after.profile.stat(EventTypeId(3)).unwrap().count, 10);
        }
        for n in 0..200_u128 {
            let again = buy(&recovered, &format!("c{}", n % 20), n + 1).await;
            assert_eq!(again.status, ReceiptStatus::Duplicate);
        }
    });
    // and once more: what was replayed is stored now
    recovered.close();
    drop(recovered);
    let reopened = Store::open(config(copied.path())).unwrap();
    runtime.block_on(async {
        let key = receipts[0].customer.unwrap();
        assert_eq!(reopened.profile(key).await.unwrap().unwrap().profile.version, 10);
        assert_eq!(reopened.stats().unmaterialised, 0);
    });
}

#[test]
fn event_ids_are_forgotten_after_a_week() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        buy(&store, "ann", 1).await;
        stored(&store).await;
        assert_eq!(buy(&store, "ann", 1).await.status, ReceiptStatus::Duplicate);
        let mut later = submission(by_name(&store, "ann"), 2, purchase(1));
        later.event.received_at = NOW.plus_us(8 * time::DAY_US);
        store.record(vec![later]).await;
        stored(&store).await;
        assert_eq!(buy(&store, "ann", 2).await.status, ReceiptStatus::Duplicate);
        assert_eq!(buy(&store, "ann", 1).await.status, ReceiptStatus::Recorded);
    });
}

#[test]
fn a_write_that_fails_changes_nothing_and_may_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    // every write begins a segment, which fails without the directory
    let store = Store::open(StoreConfig { segment_bytes: 1, ..config(dir.path()) }).unwrap();
    let (log, away) = (dir.path().join("log"), dir.path().join("away"));
    runtime().block_on(async {
        let first = buy(&store, "ann", 1).await;
        std::fs::rename(&log, &away).unwrap();
        let batch = || {
            let of = |name, id| submission(by_name(&store, name), id, purchase(1));
            store.record(vec![of("ann", 2), of("bob", 3)])
        };
        let receipts = batch().await;
        assert!(receipts.iter().all(|r| r.status == ReceiptStatus::Exhausted), "{receipts:?}");
        assert_eq!(store.hot(first.customer.unwrap()).unwrap().profile.version, 1);
        let bob = identity(&store, CUSTOMER_ID, "bob");
        assert_eq!(store.resolve(&[bob]).await.unwrap(), Resolved::Unknown);
        assert!(!store.submit_decision(decision(1, None, 0)));
        std::fs::rename(&away, &log).unwrap();
        let receipts = batch().await;
        assert!(receipts.iter().all(|r| r.status == ReceiptStatus::Recorded), "{receipts:?}");
        assert_eq!((receipts[0].version, receipts[1].created), (2, true));
    });
}

#[test]
fn crashes_in_a_stream_lose_nothing_and_repeat_nothing() {
    const CUSTOMERS: u128 = 7;
    let dir = tempfile::tempdir().unwrap();
    let tiny = |dir: &std::path::Path| StoreConfig { segment_bytes: 8_192, ..config(dir) };
    let store = Store::open(tiny(dir.path())).unwrap();
    let runtime = runtime();
    let acknowledged = std::sync::atomic::AtomicU64::new(0);
    let copies = std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            runtime.block_on(async {
                for n in 0..600_u128 {
                    let receipt = buy(&store, &format!("c{}", n % CUSTOMERS), n).await;
                    assert_eq!(receipt.status, ReceiptStatus::Recorded);
                    acknowledged.store(n as u64 + 1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        });
        let mut copies = Vec::new();
        while !stream.is_finished() && copies.len() < 4 {
            let before = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
            copies.push((before, crashed_copy(&store)));
        }
        copies
    });
    for (before, copied) in copies {
        let recovered = Store::open(tiny(copied.path())).unwrap();
        runtime.block_on(async {
            let mut known = 0;
            let mut counted = 0;
            for n in 0..600_u128 {
                let again = buy(&recovered, &format!("c{}", n % CUSTOMERS), n).await;
                let duplicate = again.status == ReceiptStatus::Duplicate;
                assert!(duplicate || u128::from(before) <= n, "event {n} of {before} is missing");
                known += u64::from(duplicate);
                counted += u64::from(!duplicate);
            }
            let mut versions = 0;
            for customer in 0..CUSTOMERS {
                let name = [identity(&recovered, CUSTOMER_ID, &format!("c{customer}"))];
                let Resolved::Known(key) = recovered.resolve(&name).await.unwrap() else { panic!("nobody") };
                versions += recovered.profile(key).await.unwrap().unwrap().profile.version;
            }
            assert_eq!(versions, known + counted);
        });
    }
}

#[test]
fn a_disk_acknowledgement_waits_for_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        buy(&store, "ann", 1).await;
        assert_eq!(store.stats().fsyncs, 0);
        let mut durable = submission(by_name(&store, "ann"), 2, purchase(1));
        durable.strength = Strength::Disk;
        assert_eq!(store.record(vec![durable]).await[0].status, ReceiptStatus::Recorded);
        assert_eq!(store.stats().fsyncs, 1);
    });
}

#[test]
fn a_full_log_refuses_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreConfig { log_bytes_max: LOG_BYTES_MIN, ..config(dir.path()) };
    let store = Store::open(small).unwrap();
    // nothing becomes free
    let quiet = store.shared.embedded.quiet().unwrap();
    runtime().block_on(async {
        let mut stored = 0;
        let mut key = None;
        let exhausted = loop {
            let receipt = buy(&store, "ann", stored + 1).await;
            if receipt.status != ReceiptStatus::Recorded {
                break receipt;
            }
            key = receipt.customer;
            stored += 1;
            assert!(stored < 20_000, "the log never fills");
        };
        assert_eq!(exhausted.status, ReceiptStatus::Exhausted);
        assert_eq!(u128::from(store.hot(key.unwrap()).unwrap().profile.version), stored);
        assert!(!store.submit_decision(decision(1, None, 0)));
        assert_eq!(store.stats().decisions_dropped, 1);
        assert!(store.stats().exhausted >= 1);
    });
    quiet.abort().unwrap();
}

#[test]
fn the_oldest_segments_make_room_once_they_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    // the least log, with the usual length of segments
    let small = StoreConfig { log_bytes_max: LOG_BYTES_MIN, ..config(dir.path()) };
    let store = Store::open(small).unwrap();
    runtime().block_on(async {
        for n in 0..12_000_u128 {
            while buy(&store, "ann", n + 1).await.status == ReceiptStatus::Exhausted {
                tokio::task::yield_now().await;
            }
        }
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        assert_eq!(store.hot(key).unwrap().profile.version, 12_000);
        assert!(store.stats().log_bytes < LOG_BYTES_MIN + 50_000);
        assert!(store.oldest_record().unwrap() > NOW.plus_us(1_000));
    });
}

#[test]
fn a_log_that_is_too_small_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = StoreConfig { log_bytes_max: LOG_BYTES_MIN - 1, ..config(dir.path()) };
    let error = Store::open(tiny).err().unwrap().to_string();
    assert!(error.contains("`log_bytes_max`") && error.contains("`1048576`"), "{error}");
}

#[test]
fn others_than_the_owner_are_kept_out() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let segment = data.join("log/00000000000000000001.log");
    let files = [data.join("rapport.redb"), data.join("keys.journal"), segment];
    for _ in 0..2 {
        let store = Store::open(config(&data)).unwrap();
        runtime().block_on(buy(&store, "ann", 1));
        drop(store);
        assert!([&data, &data.join("log"), &data.join("keys")].into_iter().all(|path| mode(path) == 0o700));
        for file in &files {
            assert_eq!(mode(file), 0o600, "{}", file.display());
            // as an older program left it
            set(file, 0o644);
        }
        set(&data, 0o755);
        set(&data.join("log"), 0o755);
    }
}

#[test]
fn a_second_process_is_told_that_the_directory_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let error = Store::open(config(dir.path())).err().unwrap().to_string();
    assert!(error.contains("another process has this data directory open"), "{error}");
    store.close();
    store.close();
    drop(store);
    assert!(Store::open(config(dir.path())).is_ok());
}

#[test]
fn a_closed_store_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    store.close();
    runtime().block_on(async {
        assert_eq!(buy(&store, "ann", 1).await.status, ReceiptStatus::Exhausted);
        assert!(!store.submit_decision(decision(1, None, 0)));
        assert!(store.decision(decision_id(1)).await.is_err());
    });
}

#[test]
fn names_and_rulesets_and_keys_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let files = vec![crate::rules::SourceFile { path: "rules/a.yaml".into(), text: "a: 1".into() }];
    store.activate(&super::revisions::new_active(RulesetHash(5), &files, crate::domain::Timestamp(1))).unwrap();
    store.remember_items(&["85123A".into()]);
    let keys = store.key_ring("tokens").unwrap();
    store.close();
    drop(store);
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(store.load_ruleset(RulesetHash(5)).unwrap(), Some(files));
    assert_eq!(store.load_ruleset(RulesetHash(6)).unwrap(), None);
    assert_eq!(store.item_name(ItemId::of("85123A")).as_deref(), Some("85123A"));
    assert_eq!(store.key_ring("tokens").unwrap(), keys);
}

#[test]
fn the_latest_time_of_the_log_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(store.latest_time(), Timestamp(i64::MIN));
    runtime().block_on(buy(&store, "ann", 5));
    let at = NOW.plus_us(5);
    assert_eq!(store.latest_time(), at);
    store.close();
    drop(store);
    assert_eq!(Store::open(config(dir.path())).unwrap().latest_time(), at);
}

#[test]
fn a_write_waits_until_the_embedded_store_has_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let quiet = store.shared.embedded.quiet().unwrap();
        for n in 0..10 {
            buy(&store, "ann", n).await;
        }
        let behind = store.unmaterialised();
        drop(store.keep_below(behind + 1).await);
        assert_eq!(store.stats().writes_waited, 0);
        let (mut first, mut second) = (Box::pin(store.keep_below(behind)), Box::pin(store.keep_below(behind + 1)));
        assert!(poll_fn(|ctx| Poll::Ready(first.as_mut().poll(ctx).is_pending())).await);
        // in the order in which they came, though this one need not wait
        assert!(poll_fn(|ctx| Poll::Ready(second.as_mut().poll(ctx).is_pending())).await);
        drop(quiet);
        drop(first.await);
        drop(second.await);
        assert_eq!(store.stats().writes_waited, 1);
        assert!(store.unmaterialised() < behind);
    });
}
