//! What the store takes and gives.

use std::{path::PathBuf, sync::Arc};

use crate::domain::{
    ChannelId, CustomerKey, DecisionId, DegradedSet, Event, Identity, Match, OfferId, Pauses, Reason, RecordRef,
    Request, Reservation, RulesetHash, Tallies, Timestamp,
};

use super::{Eligible, LeftOut, MergeCause, NotLinked, packed::HotProfile, remote::RemoteConfig};

/// The least that the event log may be limited to, bytes.
pub const LOG_BYTES_MIN: u64 = 1 << 20;

/// Where and how much. Every size in bytes.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data directory; created when missing.
    pub dir: PathBuf,
    /// A segment of the event log is closed at this size, or at a quarter of
    /// `log_bytes_max` if that is less.
    pub segment_bytes: u64,
    /// The most the event log may take; the oldest segments whose effects are
    /// in the store go first, then writes are refused. At least
    /// [`LOG_BYTES_MIN`].
    pub log_bytes_max: u64,
    /// The most hot profiles may take.
    pub hot_bytes_max: u64,
    /// The longest a reservation lives, microseconds; how far back start-up
    /// looks for decisions that may still hold one. Once rules were active, the
    /// longest of theirs is taken instead.
    pub reserve_us_max: i64,
    /// How long an entry of a timeline is kept after it came in, microseconds.
    pub timeline_kept_us: i64,
    /// The Redis that replicas share; none when this process is alone.
    pub remote: Option<RemoteConfig>,
    /// Whether this is what a replica answers from until it has met the shared
    /// store: it is thrown away then.
    pub waiting: bool,
}

impl StoreConfig {
    /// The defaults in a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            log_bytes_max: 2 << 30,
            hot_bytes_max: 512 << 20,
            reserve_us_max: 31 * crate::domain::time::DAY_US,
            timeline_kept_us: 400 * crate::domain::time::DAY_US,
            remote: None,
            waiting: false,
        }
    }

    /// # Errors
    /// A value that cannot be.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.log_bytes_max < LOG_BYTES_MIN {
            return Err(StoreError::Settings(format!(
                "opening the event log: `log_bytes_max` is `{}` bytes, it must be at least `{LOG_BYTES_MIN}`: raise it",
                self.log_bytes_max
            )));
        }
        Ok(())
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
    /// A setting that cannot be.
    #[error("{0}")]
    Settings(String),
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

/// A thread of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreThread {
    /// What it is called.
    pub name: String,
    /// Whether it ended although the store is open.
    pub ended: bool,
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
    /// Memory cannot tell: ask `Store::resolve`.
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
    /// Identities that were left out, for those who have them did not become
    /// one.
    pub left_out: Vec<LeftOut>,
    /// The sequence in the log up to which everything of it stands; 0 for
    /// nothing.
    pub sequence: u64,
}

impl Receipt {
    /// Of nobody.
    pub(super) fn without(status: ReceiptStatus) -> Self {
        Self { status, customer: None, version: 0, created: false, left_out: Vec::new(), sequence: 0 }
    }
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
    pub denied: Vec<DeniedRecord>,
    /// Offers that kept their order, and the record that each spoke of.
    pub keep_order: Vec<(OfferId, RecordRef)>,
    /// What was wrong.
    pub degraded: DegradedSet,
    /// The customer state token in the answer.
    pub consistency_token: Box<str>,
    /// What its links begin with.
    pub public_url: std::sync::Arc<str>,
    /// Digest (XXH3-64) of the answer.
    pub digest: u64,
    /// What was chosen.
    pub winners: Vec<WinnerRecord>,
    /// (offer, channel) pairs that passed engagement policy; counted in the
    /// tallies, not stored.
    pub eligible: Eligible,
    /// Set when the customer now counts for the lift for the first time:
    /// whether in the holdout.
    pub exposed: Option<bool>,
    /// What was paused.
    pub pauses: Arc<Pauses>,
    /// The version of the analysis of the base; 0 before the first.
    pub base_version: u64,
}

/// What an entry of a list in a question costs, bytes (estimate).
const ENTRY_BYTES: usize = 64;

impl DecisionRecord {
    /// Estimated heap of the record without its customer, whom the hot
    /// profiles count, bytes.
    pub(super) fn heap_bytes(&self) -> u64 {
        use std::mem::size_of_val;
        let request = &self.request;
        let texts: usize = request.identities.iter().map(|i| i.value.len()).sum::<usize>()
            + request.context.iter().chain(&request.overrides).map(|(_, value)| text_bytes(value)).sum::<usize>()
            + request.languages.iter().map(|language| language.len()).sum::<usize>()
            + request.session_id.len()
            + request.request_id.len()
            + request.consistency_token.len()
            + self.consistency_token.len();
        let entries = request.identities.len()
            + request.placements.len()
            + request.allowed_channels.len()
            + request.context.len()
            + request.overrides.len()
            + request.exclude_offers.len()
            + request.exclude_items.len()
            + request.languages.len()
            + self.winners.len();
        let lists = size_of_val(&self.eligible.numbers[..])
            + size_of_val(&self.reservations[..])
            + size_of_val(&self.exhausted[..])
            + size_of_val(&self.denied[..])
            + size_of_val(&self.keep_order[..]);
        (size_of_val(self) + texts + entries * ENTRY_BYTES + lists) as u64
    }
}

fn text_bytes(value: &crate::domain::Value) -> usize {
    match value {
        crate::domain::Value::Text(text) => text.len(),
        crate::domain::Value::Set(texts) => texts.iter().map(|text| text.len() + ENTRY_BYTES).sum(),
        _ => 0,
    }
}

/// An offer that was denied after ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedRecord {
    /// Which.
    pub offer: OfferId,
    /// For which record; [`RecordRef::NONE`] for all.
    pub record: RecordRef,
    /// Why.
    pub reason: Reason,
}

/// What was chosen for one slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WinnerRecord {
    /// Index of the placement in the request; 0 for an open question.
    pub placement: u16,
    /// The offer.
    pub offer: OfferId,
    /// The channel.
    pub channel: ChannelId,
    /// The record it speaks of.
    pub record: RecordRef,
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
    /// False when the log has lost what was paused then: only the version is
    /// known, and the decision cannot be made again for certain.
    pub pauses_known: bool,
    /// Whether its customer was erased: nothing personal of it can be read.
    pub erased: bool,
}

/// Counters of the store, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Hot profiles.
    pub hot_profiles: u64,
    /// Heap of hot profiles, bytes.
    pub hot_bytes: u64,
    /// Hot lookups that found the profile.
    pub hot_hits: u64,
    /// Hot lookups that did not.
    pub hot_misses: u64,
    /// Of those that found it, those for which it had to be unpacked.
    pub hot_unpackings: u64,
    /// Profiles evicted from memory.
    pub evictions: u64,
    /// Unpacked profiles that went for others to have room; packed they stay.
    pub unpacked_evictions: u64,
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
    /// Times a customer was not kept as holder of an identity, for it has too
    /// many.
    pub holders_dropped: u64,
    /// Entries of timelines forgotten because they were too old or too many.
    pub timeline_swept: u64,
    /// Merges of customers, by [`MergeCause`].
    pub merges: [u64; MergeCause::ALL.len()],
    /// Times customers who were named together did not become one, by
    /// [`NotLinked`].
    pub merges_refused: [u64; NotLinked::ALL.len()],
    /// Merges taken back.
    pub merges_undone: u64,
    /// Who watches a customer.
    pub watchers: u64,
    /// Times a watcher read too slowly and missed what happened.
    pub watches_behind: u64,
    /// Who follows the log.
    pub followers: u64,
    /// Times somebody could not follow, for too many did.
    pub followers_refused: u64,
    /// Sequences that the slowest of them is behind the log.
    pub followers_lag: u64,
    /// Records waiting for the writer.
    pub queue_len: u64,
    /// Log records not yet in the embedded store.
    pub unmaterialised: u64,
    /// Writes that waited until there were fewer of them.
    pub writes_waited: u64,
}
