//! Timelines: everything acknowledged is in them, in order, in pages, bounded.

use super::support::*;
use crate::domain::{time::DAY_US, *};
use crate::store::*;

fn query(customers: &[CustomerKey], before: Option<TimelineCursor>, len_max: usize) -> TimelineQuery {
    TimelineQuery { customers: customers.to_vec(), before, from: None, len_max }
}

async fn all(store: &Store, customers: &[CustomerKey], len_max: usize) -> Vec<TimelineEntry> {
    let (mut entries, mut before) = (Vec::new(), None);
    loop {
        let page = store.timeline(query(customers, before, len_max), |_| true).await.unwrap();
        assert!(page.entries.len() <= len_max);
        entries.extend(page.entries);
        before = page.next;
        if before.is_none() {
            return entries;
        }
    }
}

#[test]
fn pages_are_the_same_before_and_after_storing_and_over_several_customers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let (ann, bob) = runtime.block_on(async {
        let mut keys = (CustomerKey(0), CustomerKey(0));
        for id in 1..=40_u128 {
            // some stand at the same time
            let at = NOW.plus_us(((id * 7) % 20) as i64);
            for (name, id) in [("ann", id), ("bob", 1_000 + id)] {
                let one = Submission {
                    target: by_name(&store, name),
                    event: event(id, at, purchase(id as i64)),
                    content: id as u64,
                    strength: Strength::Process,
                };
                let key = store.record(vec![one]).await[0].customer.unwrap();
                if name == "ann" { keys.0 = key } else { keys.1 = key }
            }
            if id == 20 {
                stored(&store).await;
            }
        }
        keys
    });
    let whole = runtime.block_on(all(&store, &[ann, bob], 1_000));
    assert_eq!(whole.len(), 80);
    assert!(whole.windows(2).all(|pair| pair[0].cursor > pair[1].cursor), "newest first, each once");
    let TimelineWhat::Event(first) = &whole[0].what else { panic!("an event") };
    assert_eq!(first.id.0, whole[0].cursor.id);
    let check = |store: &Store| {
        for len_max in [1, 3, 7, 79, 80, 81] {
            assert_eq!(runtime.block_on(all(store, &[ann, bob], len_max)), whole, "pages of {len_max}");
        }
        let of_ann: Vec<_> = whole.iter().filter(|entry| entry.cursor.customer == ann).cloned().collect();
        assert_eq!(runtime.block_on(all(store, &[ann], 9)), of_ann);
        let from = NOW.plus_us(15);
        let later = TimelineQuery { from: Some(from), ..query(&[ann], None, 1_000) };
        let later = runtime.block_on(store.timeline(later, |_| true)).unwrap().entries;
        assert_eq!(later, of_ann.iter().filter(|entry| entry.cursor.at >= from).cloned().collect::<Vec<_>>());
    };
    check(&store);
    runtime.block_on(stored(&store));
    check(&store);
    store.close();
    drop(store);
    check(&Store::open(config(dir.path())).unwrap());
}

#[test]
fn a_decision_that_presented_something_stands_in_the_timeline() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        let hot = store.profile(key).await.unwrap();
        assert!(store.submit_decision(decision(1, hot.clone(), 0)));
        assert!(store.submit_decision(DecisionRecord { winners: Vec::new(), ..decision(2, hot, 0) }));
        assert!(store.submit_decision(decision(3, None, 0)));
        store.decision(decision_id(1)).await.unwrap().unwrap();
        let entries = all(&store, &[key], 10).await;
        let decided = TimelineWhat::Decision(decision_id(1), vec![(OFFER, CHANNEL, RecordRef::NONE)]);
        assert_eq!(entries.iter().filter(|entry| entry.what == decided).count(), 1);
        assert_eq!(entries.len(), 2);
    });
}

#[test]
fn what_came_in_long_ago_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let kept = StoreConfig { timeline_kept_us: 10 * DAY_US, ..config(dir.path()) };
    let store = Store::open(kept).unwrap();
    runtime().block_on(async {
        let mut key = CustomerKey(0);
        for (id, days) in [(1_u128, 0), (2, 5), (3, 20)] {
            let mut one = submission(by_name(&store, "ann"), id, purchase(1));
            // it happened long ago all the same
            one.event.at = NOW.plus_us(-1_000 * DAY_US);
            one.event.received_at = NOW.plus_us(days * DAY_US);
            key = store.record(vec![one]).await[0].customer.unwrap();
        }
        stored(&store).await;
        let before = store.shared.latest().plus_us(-store.shared.config.timeline_kept_us);
        let mut from = Some(0);
        while let Some(at) = from {
            from = store.shared.embedded.sweep_timelines(at, before).unwrap().1;
        }
        let left: Vec<u128> = all(&store, &[key], 10).await.iter().map(|entry| entry.cursor.id).collect();
        assert_eq!(left, [3]);
    });
}

#[test]
fn a_timeline_is_bounded_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let len = TIMELINE_ROWS_MAX as u128 + 500;
    runtime().block_on(async {
        let mut key = CustomerKey(0);
        for from in (1..=len).step_by(500) {
            let target = by_name(&store, "ann");
            let batch = (from..from + 500).map(|id| submission(target.clone(), id, purchase(1)));
            key = store.record(batch.collect()).await[0].customer.unwrap();
        }
        let other = buy(&store, "bob", 900_000).await.customer.unwrap();
        stored(&store).await;
        let (mut from, mut removed) = (Some(0), 0);
        while let Some(at) = from {
            let (gone, next) = store.shared.embedded.sweep_timelines(at, Timestamp(i64::MIN)).unwrap();
            (from, removed) = (next, removed + gone);
        }
        assert_eq!(removed, 500);
        let left = all(&store, &[key], 1_000).await;
        assert_eq!((left.len(), left[left.len() - 1].cursor.id), (TIMELINE_ROWS_MAX, 501));
        assert_eq!(all(&store, &[other], 10).await.len(), 1);
    });
}

/// Of many keys only what a page answers is opened.
#[test]
fn a_page_opens_no_more_than_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let mut keys = Vec::new();
        for (n, name) in ["ann", "bob", "cat"].into_iter().enumerate() {
            for id in 1..=5_u128 {
                keys.push(buy(&store, name, id * 10 + n as u128).await.customer.unwrap());
            }
        }
        keys.dedup();
        stored(&store).await;
        let whole = all(&store, &keys, 100).await;
        assert_eq!(whole.len(), 15);
        // the oldest of all is damaged
        let oldest = whole[14].cursor;
        let damage = |database: &redb::Database| -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            let place = (oldest.customer.0, oldest.at.0, oldest.id);
            transaction.open_table(crate::store::timeline::TIMELINE)?.insert(place, &[7_u8; 60][..])?;
            Ok(transaction.commit()?)
        };
        store.shared.embedded.with("damaging a row", damage).unwrap();
        let page = store.timeline(query(&keys, None, 13), |_| true).await.unwrap();
        assert_eq!(page.entries, whole[..13]);
        assert!(page.next.is_some());
        assert!(store.timeline(query(&keys, None, 15), |_| true).await.is_err());
    });
}
