//! The Redis that replicas share, as this replica has it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use tokio::sync::watch;

use super::{
    Store, StoreError, StoreThread,
    fence::Failovers,
    joining::Rings,
    joining_seal::StoreSecret,
    key_ring,
    members::Members,
    redis::{Address, Client, Keys, Settings},
};

/// The file of the secret that a replica's number comes from.
const REPLICA: &str = "replica";

/// Where the shared store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    /// The servers.
    pub address: Address,
    /// What the keys begin with.
    pub keys: Keys,
    /// What the client may take.
    pub settings: Settings,
    /// What seals the secrets in Redis; none when they lie there as they are.
    pub secret: Option<StoreSecret>,
}

/// The number of a replica: drawn once, kept in its data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Redis, the keys in it, and who writes there: what counting exactly needs.
#[derive(Clone)]
pub struct RedisPlace {
    /// The client; nothing is connected until its keeper runs.
    pub client: Client,
    /// The keys.
    pub keys: Keys,
    /// Who this is.
    pub replica: ReplicaId,
}

/// The shared store as this replica has it. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    /// The client; nothing is connected until its keeper runs.
    pub client: Client,
    /// The keys.
    pub keys: Keys,
    /// Who this is.
    pub replica: ReplicaId,
    pub(super) secret: Option<StoreSecret>,
    pub(super) rings: Arc<Rings>,
    pub(super) members: Arc<Members>,
    pub(super) failovers: watch::Sender<Failovers>,
    pub(super) dir: Arc<PathBuf>,
    /// Whether the secrets in Redis are others than ours.
    pub(super) foreign: Arc<AtomicBool>,
}

impl Remote {
    /// Touches no network.
    pub(super) fn new(config: &RemoteConfig, dir: &Path) -> Result<Self, StoreError> {
        let secret = key_ring::secret(dir, REPLICA)?;
        let (number, _) = secret.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let replica = ReplicaId(u64::from_le_bytes(*number));
        Ok(Self {
            client: Client::new(config.address.clone(), config.settings),
            keys: config.keys.clone(),
            replica,
            secret: config.secret.clone(),
            rings: Arc::new(Rings::of(dir)?),
            members: Arc::new(Members::new(replica)),
            failovers: watch::Sender::new(Failovers::default()),
            dir: Arc::new(dir.to_owned()),
            foreign: Arc::default(),
        })
    }

    /// Where exact caps and budgets are counted.
    pub fn place(&self) -> RedisPlace {
        RedisPlace { client: self.client.clone(), keys: self.keys.clone(), replica: self.replica }
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether Redis serves, with the secrets of this replica. Costs no more than
    /// reading memory.
    pub fn is_up(&self) -> bool {
        self.client.serves() && !self.is_foreign()
    }

    /// Whether the secrets in Redis are others than ours: then nothing of this
    /// replica may be written there.
    pub fn is_foreign(&self) -> bool {
        self.foreign.load(Relaxed)
    }
}

impl Store {
    /// Whether the shared store is out of reach, or was never met; never without
    /// one. Costs no more than reading memory.
    pub fn redis_is_down(&self) -> bool {
        self.is_waiting() || self.remote.as_ref().is_some_and(|remote| !remote.is_up())
    }

    /// Whether this replica has not met the shared store yet: nothing is kept.
    pub fn is_waiting(&self) -> bool {
        self.shared.config.waiting
    }

    /// The threads of the store; none once it is closed.
    pub fn threads(&self) -> Vec<StoreThread> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |thread: &JoinHandle<()>| StoreThread {
            name: thread.thread().name().unwrap_or_default().to_owned(),
            ended: thread.is_finished(),
        };
        threads.iter().map(told).collect()
    }
}
