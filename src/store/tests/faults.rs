//! What fails is told, and mends once it can.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::support::*;
use crate::domain::*;
use crate::store::*;

/// Waits for something that a thread of the store brings about.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} never");
        tokio::task::yield_now().await;
    }
}

#[test]
fn one_failed_access_of_the_embedded_store_does_not_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        assert!(store.healthy());
        buy(&store, "ann", 1).await;
        stored(&store).await;
        let key = buy(&store, "bob", 2).await.customer.unwrap();
        store.shared.embedded.failing.store(true, SeqCst);
        store.shared.overlay.hurry();
        eventually("the failure is noticed", || !store.healthy()).await;
        store.shared.embedded.failing.store(false, SeqCst);
        eventually("the store mends", || store.healthy()).await;
        stored(&store).await;
        assert!(store.shared.embedded.profile(key).unwrap().is_some());
        assert_eq!(buy(&store, "bob", 3).await.status, ReceiptStatus::Recorded);
    });
}

#[test]
fn a_failed_read_is_to_be_tried_again_and_mends_without_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        buy(&store, "ann", 1).await;
        stored(&store).await;
        store.shared.embedded.failing.store(true, SeqCst);
        store.shared.embedded.lose();
        // an event that memory does not know must be looked for
        let refused = buy(&store, "ann", 2).await;
        assert_eq!(refused.status, ReceiptStatus::Exhausted);
        assert!(!store.healthy());
        store.shared.embedded.failing.store(false, SeqCst);
        eventually("the store mends", || store.healthy()).await;
        assert_eq!(buy(&store, "dan", 99).await.status, ReceiptStatus::Recorded);
    });
}

#[test]
fn a_thread_that_ended_makes_the_store_unhealthy() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert!(store.healthy());
    let panicked = std::thread::spawn(|| panic!("told to"));
    while !panicked.is_finished() {
        std::thread::yield_now();
    }
    store.threads.lock().unwrap().push(panicked);
    assert!(!store.healthy());
}

#[test]
fn nothing_is_durable_in_a_segment_whose_sync_failed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let durable = |name: &str, id| Submission {
            strength: Strength::Disk,
            ..submission(by_name(&store, name), id, purchase(1))
        };
        assert_eq!(store.record(vec![durable("ann", 1)]).await[0].status, ReceiptStatus::Recorded);
        // as the syncing thread says after a failed sync
        store.shared.segment_failed.store(true, SeqCst);
        let quiet = store.shared.embedded.quiet().unwrap();
        let later = store.record(vec![durable("ann", 2)]).await.remove(0);
        assert_eq!(later.status, ReceiptStatus::Exhausted, "what was before is not known to be on disk");
        let segments = std::fs::read_dir(dir.path().join("log")).unwrap().count();
        assert_eq!(segments, 2);
        quiet.abort().unwrap();
        stored(&store).await;
        assert_eq!(store.record(vec![durable("ann", 2)]).await[0].status, ReceiptStatus::Duplicate);
        assert_eq!(store.record(vec![durable("ann", 3)]).await[0].status, ReceiptStatus::Recorded);
    });
}

#[test]
fn a_load_that_nobody_waits_for_any_more_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        for n in 0..50 {
            let load = store.profile(CustomerKey(n));
            let _ = tokio::time::timeout(Duration::ZERO, load).await;
        }
        assert_eq!(store.shared.loading_len(), 0);
    });
}
