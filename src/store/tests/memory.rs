//! Profiles in memory: bounded, loaded once, never older than what is stored.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::support::*;
use crate::{domain::*, store::*};

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

/// Bytes of a map in which some of the customers below have room, and the
/// structs of fewer.
const HOT_BYTES: u64 = 2 << 20;
const CUSTOMERS: u64 = 8_000;
const CHANGES: u64 = 60_000;

fn version(number: u64, version: u64) -> Arc<HotProfile> {
    let key = (u128::from(stable_hash64(&number.to_string())) << 64) | u128::from(number);
    let items = vec![ItemTouch { at: NOW, item: ItemId(number), bought: false }; (number % 100) as usize];
    let profile = Profile { key: CustomerKey(key), version, items, ..Profile::default() };
    Arc::new(HotProfile::new(profile, seal::DataKey([7; 32])))
}

#[test]
fn what_is_read_is_the_version_put_last() {
    let map = hot::HotMap::new(HOT_BYTES);
    let mut latest = vec![None; CUSTOMERS as usize];
    let (mut found, mut again) = (0, 0);
    for change in 0..CHANGES {
        let random = stable_hash64(&change.to_string());
        let number = random % CUSTOMERS;
        let profile = version(number, change);
        let (key, last) = (profile.profile.key, &mut latest[number as usize]);
        match random >> 32 & 7 {
            0 => {
                map.put(profile);
                *last = Some(change);
            }
            1 => {
                map.remove(key);
                *last = None;
            }
            // a load of what was put last, when it was evicted
            2 => {
                let ticket = map.ticket(key);
                let loaded = version(number, last.unwrap_or(change));
                assert_eq!(map.put_loaded(loaded, ticket).unwrap().profile.version, last.unwrap_or(change));
                *last = Some(last.unwrap_or(change));
            }
            // a load that began before a write
            3 => {
                let ticket = map.ticket(key);
                map.put(version(number, change));
                *last = Some(change);
                let kept = map.put_loaded(version(number, 0), ticket);
                assert!(kept.is_none_or(|kept| kept.profile.version == change));
            }
            4 => assert!(map.peek(key).is_none_or(|hot| Some(hot.profile.version) == *last)),
            _ => {
                let Some(first) = map.get(key) else { continue };
                let second = map.get(key).unwrap();
                assert_eq!((Some(first.profile.version), second.profile.version), (*last, first.profile.version));
                found += 1;
                again += u64::from(Arc::ptr_eq(&first, &second));
            }
        }
        assert!(map.bytes() <= HOT_BYTES, "{}", map.bytes());
    }
    assert!(map.evictions() > 1_000 && map.unpacked_evictions() > 1_000);
    let (hits, _, unpackings) = map.lookups();
    assert!(found > 1_000 && again > found * 9 / 10, "{again} of {found} without unpacking again");
    assert!(unpackings > 1_000 && unpackings < hits, "{unpackings} of {hits}");
}

#[test]
fn who_reads_beside_a_writer_never_reads_what_was_before() {
    let map = hot::HotMap::new(64 << 20);
    let written = std::sync::atomic::AtomicU64::new(0);
    let key = version(1, 0).profile.key;
    map.put(version(1, 0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while written.load(std::sync::atomic::Ordering::SeqCst) < 20_000 {
                    let least = written.load(std::sync::atomic::Ordering::SeqCst);
                    let read = map.get(key).unwrap().profile.version;
                    assert!(read >= least, "{read} after {least}");
                }
            });
        }
        for number in 1..=20_000 {
            map.put(version(1, number));
            written.store(number, std::sync::atomic::Ordering::SeqCst);
        }
    });
    assert_eq!(map.get(key).unwrap().profile.version, 20_000);
    let one = map.bytes();
    map.put(version(1, 20_001));
    assert_eq!(map.bytes(), one);
}

#[test]
fn who_reads_beside_an_erasure_leaves_nothing_in_memory() {
    let map = hot::HotMap::new(64 << 20);
    let done = std::sync::atomic::AtomicBool::new(false);
    let key = version(1, 0).profile.key;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    map.get(key);
                }
            });
        }
        for number in 0..20_000 {
            map.put(version(1, number));
            map.remove(key);
            assert!(map.get(key).is_none());
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!((map.len(), map.bytes()), (0, 0));
}
