//! What the facade, the writer and the storing thread have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OnceCell, Semaphore};

use crate::domain::{CustomerKey, EventId, IdentityHash, ItemId, Timestamp};

use super::{
    HotProfile, Ledger, Linking, MergeCause, NotLinked, StoreConfig, StoreError, StoreStats,
    embedded::Embedded,
    erase,
    follow::Followers,
    holders::Holders,
    hot::HotMap,
    identity::{Aliases, IdentityHasher},
    journals::Journals,
    overlay::Overlay,
    replicas,
    seal::DataKey,
    tombstones::Tombstones,
    unions::{Found, HOPS_MAX, Redirects},
    watchers::Watchers,
};

/// Most decisions waiting for the writer.
pub const DECISION_QUEUE_MAX: usize = 65_536;
/// Most bytes of decisions waiting for the writer (estimated heap).
pub const DECISION_QUEUE_BYTES_MAX: u64 = 256 << 20;
/// Most other commands waiting for the writer; more wait outside.
pub const WRITER_QUEUE_MAX: usize = 4_096;
/// Most item names kept.
pub const ITEM_NAMES_MAX: usize = 200_000;
/// Times a load is tried again when the writer is faster.
const LOAD_TRIES_MAX: usize = 8;

/// The state that more than one thread touches.
pub(super) struct Shared {
    pub config: StoreConfig,
    pub hasher: IdentityHasher,
    /// Seals what belongs to no customer.
    pub store_key: DataKey,
    pub hot: HotMap,
    pub aliases: Aliases,
    /// Where customers went who were taken in.
    pub redirects: Redirects,
    /// What the rules say of identity types.
    pub linking: ArcSwap<Linking>,
    pub overlay: Overlay,
    pub embedded: Embedded,
    pub ledger: Ledger,
    /// Who watches customers.
    pub watchers: Arc<Watchers>,
    /// Who follows the log.
    pub followers: Arc<Followers>,
    pub journals: Journals,
    /// How far replication is.
    pub replicas: replicas::State,
    /// What stays of the erased.
    pub tombstones: Tombstones,
    /// Who waits for erasures.
    pub erasing: erase::Waiting,
    pub names: RwLock<HashMap<ItemId, Arc<str>>>,
    pub counters: Counters,
    pub decision_room: Semaphore,
    pub record_room: Semaphore,
    /// Whose turn it is to be sent to the writer.
    pub write_turn: tokio::sync::Mutex<()>,
    /// Bytes of decisions waiting for the writer.
    pub decision_bytes: AtomicU64,
    /// One cell per load under way.
    loading: Mutex<HashMap<CustomerKey, Loading>>,
    /// The last log record whose effects are in the embedded store.
    pub materialised: AtomicU64,
    /// The latest moment that was written: what event ids are forgotten by.
    pub latest_us: AtomicI64,
    /// Time of the oldest record of the log; `i64::MIN` for none.
    pub oldest_us: AtomicI64,
    /// Whether the log had no room when it was last tried.
    pub log_full: AtomicBool,
    /// The last write of the log failed: whether the next one does is not known.
    pub write_failed: AtomicBool,
    /// Whether the embedded store fails.
    pub store_failing: AtomicBool,
    /// Whether syncing fails.
    pub sync_failing: AtomicBool,
    /// Set by a failed sync of the log; the writer then begins a segment.
    pub segment_failed: AtomicBool,
    /// The last log record that is in a segment whose sync failed: on disk
    /// only once the embedded store has it. 0 for none.
    pub undurable: AtomicU64,
}

/// Secrets of the data directory.
pub(super) struct Secrets {
    /// Keys the hashes of identities.
    pub identity: [u8; 32],
    /// Seals what belongs to no customer.
    pub store: [u8; 32],
}

/// What lies in the data directory beside the log.
pub(super) struct Files {
    pub embedded: Embedded,
    pub journals: Journals,
    pub replicas: replicas::State,
}

type Loading = Arc<OnceCell<Option<Arc<HotProfile>>>>;

/// Counters of the store.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub log_bytes: AtomicU64,
    pub log_records: AtomicU64,
    pub fsyncs: AtomicU64,
    pub fsync_us_total: AtomicU64,
    pub fsync_us_max: AtomicU64,
    pub decisions_dropped: AtomicU64,
    pub exhausted: AtomicU64,
    /// Writes that waited for the embedded store.
    pub writes_waited: AtomicU64,
    /// Customers not kept as holders of an identity, for it has too many.
    pub holders_dropped: AtomicU64,
    /// Entries of timelines forgotten, too old or too many.
    pub timeline_swept: AtomicU64,
    /// Merges of customers, by cause.
    pub merges: [AtomicU64; MergeCause::ALL.len()],
    /// Times customers did not become one, by reason.
    pub merges_refused: [AtomicU64; NotLinked::ALL.len()],
    /// Merges taken back.
    pub merges_undone: AtomicU64,
    /// Profiles read from the overlay or the embedded store.
    pub loads: AtomicU64,
}

impl Counters {
    pub fn fsync(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.fsyncs.fetch_add(1, Relaxed);
        self.fsync_us_total.fetch_add(us, Relaxed);
        self.fsync_us_max.fetch_max(us, Relaxed);
    }
}

impl Shared {
    pub fn new(config: StoreConfig, files: Files, tombstones: Tombstones, secrets: &Secrets) -> Self {
        let Files { embedded, journals, replicas } = files;
        Self {
            hasher: IdentityHasher::new(&secrets.identity),
            store_key: DataKey(secrets.store),
            hot: HotMap::new(config.hot_bytes_max),
            aliases: Aliases::new(),
            redirects: Redirects::default(),
            linking: ArcSwap::default(),
            overlay: Overlay::default(),
            embedded,
            ledger: Ledger::default(),
            watchers: Arc::default(),
            followers: Arc::default(),
            names: RwLock::default(),
            counters: Counters::default(),
            decision_room: Semaphore::new(DECISION_QUEUE_MAX),
            decision_bytes: AtomicU64::new(0),
            record_room: Semaphore::new(WRITER_QUEUE_MAX),
            write_turn: tokio::sync::Mutex::default(),
            journals,
            replicas,
            tombstones,
            erasing: erase::Waiting::default(),
            loading: Mutex::default(),
            materialised: AtomicU64::new(0),
            latest_us: AtomicI64::new(i64::MIN),
            oldest_us: AtomicI64::new(i64::MIN),
            log_full: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
            store_failing: AtomicBool::new(false),
            sync_failing: AtomicBool::new(false),
            segment_failed: AtomicBool::new(false),
            undurable: AtomicU64::new(0),
            config,
        }
    }

    /// A profile from wherever it is; of who was taken in, the one who lives
    /// on. Blocking.
    pub fn load(&self, key: CustomerKey) -> Result<Option<Arc<HotProfile>>, StoreError> {
        let mut key = self.redirects.live(key);
        let mut last = None;
        for _ in 0..LOAD_TRIES_MAX + HOPS_MAX {
            if let Some(hot) = self.hot.peek(key) {
                return Ok(Some(hot));
            }
            let ticket = self.hot.ticket(key);
            self.counters.loads.fetch_add(1, Relaxed);
            match self.find(key)? {
                None => return Ok(None),
                Some(Found::Moved(redirect)) => key = redirect.to,
                Some(Found::Profile(loaded)) => match self.hot.put_loaded(Arc::clone(&loaded), ticket) {
                    Some(kept) => return Ok(Some(kept)),
                    None => last = Some(loaded),
                },
            }
        }
        // INVARIANT: a profile that is being written is in the overlay
        Ok(last)
    }

    /// Holders, each as who lives on, as far as memory knows.
    pub fn live_holders(&self, holders: Holders) -> Holders {
        holders.map(|key| self.redirects.live(key))
    }

    /// Forgets what memory has of an erased customer.
    pub fn forget(&self, key: CustomerKey) {
        self.hot.remove(key);
        self.ledger.forget(key);
        self.watchers.end_of(key);
        self.redirects.take_back(key);
    }

    /// A customer's data key, also of one that was merged into another; `None`
    /// when it was destroyed. Blocking.
    pub fn data_key(&self, key: CustomerKey) -> Result<Option<DataKey>, StoreError> {
        if let Some(key) = self.hot.data_key(key) {
            return Ok(Some(key));
        }
        match self.overlay.data_key(key) {
            Some(known) => Ok(known),
            None => self.mended(self.embedded.data_key(key)),
        }
    }

    /// A profile from wherever it is; simultaneous misses load once.
    pub async fn load_once(self: &Arc<Self>, key: CustomerKey) -> Result<Option<Arc<HotProfile>>, StoreError> {
        let cell = Arc::clone(self.lock_loading().entry(key).or_default());
        let asked = Asked { shared: self, key, cell };
        let loaded = asked.cell.get_or_try_init(|| async {
            let shared = Arc::clone(self);
            let load = tokio::task::spawn_blocking(move || shared.load(key));
            load.await.unwrap_or(Err(StoreError::Closed))
        });
        loaded.await.cloned()
    }

    #[cfg(test)]
    pub fn loading_len(&self) -> usize {
        self.lock_loading().len()
    }

    fn lock_loading(&self) -> MutexGuard<'_, HashMap<CustomerKey, Loading>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the embedded store answered; asks for opening it again
    /// when it failed.
    pub fn mended<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.is_err() && self.embedded.is_broken() {
            self.store_failing.store(true, Relaxed);
            self.overlay.mend();
        }
        answer
    }

    /// Who holds an identity. Blocking.
    pub fn holders(&self, hash: IdentityHash) -> Result<Option<Holders>, StoreError> {
        if let Some(known) = self.aliases.get(hash) {
            return Ok(known);
        }
        let ticket = self.aliases.ticket();
        let found = match self.overlay.holders(hash) {
            Some(known) => known,
            None => self.mended(self.embedded.holders(hash))?,
        };
        self.aliases.found(hash, found.clone(), ticket);
        Ok(found)
    }

    /// The content of an event recorded before. Blocking.
    pub fn event(&self, id: EventId) -> Result<Option<u64>, StoreError> {
        match self.overlay.event(id) {
            Some(content) => Ok(Some(content)),
            None => self.mended(self.embedded.event(id)),
        }
    }

    /// Adds names to memory; answers those that are new and still fit.
    pub fn keep_names(&self, names: impl Iterator<Item = (ItemId, Arc<str>)>) -> Vec<(ItemId, Arc<str>)> {
        let mut kept = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for (item, name) in names {
            if kept.len() < ITEM_NAMES_MAX && !kept.contains_key(&item) {
                kept.insert(item, Arc::clone(&name));
                new.push((item, name));
            }
        }
        new
    }

    /// Takes room for a decision in the queue; false when there is none.
    pub fn take_decision_room(&self, bytes: u64) -> bool {
        if self.decision_bytes.fetch_add(bytes, Relaxed) + bytes > DECISION_QUEUE_BYTES_MAX {
            self.decision_bytes.fetch_sub(bytes, Relaxed);
            return false;
        }
        let Ok(permit) = self.decision_room.try_acquire() else {
            self.decision_bytes.fetch_sub(bytes, Relaxed);
            return false;
        };
        // given back by the writer
        permit.forget();
        true
    }

    /// Gives the room of decisions back.
    pub fn give_decision_room(&self, decisions: usize, bytes: u64) {
        self.decision_bytes.fetch_sub(bytes, Relaxed);
        self.decision_room.add_permits(decisions);
    }

    pub fn saw_time(&self, at: Timestamp) {
        self.latest_us.fetch_max(at.0, Relaxed);
    }

    pub fn latest(&self) -> Timestamp {
        Timestamp(self.latest_us.load(Relaxed))
    }

    pub fn stats(&self) -> StoreStats {
        let counters = &self.counters;
        let (hot_hits, hot_misses, hot_unpackings) = self.hot.lookups();
        let waiting = |room: &Semaphore, max: usize| max.saturating_sub(room.available_permits()) as u64;
        StoreStats {
            hot_profiles: self.hot.len(),
            hot_bytes: self.hot.bytes(),
            hot_hits,
            hot_misses,
            hot_unpackings,
            evictions: self.hot.evictions(),
            unpacked_evictions: self.hot.unpacked_evictions(),
            log_bytes: counters.log_bytes.load(Relaxed),
            log_records: counters.log_records.load(Relaxed),
            fsyncs: counters.fsyncs.load(Relaxed),
            fsync_us_total: counters.fsync_us_total.load(Relaxed),
            fsync_us_max: counters.fsync_us_max.load(Relaxed),
            decisions_dropped: counters.decisions_dropped.load(Relaxed),
            exhausted: counters.exhausted.load(Relaxed),
            writes_waited: counters.writes_waited.load(Relaxed),
            timeline_swept: counters.timeline_swept.load(Relaxed),
            holders_dropped: counters.holders_dropped.load(Relaxed),
            merges: counters.merges.each_ref().map(|counter| counter.load(Relaxed)),
            merges_refused: counters.merges_refused.each_ref().map(|counter| counter.load(Relaxed)),
            merges_undone: counters.merges_undone.load(Relaxed),
            watchers: self.watchers.len() as u64,
            watches_behind: self.watchers.behind(),
            followers: self.followers.len() as u64,
            followers_refused: self.followers.refused(),
            followers_lag: self.followers.lag(),
            queue_len: waiting(&self.decision_room, DECISION_QUEUE_MAX) + waiting(&self.record_room, WRITER_QUEUE_MAX),
            unmaterialised: self.overlay.records(),
        }
    }
}

/// Someone who waits for a load, or has gone.
struct Asked<'a> {
    shared: &'a Shared,
    key: CustomerKey,
    cell: Loading,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut loading = self.shared.lock_loading();
        // only this cell: a later load may have begun. While others still wait
        // for it, the last of them removes it.
        let same = loading.get(&self.key).is_some_and(|known| Arc::ptr_eq(known, &self.cell));
        if same && (self.cell.initialized() || Arc::strong_count(&self.cell) == 2) {
            loading.remove(&self.key);
        }
    }
}
