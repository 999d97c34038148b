//! Opening a data directory: what is found in it, and the writer over it.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::watch;

use crate::domain::{CustomerKey, Tallies};

use super::{
    ReplicaId, StoreConfig, StoreError,
    appender::Appender,
    bell::{self, Queue},
    embedded::Embedded,
    history,
    journals::Journals,
    key_ring,
    log::{EventLog, Opened},
    modes,
    recent::{RecentDecisions, Versions},
    recovery::Recovery,
    replicas,
    seal::DataKey,
    shared::{Files, Secrets, Shared},
    sync::SyncJob,
    tombstones::Tombstones,
    writer::{Command, Writer},
};

/// Segments that the whole log has room for, at least.
const SEGMENTS_MIN: u64 = 4;

/// What was found in a data directory.
pub(super) struct Found {
    pub shared: Arc<Shared>,
    pub log: EventLog,
    pub tallies: Tallies,
}

/// Opens everything in it and applies what the embedded store has not.
pub(super) fn find(mut config: StoreConfig, replica: Option<ReplicaId>) -> Result<Found, StoreError> {
    config.check()?;
    // the segment being written never goes: the others must be most of the log
    config.segment_bytes = config.segment_bytes.min(config.log_bytes_max / SEGMENTS_MIN);
    modes::prepare(&config.dir)?;
    let log_dir = history::log_dir(&config.dir);
    // first: its lock keeps other processes out of the whole directory
    let embedded = Embedded::open(&config.dir.join("rapport.redb"))?;
    let secrets = Secrets {
        identity: key_ring::secret(&config.dir, key_ring::IDENTITY)?,
        store: key_ring::secret(&config.dir, key_ring::STORE)?,
    };
    let (journals, keys) = Journals::open(&config.dir)?;
    let (mut log, Opened { segments, .. }) = EventLog::open(&log_dir, config.segment_bytes)?;
    let overview = embedded.overview()?;
    // the rules that were active know a better bound than the settings
    config.reserve_us_max = overview.reserve_us.unwrap_or(config.reserve_us_max);
    // a tail that was lost with the power may be in the embedded store
    log.skip_to(overview.sequence + 1);
    let tombstones = Tombstones::new(embedded.tombstones()?);
    // what an erasure left undone
    let erased: HashSet<_> = keys.iter().map(|(key, _)| *key).filter(|key| tombstones.erased(*key).is_some()).collect();
    journals.erase(&erased)?;
    let replicas = replicas::State::new(replica, replicas::Place::read(&config.dir)?);
    let shared = Arc::new(Shared::new(config, Files { embedded, journals, replicas }, tombstones, &secrets));
    shared.materialised.store(overview.sequence, Relaxed);
    segments.iter().filter_map(|s| s.last_time.max(s.first_time)).for_each(|at| shared.saw_time(at));
    shared.keep_names(overview.names.into_iter());
    for (offer, bucket, count) in overview.budgets {
        shared.ledger.budgets().restore_seen(offer, bucket, count);
    }
    let mut candidates: HashMap<CustomerKey, Vec<DataKey>> = HashMap::new();
    for (customer, key) in keys {
        candidates.entry(customer).or_default().push(key);
    }
    let recovery = Recovery {
        shared: &shared,
        stored: overview.sequence,
        keys: candidates,
        tallies: overview.tallies,
        group: Default::default(),
        last_sequence: overview.sequence,
    };
    let tallies = recovery.run(&segments)?;
    if shared.overlay.records() == 0 {
        // every key is stored; what is left of them goes with the next ones
        let _ = shared.journals.wipe_all();
    }
    Ok(Found { shared, log, tallies })
}

/// Starts the thread that writes.
pub(super) fn start_writer(
    found: Found,
    published: Arc<Tallies>,
    watch: watch::Sender<Arc<Tallies>>,
    syncer: Sender<SyncJob>,
) -> Result<(Queue<Command>, JoinHandle<()>), StoreError> {
    let appender = Appender::new(found.log, Arc::clone(&published), found.shared.store_key.clone());
    appender.note(&found.shared);
    found.shared.followers.wrote(appender.log.last_sequence());
    found.shared.replicas.opened(appender.log.last_sequence());
    let mut versions = Versions::default();
    versions.add(published);
    let writer = Writer {
        shared: found.shared,
        appender,
        tallies: found.tallies,
        recent: RecentDecisions::default(),
        versions,
        watch,
        syncer,
        changed: Default::default(),
        eligible: Default::default(),
        published_at: Instant::now(),
        counted_at: Instant::now(),
        failed_at: None,
    };
    let (queue, inbox) = bell::queue();
    let thread = std::thread::Builder::new().name("rapport-writer".to_owned()).spawn(move || writer.run(inbox));
    let thread = thread.map_err(|source| StoreError::Io { doing: "starting the writing thread".to_owned(), source })?;
    Ok((queue, thread))
}
