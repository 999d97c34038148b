//! How a replica joins the others: all have the same secrets, which lie in
//! Redis. A replica that was joined keeps a copy and starts without Redis; one
//! that never met the others waits for it and keeps nothing until then.

use std::{
    fmt,
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use redis::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    RemoteConfig, SharedRules, StoreError,
    joining_seal::{self, StoreSecret},
    key_ring,
    redis::{Client, Failure, Keys, Outage, TimeSample, scripts_service::ADOPT},
    rules_shared,
};

/// Whose keys sign the tokens.
pub const TOKENS: &str = "tokens";
/// The secrets that every replica needs.
pub const PURPOSES: [&str; 3] = [key_ring::IDENTITY, key_ring::STORE, TOKENS];
/// Where a replica that has not met the others keeps what it needs to answer;
/// thrown away when it joins. Below the data directory.
pub const WAITING_DIR: &str = "waiting";

/// Names the namespace whose secrets a data directory has.
const MARKER: &str = "joined";
/// How long a start waits for Redis in all.
const START_MAX: Duration = Duration::from_millis(2_000);
/// How long it waits for one that refuses connections.
const REFUSED_MAX: Duration = Duration::from_millis(500);
/// How long one call may take.
const CALL_MAX: Duration = Duration::from_millis(1_000);
/// Between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How often a start asks for the time.
const TIME_SAMPLES: usize = 5;
/// Between two attempts of one that waits.
const WAIT_INTERVAL: Duration = Duration::from_millis(250);

/// The secrets of a replica as they lie in Redis. Nothing shows them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Rings([String; PURPOSES.len()]);

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a data directory stands to the others when a replica starts.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It has the secrets that are in Redis now.
    Met(Box<Meeting>),
    /// Redis is away; it was joined before and has a copy.
    Kept(Outage),
    /// Redis is away, and it never met the others: nothing may be kept.
    Stranger(Outage),
}

/// What the others told a replica that starts.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// How the clocks stand.
    pub time: Option<TimeSample>,
    /// What they serve.
    pub rules: Option<SharedRules>,
}

/// Why secrets could not be had from Redis.
enum Missed {
    /// Redis is away.
    Away(Outage),
    /// Waiting does not help.
    Wrong(StoreError),
}

impl From<StoreError> for Missed {
    fn from(error: StoreError) -> Self {
        Missed::Wrong(error)
    }
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Outage(outage) => Missed::Away(outage),
            mistake => Missed::Wrong(StoreError::Settings(format!("reading the secrets in redis: {mistake}"))),
        }
    }
}

impl Rings {
    /// Those of a data directory; made where missing.
    pub fn of(dir: &Path) -> Result<Self, StoreError> {
        let mut rings = Self(Default::default());
        for (ring, purpose) in rings.0.iter_mut().zip(PURPOSES) {
            key_ring::load_or_create(dir, purpose)?;
            *ring = key_ring::text(dir, purpose)?.unwrap_or_default();
        }
        Ok(rings)
    }

    /// Puts these into Redis where there are none; answers what is there.
    async fn exchange(
        &self,
        client: &Client,
        (keys, secret): (&Keys, Option<&StoreSecret>),
        deadline: Instant,
    ) -> Result<Self, Missed> {
        let names = PURPOSES.map(|purpose| keys.secret(purpose));
        let mut wrapped = Vec::with_capacity(PURPOSES.len());
        for (name, ring) in names.iter().zip(&self.0) {
            wrapped.push(joining_seal::wrap(secret, name, ring)?);
        }
        let (names, wrapped) = (names.each_ref().map(|name| &name[..]), wrapped.iter().map(|ring| &ring[..]));
        let answer = client.script(&ADOPT, &names, &wrapped.collect::<Vec<_>>(), deadline).await?;
        let Value::Array(values) = answer else { return Err(Failure::shape("secrets").into()) };
        let mut found = Self(Default::default());
        for ((ring, name), value) in found.0.iter_mut().zip(names).zip(values) {
            let Value::BulkString(bytes) = value else { return Err(Failure::shape("a secret").into()) };
            *ring = joining_seal::unwrap(secret, name, &bytes)?;
        }
        Ok(found)
    }

    /// Whether what was found is these secrets, newer keys apart.
    fn agrees(&self, found: &Self) -> bool {
        let one_begins_other = |(a, b): (&String, &String)| a.starts_with(b.as_str()) || b.starts_with(a.as_str());
        self.0.iter().zip(&found.0).all(one_begins_other)
    }

    /// What names the namespace that has these secrets; tells nothing of them.
    fn namespace(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"rapport namespace 1");
        hash.update(self.0[0].as_bytes());
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Joins the replicas, or tells why not. Blocking, at most about 2 s; touches
/// nothing but `keys/` below the data directory.
///
/// # Errors
/// The directory holds data under secrets of its own and others are in Redis;
/// the secrets in Redis cannot be read; a file cannot.
pub fn join(dir: &Path, remote: &RemoteConfig) -> Result<Standing, StoreError> {
    on_runtime(async {
        let client = Client::new(remote.address.clone(), remote.settings);
        let keeper = tokio::spawn(client.clone().keep());
        let standing = meet(dir, remote, &client).await;
        keeper.abort();
        standing
    })
}

async fn meet(dir: &Path, remote: &RemoteConfig, client: &Client) -> Result<Standing, StoreError> {
    let begun = Instant::now();
    loop {
        let outage = match attempt(dir, remote, client, begun + START_MAX).await {
            Ok(()) => {
                let until = begun + START_MAX;
                let (time, rules) = (time(client, until).await, rules_shared::found(client, &remote.keys, until).await);
                return Ok(Standing::Met(Box::new(Meeting { time, rules })));
            }
            Err(Missed::Wrong(error)) => return Err(error),
            // the breaker tells why it is open
            Err(Missed::Away(outage)) => client.health().outage.unwrap_or(outage),
        };
        let most = if outage == Outage::Refused { REFUSED_MAX } else { START_MAX };
        if begun.elapsed() + RETRY_INTERVAL >= most {
            return alone(dir, outage);
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// The time of Redis by the quickest of a few questions.
async fn time(client: &Client, until: Instant) -> Option<TimeSample> {
    let mut best: Option<TimeSample> = None;
    for _ in 0..TIME_SAMPLES {
        let Ok(sample) = client.time(until.min(Instant::now() + CALL_MAX)).await else { break };
        if best.is_none_or(|best| sample.round_trip_us < best.round_trip_us) {
            best = Some(sample);
        }
    }
    best
}

/// What a directory is without Redis.
fn alone(dir: &Path, outage: Outage) -> Result<Standing, StoreError> {
    if marked(dir) {
        return Ok(Standing::Kept(outage));
    }
    match has_data(dir) {
        false => Ok(Standing::Stranger(outage)),
        true => Err(StoreError::Settings(format!(
            "joining the shared store: {outage}, and the data directory `{}` holds data of a time before it was shared: \
             start it once while redis is there",
            dir.display()
        ))),
    }
}

/// Waits for Redis as long as it takes and joins; false when told to stop
/// first. Blocking.
///
/// # Errors
/// As [`join`].
pub fn wait(dir: &Path, remote: &RemoteConfig, mut stop: watch::Receiver<bool>) -> Result<bool, StoreError> {
    on_runtime(async {
        let client = Client::new(remote.address.clone(), remote.settings);
        let keeper = tokio::spawn(client.clone().keep());
        let joining = async {
            loop {
                match attempt(dir, remote, &client, Instant::now() + CALL_MAX).await {
                    Ok(()) => return Ok(true),
                    Err(Missed::Wrong(error)) => return Err(error),
                    Err(Missed::Away(_)) => tokio::time::sleep(WAIT_INTERVAL).await,
                }
            }
        };
        let joined = tokio::select! {
            joined = joining => joined,
            _ = stop.wait_for(|stop| *stop) => Ok(false),
        };
        keeper.abort();
        joined
    })
}

async fn attempt(dir: &Path, remote: &RemoteConfig, client: &Client, until: Instant) -> Result<(), Missed> {
    let own = Rings::of(dir)?;
    let deadline = until.min(Instant::now() + CALL_MAX);
    let found = own.exchange(client, (&remote.keys, remote.secret.as_ref()), deadline).await?;
    adopt(dir, &remote.keys, (&own, &found))?;
    Ok(())
}

/// Keeps the secrets that were found in Redis.
fn adopt(dir: &Path, keys: &Keys, (own, found): (&Rings, &Rings)) -> Result<(), StoreError> {
    if !own.agrees(found) && has_data(dir) {
        let marker = fs::read_to_string(marker_of(dir)).unwrap_or_default();
        let whose = if marker.is_empty() { "its own" } else { "another store" };
        return Err(StoreError::Settings(format!(
            "joining the shared store: the data directory `{}` holds data under the secrets of {whose}, and the namespace \
             `{}` in redis has others: start with an empty `--data-dir`, or choose another `--store-namespace`",
            dir.display(),
            keys.namespace()
        )));
    }
    for ((purpose, own), found) in PURPOSES.iter().zip(&own.0).zip(&found.0) {
        // a longer ring has newer keys
        let longer = own.starts_with(found.as_str());
        if !longer {
            key_ring::put(dir, purpose, found)?;
        }
    }
    mark(dir, &found.namespace())
}

fn marker_of(dir: &Path) -> PathBuf {
    dir.join("keys").join(MARKER)
}

fn marked(dir: &Path) -> bool {
    marker_of(dir).is_file()
}

fn mark(dir: &Path, namespace: &str) -> Result<(), StoreError> {
    let path = marker_of(dir);
    if fs::read_to_string(&path).is_ok_and(|text| text.trim() == namespace) {
        return Ok(());
    }
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "{namespace}")?;
        file.sync_all()?;
        File::open(dir.join("keys"))?.sync_all()
    };
    write().map_err(|source| StoreError::Io { doing: format!("writing `{}`", path.display()), source })
}

/// Whether anything lies in a directory that depends on its secrets.
fn has_data(dir: &Path) -> bool {
    let segments = fs::read_dir(dir.join("log")).into_iter().flatten().flatten();
    dir.join("rapport.redb").exists() || segments.into_iter().next().is_some()
}

/// Puts the secrets back where Redis lost them; false when others are there, so
/// that nothing of this replica may go there.
///
/// # Errors
/// Redis is away, or what is there cannot be read.
pub(super) async fn keep(rings: &Rings, remote: &super::Remote, deadline: Instant) -> Result<bool, Outage> {
    match rings.exchange(&remote.client, (&remote.keys, remote.secret.as_ref()), deadline).await {
        Ok(found) => Ok(rings.agrees(&found)),
        Err(Missed::Away(outage)) => Err(outage),
        Err(Missed::Wrong(error)) => {
            tracing::error!(%error, "the secrets in redis cannot be read");
            Ok(false)
        }
    }
}

/// Runs to its end on a thread of its own, whatever runtime the caller is on.
pub(super) fn on_runtime<T: Send>(future: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
    let failed = |source| StoreError::Io { doing: "starting a thread for redis".to_owned(), source };
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let done = runtime.block_on(future);
            // a resolver that hangs holds nobody back
            runtime.shutdown_background();
            done
        };
        let thread = std::thread::Builder::new().name("rapport-joining".to_owned()).spawn_scoped(scope, run);
        thread.map_err(failed)?.join().unwrap_or(Err(StoreError::Closed))
    })
}
