//! The structs of the profiles that were asked for last, beside the packed ones:
//! who asks again within seconds does not wait for them to be made again.
//!
//! What is here is never the word on what a customer is: it is answered only
//! for the very piece of memory that it was made of.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{
    CustomerKey, Origin, Preference, Profile, RecordChange, StoredSeries, Value, profile::SeriesState,
    series::FeedValue,
};

use super::{HotProfile, PackedProfile, packed::allocated, sampled::Folded};

/// The most they take, bytes; and the part of the hot profiles' memory that is
/// theirs, if that is less.
const BYTES_MAX: u64 = 64 << 20;
const PART: u64 = 8;
/// Parts that the customers are spread over, each with its lock.
const SHARDS: usize = 32;
/// What an entry costs beyond its structs, bytes: its place in the map, of which
/// half are taken, its key in the queue, and two counts.
const ENTRY_BYTES: usize = 2 * (size_of::<(CustomerKey, Entry)>() + 1) + 2 * size_of::<CustomerKey>() + 16;

/// A bounded cache: of those not asked for since their last turn the one that
/// waited longest goes first (the second chance of Corbató 1968).
pub(super) struct Unpacked {
    shards: Vec<Mutex<Shard>>,
    /// Of a shard.
    bytes_max: u64,
    bytes: AtomicU64,
    evictions: AtomicU64,
}

#[derive(Default)]
struct Shard {
    known: HashMap<CustomerKey, Entry, BuildHasherDefault<Folded>>,
    /// INVARIANT: every key of `known` stands here once, and no other.
    turns: VecDeque<CustomerKey>,
    bytes: u64,
}

struct Entry {
    profile: Arc<HotProfile>,
    bytes: u64,
    asked: bool,
}

impl Unpacked {
    /// Bytes of structs beside so many bytes of profiles, both together.
    pub fn share(hot_bytes_max: u64) -> u64 {
        (hot_bytes_max / PART).min(BYTES_MAX)
    }

    pub fn new(bytes_max: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bytes_max: bytes_max / SHARDS as u64,
            bytes: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// The structs of a packed profile, and marks them as asked for.
    pub fn get(&self, key: CustomerKey, packed: &PackedProfile) -> Option<Arc<HotProfile>> {
        let mut shard = self.lock(key);
        let entry = shard.known.get_mut(&key).filter(|entry| entry.profile.packed.is(packed))?;
        entry.asked = true;
        Some(Arc::clone(&entry.profile))
    }

    /// The structs of a packed profile.
    pub fn look(&self, key: CustomerKey, packed: &PackedProfile) -> Option<Arc<HotProfile>> {
        let shard = self.lock(key);
        let entry = shard.known.get(&key).filter(|entry| entry.profile.packed.is(packed))?;
        Some(Arc::clone(&entry.profile))
    }

    /// Puts structs in, over those of an older version.
    pub fn put(&self, profile: &Arc<HotProfile>) {
        let (key, bytes) = (profile.profile.key, heap_bytes(profile));
        let mut shard = self.lock(key);
        let before = shard.bytes;
        if bytes > self.bytes_max {
            shard.remove(key);
        } else {
            shard.put(key, Entry { profile: Arc::clone(profile), bytes, asked: false });
            self.evictions.fetch_add(shard.shrink(self.bytes_max), Relaxed);
        }
        self.count(before, shard.bytes);
    }

    /// Takes a customer's structs out if `goes` says so of them.
    pub fn remove_if(&self, key: CustomerKey, goes: impl FnOnce(&HotProfile) -> bool) {
        let mut shard = self.lock(key);
        if shard.known.get(&key).is_some_and(|entry| goes(&entry.profile)) {
            let before = shard.bytes;
            shard.remove(key);
            self.count(before, shard.bytes);
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }

    /// Called under the shard's lock, so the sum never goes below what is there.
    fn count(&self, before: u64, after: u64) {
        self.bytes.fetch_add(after, Relaxed);
        self.bytes.fetch_sub(before, Relaxed);
    }

    fn lock(&self, key: CustomerKey) -> MutexGuard<'_, Shard> {
        // other bits than those which the map within a shard goes by
        let shard = &self.shards[(key.0 >> 32) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn put(&mut self, key: CustomerKey, entry: Entry) {
        self.bytes += entry.bytes;
        match self.known.insert(key, entry) {
            Some(replaced) => self.bytes -= replaced.bytes,
            None => self.turns.push_back(key),
        }
    }

    fn remove(&mut self, key: CustomerKey) {
        if let Some(removed) = self.known.remove(&key) {
            self.bytes -= removed.bytes;
            self.turns.retain(|other| *other != key);
        }
    }

    /// Until it fits; answers how many went.
    fn shrink(&mut self, bytes_max: u64) -> u64 {
        let mut gone = 0;
        while self.bytes > bytes_max
            && let Some(key) = self.turns.pop_front()
        {
            match self.known.get_mut(&key) {
                Some(entry) if entry.asked => {
                    entry.asked = false;
                    self.turns.push_back(key);
                }
                _ => {
                    gone += 1;
                    self.bytes -= self.known.remove(&key).map_or(0, |entry| entry.bytes);
                }
            }
        }
        gone
    }
}

/// What structs take of the heap, bytes: of each piece what the allocator takes,
/// and the packed one, which they keep when the map has it no more.
fn heap_bytes(hot: &HotProfile) -> u64 {
    let structs = allocated(size_of::<HotProfile>()) + profile_bytes(&hot.profile);
    (ENTRY_BYTES + structs + hot.packed.heap_bytes()) as u64
}

fn profile_bytes(profile: &Profile) -> usize {
    let identities: usize = profile.identities.iter().map(|i| text(&i.value)).sum();
    let attributes: usize = profile.attributes.iter().filter_map(|a| a.value.as_ref()).map(value_bytes).sum();
    let consents: usize = profile.consents.iter().map(|c| text(&c.source) + text(&c.proof)).sum();
    let wishes: usize = profile.preferences.iter().map(|p| preference_bytes(&p.preference)).sum();
    let records: usize = profile.records.iter().map(|r| record_bytes(&r.change)).sum();
    let absorbed: usize = profile.absorbed.iter().map(origin_bytes).sum();
    let lists = list(&profile.identities)
        + list(&profile.attributes)
        + list(&profile.stats)
        + list(&profile.interactions)
        + list(&profile.items)
        + list(&profile.consents)
        + list(&profile.preferences)
        + list(&profile.records)
        + list(&profile.absorbed);
    identities + attributes + consents + wishes + records + absorbed + lists + series_bytes(&profile.series)
}

fn list<T>(list: &Vec<T>) -> usize {
    allocated(list.capacity() * size_of::<T>())
}

fn text(text: &str) -> usize {
    allocated(text.len())
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(value) => text(value),
        Value::Set(texts) => allocated(size_of_val(&texts[..])) + texts.iter().map(|value| text(value)).sum::<usize>(),
        _ => 0,
    }
}

fn preference_bytes(preference: &Preference) -> usize {
    match preference {
        Preference::Language(Some(language)) => text(language),
        _ => 0,
    }
}

fn record_bytes(record: &RecordChange) -> usize {
    let fields = record.fields.iter().flatten().map(|field| value_bytes(&field.1));
    text(&record.key) + record.fields.as_ref().map_or(0, list) + fields.sum::<usize>()
}

fn origin_bytes(origin: &Origin) -> usize {
    list(&origin.stats) + series_bytes(&origin.series)
}

fn series_bytes(series: &Vec<StoredSeries>) -> usize {
    let state = |state: &SeriesState| match state {
        SeriesState::Sums(sums) => list(sums),
        SeriesState::One(_, _, FeedValue::Text(value)) => text(value),
        SeriesState::One(..) => 0,
        SeriesState::Names(names) => list(names) + names.iter().map(|name| text(&name.name)).sum::<usize>(),
        SeriesState::Moments(moments) => list(moments),
    };
    list(series) + series.iter().map(|one| state(&one.state)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ItemId, ItemTouch, Timestamp},
        store::seal::DataKey,
    };

    const BYTES: u64 = 1 << 20;

    /// All in one shard.
    fn hot(number: u128, version: u64) -> Arc<HotProfile> {
        let profile = Profile { key: CustomerKey(number << 64 | number), version, ..Profile::default() };
        Arc::new(HotProfile::new(profile, DataKey([7; 32])))
    }

    fn has(cache: &Unpacked, hot: &HotProfile) -> bool {
        cache.look(hot.profile.key, &hot.packed).is_some()
    }

    #[test]
    fn only_the_piece_it_was_made_of_is_answered() {
        let cache = Unpacked::new(BYTES);
        let (old, new, same) = (hot(1, 1), hot(1, 2), hot(1, 2));
        cache.put(&old);
        assert!(has(&cache, &old) && !has(&cache, &new));
        cache.put(&new);
        // the same content in another piece may belong to another time
        assert!(!has(&cache, &old) && has(&cache, &new) && !has(&cache, &same));
        cache.remove_if(new.profile.key, |kept| kept.packed.is(&old.packed));
        assert!(has(&cache, &new));
        cache.remove_if(new.profile.key, |_| true);
        assert!(!has(&cache, &new));
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn who_is_asked_for_stays() {
        let cache = Unpacked::new(BYTES);
        let asked = hot(1, 1);
        cache.put(&asked);
        for number in 2..1_000 {
            cache.put(&hot(number, 1));
            assert!(cache.get(asked.profile.key, &asked.packed).is_some(), "{number}");
            assert!(cache.bytes() <= BYTES / SHARDS as u64);
        }
        assert!(cache.evictions() > 900);
        assert!(!has(&cache, &hot(2, 1)));
    }

    #[test]
    fn what_is_too_large_is_not_kept_nor_what_was_before() {
        let cache = Unpacked::new(BYTES);
        let small = hot(1, 1);
        cache.put(&small);
        let items = vec![ItemTouch { at: Timestamp(1), item: ItemId(1), bought: false }; 4_000];
        let large = Profile { items, ..small.profile.clone() };
        cache.put(&Arc::new(HotProfile::new(large, DataKey([7; 32]))));
        assert!(!has(&cache, &small));
        assert_eq!((cache.bytes(), cache.evictions()), (0, 0));
    }

    #[test]
    fn keys_that_come_and_go_leave_nothing_behind() {
        let cache = Unpacked::new(BYTES);
        for round in 0..100 {
            for number in 1..20 {
                cache.put(&hot(number, round));
            }
            for number in (1..20).filter(|number| number % 3 != 0) {
                cache.remove_if(hot(number, 0).profile.key, |_| true);
            }
        }
        let shard = cache.lock(CustomerKey(0));
        let bytes: u64 = shard.known.values().map(|entry| entry.bytes).sum();
        assert_eq!((shard.known.len(), shard.turns.len()), (6, 6));
        assert_eq!((shard.bytes, cache.bytes()), (bytes, bytes));
    }
}
