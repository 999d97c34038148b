//! The client of Redis. Making one touches nothing; [`Client::keep`] connects
//! in the background, keeps the connection and replaces it. A call goes over the
//! one shared connection, ends by its deadline, and is never repeated.
//!
//! Reading order: `client`, `calls`, `keeper`, `link`, `breaker`, `outage`.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use redis::RedisResult;
use tokio::sync::{Notify, Semaphore, watch};

use super::{
    address::Address,
    breaker::{Breaker, BreakerState},
    link::{Link, Primary},
    outage::{Effect, Failure, Outage},
    settings::{Kind, Settings},
};
use crate::telemetry::{RedisMetrics, metrics};

/// The number of a connection: it rises with each new one. What was learnt over
/// an older one, and depends on nothing having been missed, may be stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// A connection that serves.
pub(super) struct Live {
    pub generation: Generation,
    pub link: Link,
    pub primary: Primary,
    pub made_at: Instant,
}

/// How it stands with Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What calls get.
    pub breaker: BreakerState,
    /// What is connected; none when nothing is.
    pub primary: Option<Primary>,
    /// The last connection's number; 0 when there was none.
    pub generation: Generation,
    /// What was last wrong; none when nothing is.
    pub outage: Option<Outage>,
}

impl Health {
    /// Whether calls are answered, as far as is known.
    pub fn is_up(&self) -> bool {
        self.breaker == BreakerState::Closed && self.primary.is_some()
    }
}

/// A client of Redis. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub address: Address,
    pub settings: Settings,
    pub metrics: RedisMetrics,
    pub live: ArcSwapOption<Live>,
    breaker: Mutex<Breaker>,
    /// Whether the breaker is closed and has nothing to forget: then no call
    /// looks at it.
    quiet: AtomicBool,
    permits: Semaphore,
    generation: watch::Sender<Generation>,
    /// Changes when a connection was made or the breaker opened.
    stirred: watch::Sender<u64>,
    outage: Mutex<Option<Outage>>,
    /// Calls the keeper.
    pub wake: Notify,
    attempts: AtomicU64,
}

impl Client {
    /// A client of an address. Touches nothing: run [`Client::keep`].
    pub fn new(address: Address, settings: Settings) -> Self {
        let results = || ["ok", Failure::MISTAKE].into_iter().chain(Outage::ALL.into_iter().map(Outage::name));
        Self(Arc::new(Shared {
            metrics: metrics().redis(&Kind::NAMES, &results().collect::<Vec<_>>()),
            live: ArcSwapOption::empty(),
            breaker: Mutex::new(Breaker::new(settings.breaker())),
            quiet: AtomicBool::new(true),
            permits: Semaphore::new(settings.in_flight_max.min(Semaphore::MAX_PERMITS)),
            generation: watch::Sender::new(Generation(0)),
            stirred: watch::Sender::new(0),
            outage: Mutex::new(None),
            wake: Notify::new(),
            attempts: AtomicU64::new(0),
            address,
            settings,
        }))
    }

    /// Where Redis is.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// The number of the last connection.
    pub fn generation(&self) -> Generation {
        *self.0.generation.borrow()
    }

    /// Tells of each new connection.
    pub fn generations(&self) -> watch::Receiver<Generation> {
        self.0.generation.subscribe()
    }

    /// How it stands with Redis.
    pub fn health(&self) -> Health {
        Health {
            breaker: self.0.breaker().state(),
            primary: self.0.live.load().as_ref().map(|live| live.primary.clone()),
            generation: self.generation(),
            outage: *self.0.outage.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Whether calls are let through and something is connected. Costs no more
    /// than reading memory.
    pub fn serves(&self) -> bool {
        let closed = self.0.quiet.load(Acquire) || self.0.breaker().state() == BreakerState::Closed;
        closed && self.0.live.load().is_some()
    }

    /// Attempts to connect since the start.
    pub fn connection_attempts(&self) -> u64 {
        self.0.attempts.load(Relaxed)
    }

    /// One call: bounded in number and time, counted, told to the breaker.
    pub(super) async fn run<T, F: Future<Output = RedisResult<T>>>(
        &self,
        kind: Kind,
        deadline: Instant,
        send: impl FnOnce(Link) -> F,
    ) -> Result<T, Failure>
    where
        T: Answer,
    {
        let (shared, begun) = (&*self.0, Instant::now());
        let result = match shared.permits.try_acquire() {
            Err(_) => Err(Outage::Busy.into()),
            Ok(_permit) => {
                let _counted = shared.metrics.begin();
                shared.attempt(deadline.min(begun + shared.settings.call_max), send).await
            }
        };
        let failure = result.as_ref().err().map_or("ok", Failure::name);
        shared.metrics.call(kind as usize, failure, begun.elapsed());
        result
    }
}

/// What a call brings: a value, or an error reply that came as one.
pub(super) trait Answer: Sized {
    /// The error reply in it that says most about the connection.
    fn failure(&self) -> Option<Failure>;
    /// The answer, or the failure where the whole of it is one.
    fn checked(self) -> Result<Self, Failure>;
}

impl Shared {
    async fn attempt<T: Answer, F: Future<Output = RedisResult<T>>>(
        &self,
        deadline: Instant,
        send: impl FnOnce(Link) -> F,
    ) -> Result<T, Failure> {
        let live = self.connected(deadline).await?;
        let sent_at = Instant::now();
        if sent_at >= deadline {
            return Err(Outage::Timeout.into());
        }
        match tokio::time::timeout_at(deadline.into(), send(live.link.clone())).await {
            Err(_) => {
                if sent_at.elapsed() >= self.settings.timeout_counts_from {
                    self.outage(live.generation, Outage::Timeout);
                }
                Err(Outage::Timeout.into())
            }
            Ok(Err(error)) => {
                let failure = Failure::of(&error);
                self.judge(live.generation, Some(&failure));
                Err(failure)
            }
            Ok(Ok(answer)) => {
                self.judge(live.generation, answer.failure().as_ref());
                answer.checked()
            }
        }
    }

    /// The connection; waits for one while the breaker is closed.
    async fn connected(&self, deadline: Instant) -> Result<Arc<Live>, Outage> {
        if let Some(live) = self.serving()? {
            return Ok(live);
        }
        let mut stirred = self.stirred.subscribe();
        let wait = async {
            loop {
                if let Some(live) = self.serving()? {
                    return Ok(live);
                }
                // INVARIANT: the sender lives as long as `self`
                stirred.changed().await.ok();
            }
        };
        tokio::time::timeout_at(deadline.into(), wait).await.unwrap_or(Err(Outage::Timeout))
    }

    fn serving(&self) -> Result<Option<Arc<Live>>, Outage> {
        if !self.quiet.load(Acquire) && self.breaker().state() != BreakerState::Closed {
            return Err(Outage::Open);
        }
        Ok(self.live.load_full())
    }

    /// Tells the breaker how a call ended.
    pub fn judge(&self, generation: Generation, failure: Option<&Failure>) {
        match failure.and_then(Failure::outage).filter(|outage| outage.effect() != Effect::None) {
            Some(outage) => self.outage(generation, outage),
            None if self.quiet.load(Relaxed) => {}
            None => self.change(Breaker::succeeded),
        }
    }

    /// An outage over a connection; nothing when that is not the one that
    /// serves, for it was dealt with.
    fn outage(&self, generation: Generation, outage: Outage) {
        let now = Instant::now();
        if self.serving_generation() != Some(generation) {
            return;
        }
        match outage.effect() {
            Effect::None => {}
            Effect::Replace => self.lose(generation, outage, now),
            Effect::Count => {
                if self.change(|breaker| breaker.failed(now)) {
                    self.opened(outage);
                    if outage == Outage::Timeout {
                        self.drop_link(generation);
                    }
                    self.wake.notify_one();
                }
            }
        }
    }

    /// Gives a connection up. Calls wait for the next, or are refused when it
    /// was new: then connecting helps little, and not at once.
    pub fn lose(&self, generation: Generation, outage: Outage, now: Instant) {
        let Some(live) = self.drop_link(generation) else { return };
        tracing::warn!(outage = outage.name(), "the connection to redis is of no more use");
        let again_at = live.made_at + self.settings.retry_interval;
        if again_at > now {
            self.change(|breaker| breaker.open(again_at));
            self.opened(outage);
        }
        self.wake.notify_one();
    }

    fn serving_generation(&self) -> Option<Generation> {
        self.live.load().as_ref().map(|live| live.generation)
    }

    /// Takes the connection out of service; none when another serves.
    pub fn drop_link(&self, generation: Generation) -> Option<Arc<Live>> {
        let live = self.live.load_full().filter(|live| live.generation == generation)?;
        let before = self.live.compare_and_swap(&live, None);
        before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &live)).then_some(live)
    }

    /// Remembers why the breaker opened and wakes who waits for a connection.
    pub fn opened(&self, outage: Outage) {
        let before = self.outage.lock().unwrap_or_else(PoisonError::into_inner).replace(outage);
        if before.is_none() {
            tracing::warn!(outage = outage.name(), address = %self.address, "redis is out of reach");
        }
        self.stir();
    }

    /// Puts a new connection into service.
    pub fn publish(&self, link: Link, primary: Primary) {
        let generation = Generation(self.generation.borrow().0 + 1);
        let server = primary.node.as_ref().map_or_else(|| self.address.to_string(), ToString::to_string);
        tracing::info!(server, run_id = primary.run_id.as_deref(), generation = generation.0, "connected to redis");
        // told before calls go over it: who may hold something stale drops it first
        self.generation.send_replace(generation);
        self.live.store(Some(Arc::new(Live { generation, link, primary, made_at: Instant::now() })));
        self.recovered();
    }

    /// Closes the breaker.
    pub fn recovered(&self) {
        self.change(Breaker::probe_succeeded);
        let before = self.outage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(outage) = before {
            tracing::info!(outage = outage.name(), "redis is back");
        }
        self.stir();
    }

    /// Counts an attempt to connect.
    pub fn attempted(&self) {
        self.attempts.fetch_add(1, Relaxed);
    }

    fn stir(&self) {
        self.stirred.send_modify(|times| *times = times.wrapping_add(1));
    }

    pub fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the breaker and what is told of it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker();
        let before = breaker.state();
        let changed = change(&mut breaker);
        self.quiet.store(breaker.is_quiet(), Release);
        if breaker.state() != before {
            self.metrics.breaker(breaker.state() as usize);
        }
        changed
    }
}
