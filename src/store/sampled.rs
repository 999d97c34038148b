//! A concurrent map bounded in bytes that evicts the least recently used of a
//! few sampled entries (as Redis does: <https://redis.io/docs/latest/develop/reference/eviction/>).
//! Guards of the map never leave this file.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dashmap::{DashMap, Entry};

/// Entries looked at per eviction.
const SAMPLE_LEN: usize = 8;

/// Keys here are keyed hashes of 128 bits: spread evenly, beyond the reach of
/// who sends identities. Folding them is enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = (value >> 64) as u64 ^ value as u64;
    }
}

/// The map.
pub(super) struct SampledMap<K, V> {
    map: DashMap<K, Slot<V>, BuildHasherDefault<Folded>>,
    /// Every key, to sample from. Locked before any part of the map, never after.
    keys: Mutex<Keys<K>>,
    bytes: AtomicU64,
    bytes_max: u64,
    /// Counts the insertions: the clock of "recently".
    tick: AtomicU32,
    evictions: AtomicU64,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    /// Up to 4 GiB; more counts as that.
    bytes: u32,
    used: AtomicU32,
    /// Where its key stands in the list; changes under the list's lock.
    at: AtomicU32,
}

#[derive(Debug)]
struct Keys<K> {
    list: Vec<K>,
    random: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> SampledMap<K, V> {
    /// What an entry takes beside the heap of its value while the map grows,
    /// bytes, at most: a place and its control byte, of which at least 7 of 16
    /// are taken, and its key in the list, of whose places half are.
    pub const ENTRY_BYTES: usize = (size_of::<(K, Slot<V>)>() + 1) * 16 / 7 + size_of::<K>() * 2;

    pub fn new(bytes_max: u64) -> Self {
        Self {
            map: DashMap::with_hasher(BuildHasherDefault::default()),
            keys: Mutex::new(Keys { list: Vec::new(), random: 0x9e37_79b9_7f4a_7c15 }),
            bytes: AtomicU64::new(0),
            bytes_max,
            tick: AtomicU32::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let slot = self.map.get(key)?;
        let tick = self.tick.load(Relaxed);
        // a store only when it tells something new: hits must not fight over the line
        if slot.used.load(Relaxed) != tick {
            slot.used.store(tick, Relaxed);
        }
        Some(slot.value.clone())
    }

    /// The value, without marking it as used.
    pub fn look(&self, key: &K) -> Option<V> {
        self.map.get(key).map(|slot| slot.value.clone())
    }

    /// Every key now, in no order.
    pub fn keys(&self) -> Vec<K> {
        self.lock().list.clone()
    }

    /// Puts a value in, over any other.
    pub fn put(&self, key: K, value: V, bytes: u64) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let tick = self.tick.fetch_add(1, Relaxed);
        let replaced = match self.map.get_mut(&key) {
            Some(mut slot) => {
                self.count(slot.bytes, bytes);
                slot.value = value;
                slot.bytes = bytes;
                slot.used.store(tick, Relaxed);
                None
            }
            None => Some(value),
        };
        let over = self.bytes.load(Relaxed) > self.bytes_max;
        if replaced.is_none() && !over {
            return;
        }
        let mut keys = self.lock();
        if let Some(value) = replaced {
            let at = keys.end();
            match self.map.entry(key) {
                Entry::Occupied(mut known) => {
                    let slot = known.get_mut();
                    self.count(slot.bytes, bytes);
                    slot.value = value;
                    slot.bytes = bytes;
                    slot.used.store(tick, Relaxed);
                }
                Entry::Vacant(vacant) => {
                    self.count(0, bytes);
                    vacant.insert(Slot { value, bytes, used: AtomicU32::new(tick), at });
                    keys.list.push(key);
                }
            }
        }
        self.shrink(&mut keys);
    }

    /// Puts a value in unless there is one, and only if `valid` still holds
    /// under the entry's lock. Answers what is in the map now.
    pub fn put_new(&self, key: K, value: V, bytes: u64, valid: impl FnOnce() -> bool) -> Option<V> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let tick = self.tick.fetch_add(1, Relaxed);
        let mut keys = self.lock();
        match self.map.entry(key) {
            Entry::Occupied(known) => return Some(known.get().value.clone()),
            Entry::Vacant(_) if !valid() => return None,
            Entry::Vacant(vacant) => {
                self.count(0, bytes);
                let at = keys.end();
                vacant.insert(Slot { value: value.clone(), bytes, used: AtomicU32::new(tick), at });
                keys.list.push(key);
            }
        }
        self.shrink(&mut keys);
        Some(value)
    }

    /// Removes an entry after `first` ran; nothing is put by
    /// [`SampledMap::put_new`] between the two.
    pub fn remove_after(&self, key: &K, first: impl FnOnce()) {
        let mut keys = self.lock();
        first();
        self.remove(&mut keys, key);
    }

    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Keys<K>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, before: u32, after: u32) {
        let (before, after) = (u64::from(before), u64::from(after));
        if after >= before {
            self.bytes.fetch_add(after - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Relaxed);
        }
    }

    /// INVARIANT: a key stands in the list once, where its slot says.
    fn remove(&self, keys: &mut Keys<K>, key: &K) -> bool {
        let Some((_, slot)) = self.map.remove(key) else { return false };
        self.count(slot.bytes, 0);
        let at = slot.at.load(Relaxed);
        let place = at as usize;
        if place < keys.list.len() {
            keys.list.swap_remove(place);
        }
        if let Some(moved) = keys.list.get(place).and_then(|moved| self.map.get(moved)) {
            moved.at.store(at, Relaxed);
        }
        true
    }

    fn shrink(&self, keys: &mut Keys<K>) {
        while self.bytes.load(Relaxed) > self.bytes_max && keys.list.len() > 1 {
            let now = self.tick.load(Relaxed);
            let mut oldest: Option<(u32, usize)> = None;
            for _ in 0..SAMPLE_LEN {
                let at = keys.pick();
                let age = self.map.get(&keys.list[at]).map_or(u32::MAX, |s| now.wrapping_sub(s.used.load(Relaxed)));
                if oldest.is_none_or(|(known, _)| age > known) {
                    oldest = Some((age, at));
                }
            }
            let Some((_, at)) = oldest else { return };
            let key = keys.list[at];
            if !self.remove(keys, &key) {
                return;
            }
            self.evictions.fetch_add(1, Relaxed);
        }
    }
}

impl<K> Keys<K> {
    /// The place of the next key. INVARIANT: fewer than 2^32 entries, of 50 bytes
    /// at least, are in memory.
    fn end(&self) -> AtomicU32 {
        AtomicU32::new(self.list.len() as u32)
    }

    /// A pseudo-random index (xorshift64, Marsaglia 2003).
    fn pick(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % self.list.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of the map that the random changes are made to.
    const BYTES_MAX: u64 = 1_000;

    fn put_or_remove(map: &SampledMap<u128, u32>, (what, key, bytes): (u8, u128, u32)) {
        match what {
            0..=3 => map.put(key, bytes, u64::from(bytes)),
            4 | 5 => {
                map.put_new(key, bytes, u64::from(bytes), || what == 4);
            }
            6 => map.remove_after(&key, || {}),
            _ => {
                map.get(&key);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_there(changes in prop::collection::vec((0_u8..8, 0_u128..30, 1_u32..400), 1..200)) {
            let map = SampledMap::new(BYTES_MAX);
            for change in changes {
                put_or_remove(&map, change);
                let there: Vec<(u128, u32)> = map.map.iter().map(|slot| (*slot.key(), slot.bytes)).collect();
                let sum: u64 = there.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
                prop_assert_eq!(map.bytes(), sum);
                prop_assert!(sum <= BYTES_MAX);
                let mut keys: Vec<u128> = there.into_iter().map(|(key, _)| key).collect();
                let mut listed = map.keys();
                keys.sort_unstable();
                listed.sort_unstable();
                prop_assert_eq!(listed, keys);
                // the value says its own bytes
                prop_assert!(map.map.iter().all(|slot| slot.value == slot.bytes));
            }
        }
    }

    #[test]
    fn a_removed_entry_leaves_no_key_behind() {
        let map = SampledMap::new(1_000);
        for round in 0..100_u128 {
            for key in 0..50 {
                map.put(key, round, 10);
            }
            for key in (0..50).filter(|key| key % 3 != 0) {
                map.remove_after(&key, || {});
            }
        }
        let keys = map.lock().list.clone();
        assert_eq!((keys.len(), map.len(), map.bytes()), (17, 17, 170));
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(map.map.get(key).unwrap().at.load(Relaxed) as usize, at);
        }
        for key in 1_000..2_000 {
            map.put(key, 0, 10);
        }
        assert_eq!((map.lock().list.len(), map.len(), map.bytes()), (100, 100, 1_000));
    }
}
