//! State at rest: the event log, hot profiles, the embedded store, the ledger
//! of reservations. Everything that is written goes through one writer thread.

pub mod ledger;

use std::{path::PathBuf, sync::Arc};

use crate::domain::{
    CustomerKey, DecisionId, DegradedSet, Event, Identity, IdentityHash, IdentityTypeId, Match, OfferId, Profile,
    Reason, Request, Reservation, RulesetHash, Tallies, Timestamp,
};
use crate::rules::SourceFile;

pub use ledger::Ledger;

/// Where and how much. Every size in bytes.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data directory; created when missing.
    pub dir: PathBuf,
    /// A segment of the event log is closed at this size.
    pub segment_bytes: u64,
    /// The most the event log may take; the oldest segments whose effects are
    /// in the store go first, then writes are refused.
    pub log_bytes_max: u64,
    /// The most hot profiles may take.
    pub hot_bytes_max: u64,
    /// The longest a reservation lives, microseconds; how far back start-up
    /// reads decisions.
    pub reserve_us_max: i64,
}

impl StoreConfig {
    /// The defaults in a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            log_bytes_max: 2 << 30,
            hot_bytes_max: 512 << 20,
            reserve_us_max: 2 * 3_600 * 1_000_000,
        }
    }
}

/// What can go wrong at rest.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// Why not.
        source: std::io::Error,
    },
    /// What was read is not what was written.
    #[error("{0}")]
    Corrupt(String),
    /// The log has no room; nothing was stored.
    #[error(
        "the event log is full (limit `{limit_bytes}` bytes): free disk space or raise `log_bytes_max`, then send it again"
    )]
    Full {
        /// The limit.
        limit_bytes: u64,
    },
    /// The store is closing.
    #[error("the service is shutting down; send it again later")]
    Closed,
}

/// A profile in memory, with what recording its decisions needs.
#[derive(Debug)]
pub struct HotProfile {
    /// The customer.
    pub profile: Profile,
    /// Content hash (XXH3-128) of the encoded profile.
    pub hash: u128,
}

/// What a set of identities stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// One customer.
    Known(CustomerKey),
    /// Nobody yet.
    Unknown,
    /// More than one customer.
    Ambiguous,
    /// Memory cannot tell: ask [`Store::resolve`].
    NotLoaded,
}

/// Who an event belongs to.
#[derive(Clone, Debug)]
pub enum Target {
    /// Whom the identities name; created when nobody has them.
    Identities(Vec<Identity>),
    /// A customer by key (from a token).
    Customer(CustomerKey),
    /// Nobody: a visitor without a profile. Only outcomes.
    Anonymous,
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Written: survives the end of the process.
    Process,
    /// Synced: survives the loss of power.
    Disk,
}

/// One event to store.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Whose.
    pub target: Target,
    /// What; its id makes it idempotent.
    pub event: Event,
    /// Hash of its content: the same id with another content is a conflict.
    pub content: u64,
    /// How strong the acknowledgement must be.
    pub strength: Strength,
}

/// What became of one submission.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What became of it.
    pub status: ReceiptStatus,
    /// Whose it was.
    pub customer: Option<CustomerKey>,
    /// The customer's version afterwards; 0 without a customer.
    pub version: u64,
    /// Whether the customer was created.
    pub created: bool,
}

/// What became of one submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptStatus {
    /// Stored, with this promise.
    Recorded,
    /// Stored before; nothing changed.
    Duplicate,
    /// Its id was stored with other content.
    Conflict,
    /// Cannot be stored; says why and what to do.
    Refused(String),
    /// No room; send it again later.
    Exhausted,
}

/// One decision to record: all that replay needs.
#[derive(Clone, Debug)]
pub struct DecisionRecord {
    /// UUIDv7.
    pub id: DecisionId,
    /// The moment.
    pub now: Timestamp,
    /// The question. Identity values are not stored, their hashes are.
    pub request: Request,
    /// What the identities matched.
    pub matched: Match,
    /// The customer as read; `None` for the shared anonymous profile.
    pub customer: Option<Arc<HotProfile>>,
    /// The ruleset.
    pub ruleset: RulesetHash,
    /// The version of the tallies behind the models.
    pub model_version: u64,
    /// The id of the signing key.
    pub signing_key: u32,
    /// Open reservations read.
    pub reservations: Vec<Reservation>,
    /// Offers whose budget was spent.
    pub exhausted: Vec<OfferId>,
    /// Offers denied after ranking.
    pub denied: Vec<(OfferId, Reason)>,
    /// Offers that kept their order.
    pub keep_order: Vec<OfferId>,
    /// What was wrong.
    pub degraded: DegradedSet,
    /// The customer state token in the answer.
    pub consistency_token: Box<str>,
    /// Digest (XXH3-64) of the answer.
    pub digest: u64,
    /// What was chosen.
    pub winners: Vec<WinnerRecord>,
    /// (offer, channel) pairs that passed engagement policy; counted in the
    /// tallies, not stored.
    pub eligible: Vec<(OfferId, crate::domain::ChannelId)>,
    /// Set when the customer now counts for the lift for the first time:
    /// whether in the holdout.
    pub exposed: Option<bool>,
}

/// What was chosen for one slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WinnerRecord {
    /// Index of the placement in the request; 0 for an open question.
    pub placement: u16,
    /// The offer.
    pub offer: OfferId,
    /// The channel.
    pub channel: crate::domain::ChannelId,
    /// Its net priority.
    pub net_priority: f32,
    /// The probability it was chosen with.
    pub probability: f32,
    /// Whether it counts as a contact from now on.
    pub counts_now: bool,
    /// When its reservation lapses; `None` without one.
    pub reserved_until: Option<Timestamp>,
}

/// A decision read back, with the state it read.
#[derive(Clone, Debug)]
pub struct StoredDecision {
    /// The record; `eligible` is empty, identity values are empty.
    pub record: DecisionRecord,
    /// The tallies at its model version.
    pub tallies: Arc<Tallies>,
}

/// Counters of the store, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Hot profiles.
    pub hot_profiles: u64,
    /// Bytes of hot profiles (estimated heap).
    pub hot_bytes: u64,
    /// Hot lookups that found the profile.
    pub hot_hits: u64,
    /// Hot lookups that did not.
    pub hot_misses: u64,
    /// Profiles evicted from memory.
    pub evictions: u64,
    /// Bytes of the event log.
    pub log_bytes: u64,
    /// Records appended.
    pub log_records: u64,
    /// Syncs to disk.
    pub fsyncs: u64,
    /// Microseconds spent in them, in all.
    pub fsync_us_total: u64,
    /// Longest of them since start, microseconds.
    pub fsync_us_max: u64,
    /// Decisions that could not be recorded.
    pub decisions_dropped: u64,
    /// Submissions refused for want of room.
    pub exhausted: u64,
    /// Records waiting for the writer.
    pub queue_len: u64,
    /// Log records not yet in the embedded store.
    pub unmaterialised: u64,
}

/// The store.
pub struct Store {}

impl Store {
    /// Opens or creates a data directory and recovers: what the log has and
    /// the embedded store has not is applied again. Blocking.
    ///
    /// # Errors
    /// Another process has it open, the disk fails, or a file is damaged
    /// beyond a torn tail of the log.
    pub fn open(_config: StoreConfig) -> Result<Self, StoreError> {
        Ok(Self {})
    }

    /// The keyed hash of an identity, by the data directory's own secret.
    pub fn identity_hash(&self, _kind: IdentityTypeId, _value: &str) -> IdentityHash {
        IdentityHash(0)
    }

    /// What the identities stand for, as far as memory knows.
    pub fn resolve_hot(&self, _identities: &[Identity]) -> Resolved {
        Resolved::Unknown
    }

    /// What the identities stand for. Never [`Resolved::NotLoaded`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn resolve(&self, _identities: &[Identity]) -> Result<Resolved, StoreError> {
        Ok(Resolved::Unknown)
    }

    /// A profile in memory.
    pub fn hot(&self, _key: CustomerKey) -> Option<Arc<HotProfile>> {
        None
    }

    /// A profile, loaded when it is not in memory; simultaneous misses load once.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn profile(&self, _key: CustomerKey) -> Result<Option<Arc<HotProfile>>, StoreError> {
        Ok(None)
    }

    /// Stores events in this order; answers once each has its strength.
    pub async fn record(&self, _batch: Vec<Submission>) -> Vec<Receipt> {
        Vec::new()
    }

    /// Queues a decision for the log. Never waits; false when it was dropped
    /// because the queue or the log is full.
    pub fn submit_decision(&self, _record: DecisionRecord) -> bool {
        false
    }

    /// Reads a decision back, also one that is still queued.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn decision(&self, _id: DecisionId) -> Result<Option<StoredDecision>, StoreError> {
        Ok(None)
    }

    /// Visits decisions made in `[from, until)` in order of the log until the
    /// visitor answers false. Blocking.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn scan_decisions(
        &self,
        _from: Option<Timestamp>,
        _until: Option<Timestamp>,
        _visit: &mut dyn FnMut(StoredDecision) -> bool,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// The published tallies; changes at most every 50 ms. Every version that
    /// is published can be read back by [`Store::decision`].
    pub fn tallies(&self) -> tokio::sync::watch::Receiver<Arc<Tallies>> {
        tokio::sync::watch::channel(Arc::new(Tallies::default())).1
    }

    /// When the oldest record of the log was written.
    pub fn oldest_record(&self) -> Option<Timestamp> {
        None
    }

    /// Reservations and budgets of this process.
    pub fn ledger(&self) -> &Ledger {
        static LEDGER: Ledger = Ledger {};
        &LEDGER
    }

    /// The name behind the stable hash of an item that an event named, if kept.
    pub fn item_name(&self, _item: crate::domain::ItemId) -> Option<Arc<str>> {
        None
    }

    /// Remembers item names, so that a view can show them. Bounded; durable.
    pub fn remember_items(&self, _names: &[Box<str>]) {}

    /// Keeps the files of a ruleset under its hash. Blocking.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn save_ruleset(&self, _hash: RulesetHash, _files: &[SourceFile]) -> Result<(), StoreError> {
        Ok(())
    }

    /// The files of a ruleset kept before. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load_ruleset(&self, _hash: RulesetHash) -> Result<Option<Vec<SourceFile>>, StoreError> {
        Ok(None)
    }

    /// The 32-byte secret of this data directory for a purpose (`links`,
    /// `tokens`), made on first use. Key ring: every id ever used stays
    /// readable; the newest id signs.
    ///
    /// # Errors
    /// The key file cannot be read or written.
    pub fn key_ring(&self, _purpose: &str) -> Result<Vec<(u32, [u8; 32])>, StoreError> {
        Ok(Vec::new())
    }

    /// Counters now.
    pub fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    /// Writes everything out and stops the threads. Blocking.
    pub fn close(&self) {}
}
