//! A client that is kept, and load on it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rapport::store::redis::{
    Address, Client, Failure, Outage, Settings,
    scripts::{COMPARE_AND_SET, Script},
};
use tokio::task::JoinHandle;

/// The deadline of a call under load.
pub const CALL: Duration = Duration::from_millis(100);
/// What a call may take above its deadline on a machine that is busy.
pub const SLACK: Duration = Duration::from_millis(1_500);
/// Calls work again so soon after a fault ends.
pub const BACK_AFTER: Duration = Duration::from_secs(2);
/// How long a test waits for what must happen.
const WAIT: Duration = Duration::from_secs(15);
/// Between two looks, and two calls of a task.
const PACE: Duration = Duration::from_millis(2);
/// Tasks that call at once.
const TASKS: usize = 8;

/// A script without keys that differ: it needs no state to answer.
static ECHO: Script = Script::new("echo", "return ARGV[1]");

/// A client and the task that keeps it.
pub struct Kept {
    pub client: Client,
    keeper: JoinHandle<()>,
}

impl Kept {
    /// A client of an address.
    pub fn at(url: &str) -> Self {
        Self::with(url, Settings::default())
    }

    /// A client of an address with settings of its own.
    pub fn with(url: &str, settings: Settings) -> Self {
        let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let client = Client::new(address, settings);
        Self { keeper: tokio::spawn(client.clone().keep()), client }
    }

    /// Whether the task that keeps it lives.
    pub fn is_kept(&self) -> bool {
        !self.keeper.is_finished()
    }

    /// Waits for a call that succeeds.
    pub async fn works(&self) {
        eventually("a call succeeds", || async { call(&self.client, 0).await.is_ok() }).await;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A deadline from now.
pub fn within(time: Duration) -> Instant {
    Instant::now() + time
}

/// Waits until something holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let until = within(WAIT);
    while !holds().await {
        assert!(Instant::now() < until, "{what}: not within {WAIT:?}");
        tokio::time::sleep(PACE).await;
    }
}

/// One call; reads, writes and scripts in turn.
async fn call(client: &Client, turn: usize) -> Result<(), Failure> {
    let deadline = within(CALL);
    match turn % 4 {
        0 => client.get(b"load", deadline).await.map(drop),
        1 => client.call(redis::cmd("SET").arg("load").arg(turn), deadline).await.map(drop),
        2 => client.script(&ECHO, &[], &[b"x"], deadline).await.map(drop),
        // loses every time but the first: a write script all the same
        _ => {
            client.script(&COMPARE_AND_SET, &[b"swap"], &[b"", b"12345678", b"", b"0", b"0"], deadline).await.map(drop)
        }
    }
}

/// A call that ended.
#[derive(Clone, Debug)]
pub struct Sample {
    pub begun: Instant,
    pub ended: Instant,
    pub failure: Option<Failure>,
}

/// Tasks that call without pause until it ends.
pub struct Load {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts calling.
    pub fn on(client: &Client) -> Self {
        let (stop, samples) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let task = |_| {
            let (client, stop, samples) = (client.clone(), Arc::clone(&stop), Arc::clone(&samples));
            tokio::spawn(async move {
                let mut turn = 0;
                while !stop.load(SeqCst) {
                    let begun = Instant::now();
                    let failure = call(&client, turn).await.err();
                    samples.lock().expect("samples").push(Sample { begun, ended: Instant::now(), failure });
                    turn += 1;
                    tokio::time::sleep(PACE).await;
                }
            })
        };
        Self { tasks: (0..TASKS).map(task).collect(), stop, samples }
    }

    /// What was called so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().expect("samples").clone()
    }

    /// Waits for a call that began after a moment and succeeded; how long after
    /// it that one ended.
    pub async fn back_after(&self, moment: Instant) -> Duration {
        let found = || self.samples().into_iter().find(|sample| sample.begun >= moment && sample.failure.is_none());
        eventually("a call succeeds again", || async { found().is_some() }).await;
        found().map_or(Duration::MAX, |sample| sample.ended - moment)
    }

    /// Waits for a call that failed with one of these after a moment; it may have
    /// begun before it.
    pub async fn fails_with(&self, moment: Instant, outages: &[Outage]) {
        let fits = |sample: &Sample| {
            let outage = sample.failure.as_ref().and_then(Failure::outage);
            sample.ended >= moment && outage.is_some_and(|outage| outages.contains(&outage))
        };
        eventually(&format!("a call fails with {outages:?}"), || async { self.samples().iter().any(fits) }).await;
    }

    /// Stops calling. Every call must have ended by its deadline, none as a
    /// mistake, and no task may have died.
    pub async fn end(self) -> Vec<Sample> {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            task.await.expect("a task that calls");
        }
        let samples = std::mem::take(&mut *self.samples.lock().expect("samples"));
        let longest = samples.iter().map(|sample| sample.ended - sample.begun).max().expect("calls");
        assert!(longest <= CALL + SLACK, "a call took {longest:?}");
        let mistake = samples.iter().find(|sample| matches!(sample.failure, Some(Failure::Mistake { .. })));
        assert!(mistake.is_none(), "{mistake:?}");
        samples
    }
}
