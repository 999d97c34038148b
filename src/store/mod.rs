//! State at rest: the event log, hot profiles, the embedded store, the ledger
//! of reservations. Everything that is written goes through one writer thread:
//!
//! `record` or `submit_decision` -> `writer` (log, then memory, then the
//! answer) -> `materialise` (the embedded store) and `sync` (the disk).
//! Reading order: `types`, `shared`, `writer`, `submit`, `group`, `appender`,
//! `overlay`, `materialise`, `recovery`, `history`.

mod analysis;
mod appender;
mod at_rest;
mod bell;
mod budgets;
pub mod caps;
pub mod codec;
mod decided;
mod due;
mod eligible;
mod embedded;
mod erase;
mod fence;
mod follow;
mod follow_piece;
mod followed;
mod frames;
mod group;
mod history;
mod holders;
mod hot;
mod identity;
pub mod joining;
mod joining_seal;
mod journals;
mod keeping_up;
mod kept_merges;
pub mod key_journal;
pub mod key_ring;
mod known;
mod layer_rows;
pub mod ledger;
mod linking;
pub mod log;
mod materialise;
mod meanwhile;
mod members;
mod merge;
mod merge_record;
mod merges;
mod modes;
mod opening;
mod overlay;
mod packed;
mod pairs;
mod parting;
mod recent;
mod recovery;
pub mod redis;
mod remote;
mod replicas;
mod revisions;
mod row_seal;
mod rules_shared;
mod sampled;
pub mod seal;
mod shared;
mod slots;
mod submit;
mod sync;
mod timeline;
mod timeline_pages;
mod tombstones;
mod types;
mod unions;
mod unpacked;
mod watchers;
mod whose;
mod writer;
mod writer_publish;

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::domain::{CustomerKey, IdentityHash, IdentityTypeId, ItemId, Tallies, Timestamp};

use bell::Queue;
use caps::Caps;
use shared::{DECISION_QUEUE_MAX, Shared};
use writer::Command;

pub use analysis::{BASES_KEPT_MAX, Membership, PeoplePiece, SegmentNames};
pub use due::{Due, Looked};
pub use eligible::{Eligible, PairTable};
pub use embedded::EVENT_IDS_KEPT_US;
pub use erase::{Erasure, NewErasure};
pub use fence::{Failover, FailoverCause, Failovers};
pub use follow::{FOLLOWERS_MAX, Follower, NoFollow, Since};
pub use follow_piece::{LogPiece, PIECE_BYTES_MAX, PIECE_RECORDS_MAX};
pub use followed::{ChangeKind, ChangeKinds, Content, Followed};
pub use holders::{HOLDERS_MAX, has_only};
pub use hot::HotMap;
pub use joining_seal::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, StoreSecret};
pub use ledger::Ledger;
pub use linking::{LeftOut, Linking, NotLinked, TypeLinking};
pub use meanwhile::Meanwhile;
pub use merge::too_large_in_words as too_large;
pub use merges::{MERGES_LISTED_MAX, Merge, MergeCause, UNDO_US};
pub use packed::{HotProfile, PackedProfile};
pub use remote::{RedisPlace, Remote, RemoteConfig, ReplicaId};
pub use replicas::{Presence, ReplicaStats, Seen};
pub use revisions::{Control, NewActive, REVISIONS_KEPT, REVISIONS_KEPT_MAX, REVISIONS_KEPT_MIN};
pub use rules_shared::{RulesShared, SharedActive, SharedPauses, SharedRules};
pub use timeline::{
    TIMELINE_READ_MAX, TIMELINE_ROWS_MAX, TimelineCursor, TimelineEntry, TimelinePage, TimelineQuery, TimelineWhat,
};
pub use types::*;
pub use watchers::{HAPPENINGS_WAITING_MAX, Happened, NoWatch, WATCHERS_MAX, WATCHERS_OF_ONE_MAX, Watcher};

/// The store.
pub struct Store {
    shared: Arc<Shared>,
    remote: Option<Remote>,
    caps: Option<Arc<Caps>>,
    writer: Queue<Command>,
    tallies: watch::Receiver<Arc<Tallies>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates a data directory and recovers: what the log has and
    /// the embedded store has not is applied again. Blocking.
    ///
    /// # Errors
    /// Another process has it open, the disk fails, or a file is damaged
    /// beyond a torn tail of the log.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        modes::prepare(&config.dir)?;
        let remote = config.remote.as_ref().map(|remote| Remote::new(remote, &config.dir)).transpose()?;
        let mut found = opening::find(config, remote.as_ref().map(|remote| remote.replica))?;
        let caps = remote.as_ref().map(|remote| Arc::new(Caps::new(remote.place())));
        if let Some(caps) = &caps {
            found.shared.ledger.share(Arc::clone(caps));
        }
        // what was applied since its last publication is not what that version told
        found.tallies.version += 1;
        let published = Arc::new(found.tallies.clone());
        let (watch, tallies) = watch::channel(Arc::clone(&published));
        let storing = materialise::start(Arc::clone(&found.shared))?;
        let (syncer, syncing) = sync::start(Arc::clone(&found.shared))?;
        let shared = Arc::clone(&found.shared);
        let (writer, writing) = opening::start_writer(found, published, watch, syncer)?;
        Ok(Self { shared, remote, caps, writer, tallies, threads: Mutex::new(vec![writing, syncing, storing]) })
    }

    /// The Redis that replicas share; none when this process is alone.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// The keyed hash of an identity, by the data directory's own secret.
    pub fn identity_hash(&self, kind: IdentityTypeId, value: &str) -> IdentityHash {
        self.shared.hasher.identity(kind, value)
    }

    /// A profile in memory; of who was taken in, the one who lives on.
    pub fn hot(&self, key: CustomerKey) -> Option<Arc<HotProfile>> {
        self.shared.hot.get(key).or_else(|| match self.shared.redirects.live(key) {
            live if live != key => self.shared.hot.get(live),
            _ => None,
        })
    }

    /// A profile, loaded when it is not in memory; simultaneous misses load
    /// once. Of who was taken in, the one who lives on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn profile(&self, key: CustomerKey) -> Result<Option<Arc<HotProfile>>, StoreError> {
        match self.shared.hot.peek(key) {
            Some(hot) => Ok(Some(hot)),
            None => match self.shared.load_once(key).await? {
                None if self.presence() == Presence::Joining => {
                    self.read_by_key(key).await;
                    self.shared.load_once(key).await
                }
                found => Ok(found),
            },
        }
    }

    /// Stores events in this order; answers once each has its strength.
    pub async fn record(&self, batch: Vec<Submission>) -> Vec<Receipt> {
        self.read_named(&batch).await;
        let turn = self.keep_up().await;
        let len = batch.len();
        let telling = self.telling(&batch);
        let refused = || vec![Receipt::without(ReceiptStatus::Exhausted); len];
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Record { batch, reply }).await {
            return refused();
        }
        drop(turn);
        // the writer goes without answering only when the store is closed
        let receipts = match telling {
            Some((caps, telling)) => caps.hear(Arc::clone(&self.shared), telling, answer).await,
            None => answer.await.ok(),
        }
        .unwrap_or_else(refused);
        self.until_shared(&receipts).await;
        receipts
    }

    /// Sends a command once there is room; false when the store is closed.
    async fn send(&self, command: Command) -> bool {
        let Ok(permit) = self.shared.record_room.acquire().await else { return false };
        // given back by the writer
        permit.forget();
        self.writer.send(command)
    }

    /// Queues a decision for the log. Never waits; false when it was dropped
    /// because the queue or the log is full.
    pub fn submit_decision(&self, record: impl Into<Box<DecisionRecord>>) -> bool {
        let record = record.into();
        let sent = !self.shared.log_full.load(Relaxed)
            && self.shared.take_decision_room(record.heap_bytes())
            && self.writer.send_quietly(Command::Decision(record));
        if !sent {
            self.shared.counters.decisions_dropped.fetch_add(1, Relaxed);
        }
        sent
    }

    /// The published tallies; changes at most every 50 ms. Every version that
    /// is published can be read back by [`Store::decision`].
    pub fn tallies(&self) -> watch::Receiver<Arc<Tallies>> {
        self.tallies.clone()
    }

    /// When the oldest record of the log was written.
    pub fn oldest_record(&self) -> Option<Timestamp> {
        Some(self.shared.oldest_us.load(Relaxed)).filter(|at| *at != i64::MIN).map(Timestamp)
    }

    /// The latest time that a record of the log has: what a clock must not
    /// fall behind. The smallest moment while there is no record.
    pub fn latest_time(&self) -> Timestamp {
        self.shared.latest()
    }

    /// Reservations and budgets of this process.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// The name behind the stable hash of an item that an event named, if kept.
    pub fn item_name(&self, item: ItemId) -> Option<Arc<str>> {
        self.shared.names.read().unwrap_or_else(PoisonError::into_inner).get(&item).cloned()
    }

    /// Remembers item names, so that a view can show them. Bounded; durable.
    pub fn remember_items(&self, names: &[Box<str>]) {
        let new: Vec<_> = names.iter().filter(|name| self.item_name(ItemId::of(name)).is_none()).cloned().collect();
        if !new.is_empty() {
            // only fails when closed: then nothing is recorded any more either
            self.writer.send_quietly(Command::Names(new));
        }
    }

    /// The 32-byte secret of this data directory for a purpose (`links`,
    /// `tokens`), made on first use. Key ring: every id ever used stays
    /// readable; the newest id signs.
    ///
    /// # Errors
    /// The key file cannot be read or written.
    pub fn key_ring(&self, purpose: &str) -> Result<Vec<(u32, [u8; 32])>, StoreError> {
        key_ring::load_or_create(&self.shared.config.dir, purpose)
    }

    /// Whether everything that is recorded can be kept: false while the
    /// embedded store or syncing fails, when a thread ended, and once closed.
    pub fn healthy(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = self.shared.store_failing.load(Relaxed) || self.shared.sync_failing.load(Relaxed);
        !failing && !threads.is_empty() && !threads.iter().any(JoinHandle::is_finished)
    }

    /// Log records that the embedded store does not have yet.
    pub fn unmaterialised(&self) -> u64 {
        self.shared.overlay.records()
    }

    /// Decisions waiting for the writer.
    pub fn waiting_decisions(&self) -> usize {
        DECISION_QUEUE_MAX.saturating_sub(self.shared.decision_room.available_permits())
    }

    /// Whether the log takes no decisions now: it is full, or writing it failed.
    pub fn log_is_full(&self) -> bool {
        self.shared.log_full.load(Relaxed)
    }

    /// Whether the last write of the log failed: what it takes now may be lost.
    pub fn log_is_doubtful(&self) -> bool {
        self.shared.write_failed.load(Relaxed)
    }

    /// Counters now.
    pub fn stats(&self) -> StoreStats {
        self.shared.stats()
    }

    /// Writes everything out and stops the threads. Blocking.
    pub fn close(&self) {
        // fails when it is closed already
        self.writer.send(Command::Close);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // a thread that panicked has nothing left to write
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs what reads files where it stops nobody.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(read).await.unwrap_or(Err(StoreError::Closed))
}
