//! Profiles in memory. What comes out is an `Arc`; guards stay inside, so that
//! none can be held over an await.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use crate::domain::{
    CustomerKey, Preference, Profile, RecordChange, StoredSeries, Value, profile::SeriesState, series::FeedValue,
};

use super::{HotProfile, Store, sampled::SampledMap};

/// Counters and generations that the customers are spread over.
const SHARDS: usize = 64;
/// What an entry costs beyond its profile, bytes (estimate).
const ENTRY_BYTES: usize = 96;

/// Hot profiles, bounded in bytes. What is not in the embedded store yet is
/// held by the overlay, so any profile may be evicted.
pub(super) struct HotMap {
    profiles: SampledMap<CustomerKey, Arc<HotProfile>>,
    shards: Vec<Shard>,
}

/// On its own cache line: hits must not fight over counters.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    /// Counts the writes: a load that began before one must not be kept.
    generation: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What a load must show to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadTicket(u64);

impl HotMap {
    pub fn new(bytes_max: u64) -> Self {
        Self { profiles: SampledMap::new(bytes_max), shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    pub fn get(&self, key: CustomerKey) -> Option<Arc<HotProfile>> {
        let found = self.profiles.get(&key);
        let shard = self.shard(key);
        let counter = if found.is_some() { &shard.hits } else { &shard.misses };
        counter.fetch_add(1, Relaxed);
        found
    }

    /// The profile, without counting a hit or a miss.
    pub fn peek(&self, key: CustomerKey) -> Option<Arc<HotProfile>> {
        self.profiles.get(&key)
    }

    /// The writer's new version.
    pub fn put(&self, profile: Arc<HotProfile>) {
        let key = profile.profile.key;
        // before the value, so that an older load is refused from here on
        self.shard(key).generation.fetch_add(1, SeqCst);
        let bytes = heap_bytes(&profile.profile);
        self.profiles.put(key, profile, bytes);
    }

    /// Takes a profile out; no load that began before is kept.
    pub fn remove(&self, key: CustomerKey) {
        self.profiles.remove_after(&key, || {
            // an older load is refused from here on
            self.shard(key).generation.fetch_add(1, SeqCst);
        });
    }

    /// To be taken before a load begins.
    pub fn ticket(&self, key: CustomerKey) -> LoadTicket {
        LoadTicket(self.shard(key).generation.load(SeqCst))
    }

    /// Keeps what was loaded, unless the writer was faster. `None`: load again.
    pub fn put_loaded(&self, profile: Arc<HotProfile>, ticket: LoadTicket) -> Option<Arc<HotProfile>> {
        let key = profile.profile.key;
        let bytes = heap_bytes(&profile.profile);
        let valid = || self.shard(key).generation.load(SeqCst) == ticket.0;
        self.profiles.put_new(key, profile, bytes, valid)
    }

    pub fn len(&self) -> u64 {
        self.profiles.len()
    }

    pub fn bytes(&self) -> u64 {
        self.profiles.bytes()
    }

    pub fn evictions(&self) -> u64 {
        self.profiles.evictions()
    }

    /// (hits, misses) since the start.
    pub fn lookups(&self) -> (u64, u64) {
        let sum = |of: fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| of(s).load(Relaxed)).sum();
        (sum(|s| &s.hits), sum(|s| &s.misses))
    }

    fn shard(&self, key: CustomerKey) -> &Shard {
        &self.shards[(key.0 >> 64) as usize % SHARDS]
    }
}

impl Store {
    /// The keys of all profiles in memory, in no order.
    pub fn hot_keys(&self) -> Vec<CustomerKey> {
        self.shared.hot.profiles.keys()
    }

    /// A profile in memory, without counting as a use of it: for who looks at
    /// all of them.
    pub fn look(&self, key: CustomerKey) -> Option<Arc<HotProfile>> {
        self.shared.hot.profiles.look(&key)
    }
}

/// Estimated heap of a profile in the map, bytes.
fn heap_bytes(profile: &Profile) -> u64 {
    let identities: usize = profile.identities.iter().map(|i| size_of_val(i) + text(&i.value)).sum();
    let attributes: usize =
        profile.attributes.iter().map(|a| size_of_val(a) + a.value.as_ref().map_or(0, value_bytes)).sum();
    let consents: usize = profile.consents.iter().map(|c| size_of_val(c) + text(&c.source) + text(&c.proof)).sum();
    let wishes: usize = profile.preferences.iter().map(|p| size_of_val(p) + preference_bytes(&p.preference)).sum();
    let records: usize = profile.records.iter().map(|r| size_of_val(r) + record_bytes(&r.change)).sum();
    let lists = size_of_val(&profile.interactions[..])
        + size_of_val(&profile.items[..])
        + size_of_val(&profile.stats[..])
        + series_bytes(&profile.series);
    let absorbed: usize =
        profile.absorbed.iter().map(|o| size_of_val(o) + size_of_val(&o.stats[..]) + series_bytes(&o.series)).sum();
    let known = identities + attributes + consents + wishes + records;
    (ENTRY_BYTES + size_of::<HotProfile>() + known + lists + absorbed) as u64
}

/// What a text takes beside its pointer: nothing when empty.
fn text(text: &str) -> usize {
    if text.is_empty() { 0 } else { text.len() + 8 }
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(value) => text(value),
        Value::Set(texts) => texts.iter().map(|value| size_of_val(value) + text(value)).sum(),
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
    let fields = record.fields.iter().flatten().map(|field| size_of_val(field) + value_bytes(&field.1));
    text(&record.key) + fields.sum::<usize>()
}

fn series_bytes(series: &[StoredSeries]) -> usize {
    let state = |state: &SeriesState| match state {
        SeriesState::Sums(sums) => size_of_val(&sums[..]),
        SeriesState::One(_, _, FeedValue::Text(value)) => text(value),
        SeriesState::One(..) => 0,
        SeriesState::Names(names) => names.iter().map(|name| size_of_val(name) + text(&name.name)).sum(),
        SeriesState::Moments(moments) => size_of_val(&moments[..]),
    };
    series.iter().map(|one| size_of_val(one) + state(&one.state)).sum()
}
