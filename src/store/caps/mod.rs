//! Exact caps and budgets over all replicas. Redis counts them, by its own clock;
//! what a replica may grant without asking it has leased. One of a process that
//! is alone is exact in [`Ledger`](super::Ledger).
//!
//! Reading order: `person` (what a decision claims for a customer), `claim` (the
//! call), `settle` and `lane` (what follows, behind the answer), `told` (up to where
//! the log was told), `moves` (merges
//! and erasures), `lease` and `budgets` (units of budgets), `journal` (after a
//! failover).

mod budgets;
mod claim;
mod journal;
mod lane;
mod lease;
mod moves;
mod person;
mod settle;
mod told;

use std::collections::{HashMap, VecDeque};
use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::{
    domain::{CustomerKey, OfferId},
    rules::{Ruleset, WhenUnknown},
    telemetry::{CapMetrics, metrics},
};

use super::{RedisPlace, Store, Submission};
use journal::Journal;
use lane::Lane;
use lease::BudgetLease;

pub use budgets::{ExactBudget, Took};
pub use claim::Verdict;
pub use person::{PersonClaim, Winning};
use settle::{Telling, Told};
use told::UnderWay;

/// Queues of what follows claims; each keeps the order of its customers.
const LANES: usize = 4;
/// Between two looks at the leases.
const TICK: Duration = Duration::from_millis(250);

/// The caps and budgets that replicas share, as this replica has them.
pub struct Caps {
    remote: RedisPlace,
    /// Who leases: the replica since this start.
    lessee: String,
    /// What says which caps a presentation falls on.
    rules: ArcSwapOption<Ruleset>,
    /// Living replicas, at least 1.
    replicas: AtomicU32,
    metrics: CapMetrics,
    lanes: [Lane; LANES],
    budgets: RwLock<HashMap<OfferId, Arc<BudgetLease>>>,
    /// Wakes who looks at the leases.
    stirred: Notify,
    journal: Mutex<Journal>,
    /// Merges whose claims are moved again.
    moved: Mutex<VecDeque<(Instant, lane::Task)>>,
    /// Outcomes on their way to the log.
    under_way: Mutex<told::Epochs>,
    /// Whether something that was seen could not be queued.
    owes: AtomicBool,
}

impl Caps {
    /// Touches no network.
    pub fn new(remote: RedisPlace) -> Self {
        // another start is another lessee: what the one before granted it cannot know
        let start = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Self {
            lessee: format!("{:x}-{start:x}", remote.replica.0),
            remote,
            rules: ArcSwapOption::empty(),
            replicas: AtomicU32::new(1),
            metrics: metrics().caps(),
            lanes: std::array::from_fn(|_| Lane::default()),
            budgets: RwLock::default(),
            stirred: Notify::new(),
            journal: Mutex::default(),
            moved: Mutex::default(),
            under_way: Mutex::default(),
            owes: AtomicBool::new(false),
        }
    }

    /// Goes by these rules from now on.
    pub fn go_by(&self, ruleset: &Arc<Ruleset>) {
        self.rules.store(Some(Arc::clone(ruleset)));
    }

    /// Settles what follows claims and keeps the leases, as long as it is polled;
    /// `members` tells how many replicas live.
    pub async fn keep(&self, members: impl Fn() -> u32) {
        let lanes = async {
            let [one, two, three, four] = &self.lanes;
            tokio::join!(self.drain(one), self.drain(two), self.drain(three), self.drain(four));
        };
        let leases = async {
            loop {
                self.replicas.store(members().max(1), Relaxed);
                self.move_again();
                self.look_at_leases().await;
                self.metrics.waiting(self.lanes.iter().map(Lane::len).sum());
                // woken early when a lease runs low
                let _ = tokio::time::timeout(TICK, self.stirred.notified()).await;
            }
        };
        tokio::join!(lanes, leases);
    }

    /// Gives the leases back and lets what waits be told, for so long: a replica that
    /// stops need not be waited for.
    pub async fn close(&self, within: Duration) {
        let until = Instant::now() + within;
        self.give_leases_back(until).await;
        while self.lanes.iter().any(|lane| lane.len() > 0) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Living replicas as it was last told, at least 1.
    pub fn replicas(&self) -> u32 {
        self.replicas.load(Relaxed)
    }

    /// Counts a place that nobody could say of whether there is room.
    pub fn count_unknown(&self, policy: WhenUnknown) {
        self.metrics.unknown(policy.name());
    }

    fn lane(&self, customer: CustomerKey) -> &Lane {
        // a keyed hash is spread evenly already
        &self.lanes[(customer.0 as usize) % LANES]
    }

    fn lock_journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Exact caps and budgets over all replicas; none when this process is alone.
    pub fn caps(&self) -> Option<&Arc<Caps>> {
        self.caps.as_ref()
    }

    /// The outcomes of a batch, where claims may follow them.
    pub(super) fn telling(&self, batch: &[Submission]) -> Option<(&Arc<Caps>, Telling)> {
        let caps = self.caps.as_ref()?;
        let told: Vec<_> = batch.iter().map(|submission| Told::of(&submission.event)).collect();
        let has_any = told.iter().any(Option::is_some);
        has_any.then(|| (caps, Telling { told, _under_way: UnderWay::begin(caps) }))
    }
}
