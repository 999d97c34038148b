//! Profiles in memory, packed. What comes out is an `Arc`; guards stay inside,
//! so that none can be held over an await.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use crate::domain::CustomerKey;

use super::{HotProfile, PackedProfile, Store, sampled::SampledMap, seal::DataKey, unpacked::Unpacked};

/// Counters and generations that the customers are spread over.
const SHARDS: usize = 64;

/// Hot profiles, packed, bounded in bytes; the structs of those asked for last
/// are kept beside them, within the same bound. What is not in the embedded
/// store yet is held by the overlay, so any profile may be evicted.
pub struct HotMap {
    profiles: SampledMap<CustomerKey, PackedProfile>,
    unpacked: Unpacked,
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
    /// Hits whose structs had to be made.
    unpackings: AtomicU64,
}

/// What a load must show to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadTicket(u64);

impl HotMap {
    /// An empty map of at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        let share = Unpacked::share(bytes_max);
        Self {
            profiles: SampledMap::new(bytes_max - share),
            unpacked: Unpacked::new(share),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    /// A profile, and its structs are kept for who asks again; counts a hit or a
    /// miss.
    pub fn get(&self, key: CustomerKey) -> Option<Arc<HotProfile>> {
        let shard = self.shard(key);
        let Some(packed) = self.profiles.get(&key) else {
            shard.misses.fetch_add(1, Relaxed);
            return None;
        };
        shard.hits.fetch_add(1, Relaxed);
        if let Some(known) = self.unpacked.get(key, &packed) {
            return Some(known);
        }
        shard.unpackings.fetch_add(1, Relaxed);
        let made = unpack(&packed)?;
        self.keep_unpacked(&made);
        Some(made)
    }

    /// The profile, without counting a hit or a miss or keeping its structs.
    pub fn peek(&self, key: CustomerKey) -> Option<Arc<HotProfile>> {
        let packed = self.profiles.get(&key)?;
        self.unpacked.look(key, &packed).or_else(|| unpack(&packed))
    }

    /// What seals a customer's data.
    pub(super) fn data_key(&self, key: CustomerKey) -> Option<DataKey> {
        Some(self.profiles.get(&key)?.data_key())
    }

    /// The writer's new version.
    pub fn put(&self, profile: Arc<HotProfile>) {
        let key = profile.profile.key;
        // before the value, so that an older load is refused from here on
        self.shard(key).generation.fetch_add(1, SeqCst);
        self.profiles.put(key, profile.packed.clone(), entry_bytes(&profile));
        self.keep_unpacked(&profile);
    }

    /// Takes a profile out; no load that began before is kept.
    pub fn remove(&self, key: CustomerKey) {
        self.profiles.remove_after(&key, || {
            // an older load is refused from here on
            self.shard(key).generation.fetch_add(1, SeqCst);
        });
        self.unpacked.remove_if(key, |_| true);
    }

    /// To be taken before a load begins.
    pub(super) fn ticket(&self, key: CustomerKey) -> LoadTicket {
        LoadTicket(self.shard(key).generation.load(SeqCst))
    }

    /// Keeps what was loaded, unless the writer was faster. `None`: load again.
    pub(super) fn put_loaded(&self, profile: Arc<HotProfile>, ticket: LoadTicket) -> Option<Arc<HotProfile>> {
        let key = profile.profile.key;
        let valid = || self.shard(key).generation.load(SeqCst) == ticket.0;
        let kept = self.profiles.put_new(key, profile.packed.clone(), entry_bytes(&profile), valid)?;
        if !kept.is(&profile.packed) {
            return self.unpacked.look(key, &kept).or_else(|| unpack(&kept));
        }
        self.keep_unpacked(&profile);
        Some(profile)
    }

    /// Profiles in memory.
    pub fn len(&self) -> u64 {
        self.profiles.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they take of the heap, bytes.
    pub fn bytes(&self) -> u64 {
        self.profiles.bytes() + self.unpacked.bytes()
    }

    /// Profiles that went for others to have room.
    pub fn evictions(&self) -> u64 {
        self.profiles.evictions()
    }

    /// (hits, misses, hits whose structs had to be made) since the start.
    pub fn lookups(&self) -> (u64, u64, u64) {
        let sum = |of: fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| of(s).load(Relaxed)).sum();
        (sum(|s| &s.hits), sum(|s| &s.misses), sum(|s| &s.unpackings))
    }

    /// Structs that went for others to have room.
    pub fn unpacked_evictions(&self) -> u64 {
        self.unpacked.evictions()
    }

    /// Keeps structs, unless the map has another version by now, or none: who
    /// removes takes out of the map first, so nothing of the erased stays here.
    fn keep_unpacked(&self, profile: &Arc<HotProfile>) {
        let key = profile.profile.key;
        self.unpacked.put(profile);
        if !self.profiles.look(&key).is_some_and(|now| now.is(&profile.packed)) {
            self.unpacked.remove_if(key, |kept| kept.packed.is(&profile.packed));
        }
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
        let packed = self.shared.hot.profiles.look(&key)?;
        self.shared.hot.unpacked.look(key, &packed).or_else(|| unpack(&packed))
    }
}

/// The structs of a packed profile; what was packed here can be unpacked.
fn unpack(packed: &PackedProfile) -> Option<Arc<HotProfile>> {
    packed.unpack().ok().map(Arc::new)
}

/// What a profile takes in the map, bytes.
fn entry_bytes(profile: &HotProfile) -> u64 {
    (SampledMap::<CustomerKey, PackedProfile>::ENTRY_BYTES + profile.packed.heap_bytes()) as u64
}
