//! Profiles in memory: bounded, loaded once, never older than what is stored.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::support::*;
use crate::store::*;

#[test]
fn evicted_profiles_are_loaded_again() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreConfig { hot_bytes_max: 20_000, ..config(dir.path()) };
    let store = Store::open(small).unwrap();
    runtime().block_on(async {
        let mut keys = Vec::new();
        for n in 0..300_u128 {
            keys.push(buy(&store, &format!("c{n}"), n + 1).await.customer.unwrap());
        }
        let stats = store.stats();
        assert!(stats.evictions > 200, "{stats:?}");
        assert!(stats.hot_bytes <= 20_000);
        for (n, key) in keys.iter().enumerate() {
            let loaded = store.profile(*key).await.unwrap().unwrap();
            assert_eq!(loaded.profile.key, *key);
            let again = buy(&store, &format!("c{n}"), 1_000 + n as u128).await;
            assert_eq!((again.customer, again.version, again.created), (Some(*key), 2, false));
        }
    });
}

#[test]
fn simultaneous_misses_load_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let key = runtime.block_on(buy(&store, "ann", 1)).customer.unwrap();
    store.close();
    drop(store);
    let store = Arc::new(Store::open(config(dir.path())).unwrap());
    assert!(store.hot(key).is_none());
    runtime.block_on(async {
        let together = Arc::new(tokio::sync::Barrier::new(64));
        let asks: Vec<_> = (0..64)
            .map(|_| {
                let (store, together) = (Arc::clone(&store), Arc::clone(&together));
                tokio::spawn(async move {
                    together.wait().await;
                    store.profile(key).await.unwrap().unwrap()
                })
            })
            .collect();
        for ask in asks {
            assert_eq!(ask.await.unwrap().profile.key, key);
        }
    });
    assert_eq!(store.shared.counters.loads.load(Relaxed), 1);
    assert!(store.hot(key).is_some());
}

#[test]
fn a_load_never_puts_an_older_profile_over_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        let old = store.hot(key).unwrap();
        let ticket = store.shared.hot.ticket(key);
        buy(&store, "ann", 2).await;
        let kept = store.shared.hot.put_loaded(Arc::clone(&old), ticket).unwrap();
        assert_eq!(kept.profile.version, 2);
        let elsewhere = hot::HotMap::new(1 << 20);
        let ticket = elsewhere.ticket(key);
        elsewhere.put(store.hot(key).unwrap());
        let other = hot::HotMap::new(1 << 20);
        assert!(other.put_loaded(Arc::clone(&old), ticket).is_some());
        let stale = elsewhere.ticket(key);
        elsewhere.put(Arc::clone(&old));
        assert_eq!(elsewhere.put_loaded(kept, stale).unwrap().profile.version, old.profile.version);
    });
}

#[test]
fn what_was_nobodys_is_found_once_it_is_somebodys() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let ann = [identity(&store, CUSTOMER_ID, "ann")];
        assert_eq!(store.resolve(&ann).await.unwrap(), Resolved::Unknown);
        // a search that began before the customer was made must not be kept
        let ticket = store.shared.aliases.ticket();
        let key = buy(&store, "ann", 1).await.customer.unwrap();
        store.shared.aliases.found(ann[0].hash, None, ticket);
        assert_eq!(store.resolve_hot(&ann), Resolved::Known(key));
    });
}
