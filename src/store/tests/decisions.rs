//! Decisions: recorded, counted, read back with the state they read.

use std::sync::Arc;

use super::support::*;
use crate::domain::*;
use crate::store::{ledger::BudgetClaim, *};

/// What comes back of a record.
fn kept(record: &DecisionRecord) -> DecisionRecord {
    DecisionRecord { eligible: Eligible::default(), ..record.clone() }
}

fn same(found: &StoredDecision, record: &DecisionRecord) {
    let wanted = kept(record);
    let profile = |r: &DecisionRecord| r.customer.as_ref().map(|c| (c.hash, c.profile.clone()));
    assert_eq!(profile(&found.record), profile(&wanted));
    let bare = |r: &DecisionRecord| format!("{:?}", DecisionRecord { customer: None, ..r.clone() });
    assert_eq!(bare(&found.record), bare(&wanted));
}

#[test]
fn a_queued_decision_is_read_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        let version = store.tallies().borrow().version;
        let first = decision(1, store.hot(key), version);
        let second = decision(2, None, version);
        assert!(store.submit_decision(first.clone()));
        assert!(store.submit_decision(second.clone()));
        same(&store.decision(first.id).await.unwrap().unwrap(), &first);
        same(&store.decision(second.id).await.unwrap().unwrap(), &second);
        assert!(store.decision(decision_id(3)).await.unwrap().is_none());
    });
}

#[test]
fn decisions_are_read_back_after_a_crash_with_the_tallies_they_read() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = |dir: &std::path::Path| StoreConfig { segment_bytes: 8_192, ..config(dir) };
    let store = Store::open(tiny(dir.path())).unwrap();
    let runtime = runtime();
    let mut made: Vec<(DecisionRecord, Arc<Tallies>)> = Vec::new();
    runtime.block_on(async {
        let mut tallies = store.tallies();
        for n in 0..20_u128 {
            let key = buy(&store, &format!("c{}", n % 3), n + 1).await.customer.unwrap();
            let read = tallies.borrow_and_update().clone();
            for part in 0..4 {
                let record = decision(n * 4 + part, store.hot(key), read.version);
                assert!(store.submit_decision(record.clone()));
                made.push((record, Arc::clone(&read)));
            }
            let shown = outcome(decision_id(n * 4), Some(key), OutcomeType::Impression);
            store.record(vec![submission(Target::Customer(key), 1_000 + n, shown)]).await;
            tallies.wait_for(|t| t.version > read.version).await.unwrap();
        }
        // every one is in the log
        assert!(store.decision(made[79].0.id).await.unwrap().is_some());
    });
    // before the copy: the store goes on and may publish further versions
    let version = store.tallies().borrow().version;
    let copied = crashed_copy(&store);
    let recovered = Store::open(tiny(copied.path())).unwrap();
    runtime.block_on(async {
        for (record, read) in &made {
            let found = recovered.decision(record.id).await.unwrap().unwrap();
            same(&found, record);
            assert_eq!(found.tallies.version, read.version);
            for (pair, tally) in &read.offers {
                let found = found.tallies.offers[pair];
                assert_eq!((found.trials, found.positives), (tally.trials, tally.positives));
            }
        }
        let tally = recovered.tallies().borrow().offers[&(OFFER, CHANNEL)];
        assert_eq!((tally.trials, tally.impressions, tally.decided), (20, 20, 80));
        assert!(recovered.tallies().borrow().version > version);
    });
    let mut seen = Vec::new();
    let (from, until) = (made[10].0.now, made[30].0.now);
    recovered
        .scan_decisions(Some(from), Some(until), &mut |found| {
            seen.push(found.record.id);
            true
        })
        .unwrap();
    let wanted: Vec<_> = made[10..30].iter().map(|(record, _)| record.id).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn a_decision_that_counts_at_once_stands_in_the_history_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let key = runtime.block_on(async {
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        let mut record = decision(1, store.hot(key), 1);
        record.winners[0].counts_now = true;
        record.exposed = Some(false);
        assert!(store.submit_decision(record.clone()));
        let mut later = decision(2, store.hot(key), 1);
        later.exposed = Some(false);
        assert!(store.submit_decision(later.clone()));
        store.decision(later.id).await.unwrap().unwrap();
        let profile = &store.hot(key).unwrap().profile;
        assert_eq!(profile.interactions.len(), 1);
        assert!(profile.interactions[0].outcomes.has(OutcomeType::Decided));
        assert_eq!(profile.exposed_at, Some(record.now));
        key
    });
    let copied = crashed_copy(&store);
    let recovered = Store::open(config(copied.path())).unwrap();
    runtime.block_on(async {
        let before = store.profile(key).await.unwrap().unwrap();
        assert_eq!(recovered.profile(key).await.unwrap().unwrap().profile, before.profile);
        let tallies = recovered.tallies().borrow().clone();
        assert_eq!(tallies.exposed, [1, 0]);
        assert_eq!(tallies.offers[&(OFFER, CHANNEL)].decided, 2);
    });
}

#[test]
fn reservations_and_budgets_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let claim = BudgetClaim { offer: OFFER, max: 3, window_from: NOW.plus_us(-1_000_000) };
    let key = runtime.block_on(async {
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        for n in 1..=3 {
            let record = decision(n, store.hot(key), 1);
            let lapses = record.winners[0].reserved_until.unwrap();
            assert!(store.ledger().claim_budget(&claim, (record.id, RecordRef::NONE), record.now, lapses));
            assert!(store.submit_decision(record));
        }
        let of = |n, kind| submission(Target::Customer(key), 100 + n, outcome(decision_id(n), Some(key), kind));
        // seen twice counts once; cancelled gives its unit back
        let seen = of(1, OutcomeType::Impression);
        let mut clicked = of(1, OutcomeType::Click);
        clicked.event.id = EventId(200);
        store.record(vec![seen, clicked, of(2, OutcomeType::Cancelled)]).await;
        key
    });
    let used = |store: &Store| {
        let mut reserved = Vec::new();
        store.ledger().reservations(key, NOW, &mut reserved);
        reserved.sort_by_key(|r| r.decision);
        let room = |max| store.ledger().has_room(&BudgetClaim { max, ..claim }, NOW);
        (reserved.iter().map(|r| r.decision).collect::<Vec<_>>(), room(2), room(3))
    };
    let copied = crashed_copy(&store);
    let recovered = Store::open(config(copied.path())).unwrap();
    assert_eq!(used(&recovered), (vec![decision_id(1), decision_id(3)], false, true));
    // the same once everything comes from the embedded store
    recovered.close();
    drop(recovered);
    let reopened = Store::open(config(copied.path())).unwrap();
    assert_eq!(used(&reopened), (vec![decision_id(1), decision_id(3)], false, true));
    // what was seen stays when the open claim has lapsed
    let later = NOW.plus_us(3_600 * time::SECOND_US);
    assert!(reopened.ledger().has_room(&BudgetClaim { max: 2, ..claim }, later));
    assert!(!reopened.ledger().has_room(&BudgetClaim { max: 1, ..claim }, later));
    // and without a crash the store knows that the offer has a budget
    store.close();
    drop(store);
    let store = Store::open(config(dir.path())).unwrap();
    assert!(store.ledger().budgets().knows(OFFER));
    assert_eq!(used(&store), (vec![decision_id(1), decision_id(3)], false, true));
}

#[test]
fn what_a_visitor_saw_is_counted_once_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let claim = BudgetClaim { offer: OFFER, max: 5, window_from: NOW.plus_us(-1_000_000) };
    runtime().block_on(async {
        for n in 1..=3 {
            let record = decision(n, None, 1);
            let lapses = record.winners[0].reserved_until.unwrap();
            assert!(store.ledger().claim_budget(&claim, (record.id, RecordRef::NONE), record.now, lapses));
            assert!(store.submit_decision(record));
        }
        let of = |n, kind| submission(Target::Anonymous, 100 + n, outcome(decision_id(n), None, kind));
        store.record(vec![of(1, OutcomeType::Impression), of(2, OutcomeType::Handoff)]).await;
    });
    let room = |store: &Store, max, at| store.ledger().has_room(&BudgetClaim { max, ..claim }, at);
    store.close();
    drop(store);
    for _ in 0..2 {
        let store = Store::open(config(dir.path())).unwrap();
        assert_eq!((room(&store, 3, NOW), room(&store, 4, NOW)), (false, true));
        let later = NOW.plus_us(3_600 * time::SECOND_US);
        assert_eq!((room(&store, 2, later), room(&store, 3, later)), (false, true));
        store.close();
    }
}

#[test]
fn a_reservation_of_days_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = StoreConfig { segment_bytes: 1_024, ..config(dir.path()) };
    let store = Store::open(tiny.clone()).unwrap();
    let runtime = runtime();
    let (key, late) = runtime.block_on(async {
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        let mut record = decision(1, store.hot(key), 1);
        record.winners[0].reserved_until = Some(NOW.plus_us(3 * time::DAY_US));
        assert!(store.submit_decision(record));
        for n in 0..60 {
            let mut later = submission(by_name(&store, "ann"), 100 + n, purchase(1));
            later.event.received_at = NOW.plus_us(n as i64 * time::DAY_US / 30);
            store.record(vec![later]).await;
        }
        (key, NOW.plus_us(2 * time::DAY_US))
    });
    store.close();
    drop(store);
    let store = Store::open(tiny).unwrap();
    let mut held = Vec::new();
    store.ledger().reservations(key, late, &mut held);
    assert_eq!(held.iter().map(|r| r.decision).collect::<Vec<_>>(), [decision_id(1)]);
}

#[test]
fn what_belongs_to_nobody_is_not_readable_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let secret = "a-telling-session";
    let mut record = decision(1, None, 0);
    record.request.session_id = secret.into();
    runtime.block_on(async {
        assert!(store.submit_decision(record.clone()));
        let mut seen = outcome(record.id, None, OutcomeType::Impression);
        if let EventKind::Outcome { note, .. } = &mut seen {
            *note = secret.into();
        }
        store.record(vec![submission(Target::Anonymous, 1, seen)]).await;
        same(&store.decision(record.id).await.unwrap().unwrap(), &record);
    });
    let copied = crashed_copy(&store);
    for entry in std::fs::read_dir(copied.path().join("log")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
    let recovered = Store::open(config(copied.path())).unwrap();
    runtime.block_on(async {
        same(&recovered.decision(record.id).await.unwrap().unwrap(), &record);
    });
}

#[test]
fn the_queue_of_decisions_is_bounded_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let record = DecisionRecord { eligible: eligible(5_000), ..decision(1, None, 0) };
    let bytes = record.heap_bytes();
    assert!((20_000..25_000).contains(&bytes), "{bytes}");
    // nearly full
    let taken = shared::DECISION_QUEUE_BYTES_MAX - bytes + 1;
    assert!(store.shared.take_decision_room(taken));
    assert!(!store.submit_decision(record.clone()));
    assert_eq!(store.stats().decisions_dropped, 1);
    store.shared.give_decision_room(1, taken);
    assert!(store.submit_decision(record));
    runtime().block_on(async {
        assert!(store.decision(decision_id(1)).await.unwrap().is_some());
        let mut tallies = store.tallies();
        let counted = tallies.wait_for(|t| t.offers.get(&(OFFER, CHANNEL)).is_some_and(|t| t.eligible > 0));
        assert_eq!(counted.await.unwrap().offers[&(OFFER, CHANNEL)].eligible, 5_000);
    });
    assert_eq!(store.shared.decision_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
    store.close();
    drop(store);
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(store.tallies().borrow().offers[&(OFFER, CHANNEL)].eligible, 5_000);
}

/// Whether the offer's budget has room for one more when so many were granted.
fn room(store: &Store, max: u64) -> bool {
    store.ledger().has_room(&BudgetClaim { offer: OFFER, max, window_from: NOW.plus_us(-1_000_000) }, NOW)
}

#[test]
fn a_unit_that_counts_at_decision_is_one_unit_and_cancelling_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let key = runtime.block_on(async {
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        for (n, customer) in [(1, None), (2, None), (3, store.hot(key)), (4, store.hot(key)), (5, store.hot(key))] {
            let mut record = decision(n, customer, 1);
            record.winners[0].counts_now = true;
            let claim = BudgetClaim { offer: OFFER, max: 9, window_from: NOW.plus_us(-1_000_000) };
            assert!(store.ledger().claim_budget(
                &claim,
                (record.id, RecordRef::NONE),
                record.now,
                record.winners[0].reserved_until.unwrap()
            ));
            assert!(store.submit_decision(record));
        }
        assert!(store.decision(decision_id(5)).await.unwrap().is_some());
        assert!(!room(&store, 5) && room(&store, 6));
        let of = |n, owner: Option<CustomerKey>, kind| {
            let target = owner.map_or(Target::Anonymous, Target::Customer);
            submission(target, 100 + 10 * n + kind as u128, outcome(decision_id(n), owner, kind))
        };
        // seen after it was decided: still one unit each
        store.record(vec![of(1, None, OutcomeType::Impression), of(3, Some(key), OutcomeType::Impression)]).await;
        assert!(!room(&store, 5) && room(&store, 6));
        // cancelled: what was seen stays
        let cancelled = [(1, None), (2, None), (3, Some(key)), (4, Some(key))];
        store.record(cancelled.map(|(n, owner)| of(n, owner, OutcomeType::Cancelled)).to_vec()).await;
        assert!(!room(&store, 3) && room(&store, 4));
        key
    });
    let copied = crashed_copy(&store);
    let recovered = Store::open(config(copied.path())).unwrap();
    assert!(!room(&recovered, 3) && room(&recovered, 4));
    recovered.close();
    drop(recovered);
    let reopened = Store::open(config(copied.path())).unwrap();
    assert!(!room(&reopened, 3) && room(&reopened, 4));
    // what is not cancelled yet still can be
    runtime.block_on(async {
        let kind = outcome(decision_id(5), Some(key), OutcomeType::Cancelled);
        reopened.record(vec![submission(Target::Customer(key), 900, kind)]).await;
    });
    assert!(!room(&reopened, 2) && room(&reopened, 3));
}
