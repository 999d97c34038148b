//! A look at every customer in the background: sizes and overlaps of segments,
//! who entered and left them, quantiles, the model of repeat purchase.
//!
//! One thread that steps back, a piece of customers at a time. What it found
//! goes into the snapshot; it is at rest before any decision reads it.

mod members;
mod segments;

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::{
    domain::{CustomerKey, Timestamp, time::SECOND_US},
    learn::Buyers,
    predict::{Analysis, BaseModel, Bought, SegmentFound},
    store::StoreError,
    telemetry::{SweepResult, Swept},
};

use super::{App, gently};
use members::Bits;
use segments::Counter;

/// Customers read and written together.
const PIECE_LEN: usize = 1_024;
/// How long a service runs at least before the first look of its own accord.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// How long it is waited for what is in memory to be at rest, and how often it
/// is looked.
const SETTLE_MAX: Duration = Duration::from_secs(5);
const SETTLE_LOOK: Duration = Duration::from_millis(10);

/// What is known of looks at every customer.
#[derive(Default)]
pub(super) struct Sweeps {
    /// Held while one runs.
    running: Mutex<()>,
    /// Whether one runs or is asked for.
    active: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
    wanted: Notify,
    latest: ArcSwapOption<Analysis>,
}

impl Sweeps {
    /// With what was found before a restart.
    pub fn after(latest: Option<Analysis>) -> Self {
        Self { latest: ArcSwapOption::from_pointee(latest), ..Self::default() }
    }
}

/// How a look goes.
#[derive(Clone, Debug, Default)]
pub struct SweepState {
    /// What the latest found; `None` before the first.
    pub latest: Option<Arc<Analysis>>,
    /// Whether one runs or is about to.
    pub running: bool,
    /// How far the one that runs is, 0 to 1.
    pub progress: f64,
}

/// Why a look did not end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The service stops.
    #[error("looking at every customer was stopped with the service")]
    Stopped,
    /// Another one runs.
    #[error("looking at every customer: another look runs already")]
    Running,
    /// The log takes nothing.
    #[error("looking at every customer: the log has no room for who entered and left segments; make room")]
    LogFull,
    /// The store failed.
    #[error("looking at every customer: {0}")]
    Store(#[from] StoreError),
}

impl App {
    /// The latest look and how the running one goes.
    pub fn sweep_state(&self) -> SweepState {
        let (done, total) = (self.sweeps.done.load(Relaxed), self.sweeps.total.load(Relaxed));
        let running = self.sweeps.active.load(Relaxed);
        let progress = if running && total > 0 { (done as f64 / total as f64).min(1.0) } else { 0.0 };
        SweepState { latest: self.sweeps.latest.load_full(), running, progress }
    }

    /// Asks for a look now; one that runs is enough.
    pub fn ask_for_sweep(&self) {
        if !self.sweeps.active.swap(true, Relaxed) {
            self.sweeps.wanted.notify_one();
        }
    }

    /// Ends a look at its next piece, and lets none begin.
    pub fn stop_sweeps(&self) {
        self.sweeps.stop.store(true, Relaxed);
        self.sweeps.wanted.notify_one();
    }

    /// Waits until no look runs. Blocking; call [`App::stop_sweeps`] first.
    pub fn wait_for_sweep(&self) {
        drop(self.sweeps.running.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Looks at everybody again and again until it is told to stop: so long
    /// after the one before, when asked, and soon after a start when there was
    /// none for so long. Without an interval only when asked.
    pub async fn keep_sweeping(self: Arc<Self>, every: Option<Duration>) {
        while !self.sweeps.stop.load(Relaxed) {
            match every.map(|every| self.next_sweep_in(every)) {
                Some(wait) => {
                    // asked for, or time is up: both look
                    let _ = tokio::time::timeout(wait, self.sweeps.wanted.notified()).await;
                }
                None => self.sweeps.wanted.notified().await,
            }
            if self.sweeps.stop.load(Relaxed) {
                return;
            }
            self.sweeps.active.store(true, Relaxed);
            let app = Arc::clone(&self);
            let result = gently::run(move || app.sweep()).await;
            self.sweeps.active.store(false, Relaxed);
            match result {
                Some(Ok(_) | Err(SweepError::Stopped | SweepError::Running)) => {}
                Some(Err(error)) => tracing::error!(%error, "the analysis of all customers failed; it is tried again"),
                None => self.metrics.panics.increment(1),
            }
        }
    }

    fn next_sweep_in(&self, every: Duration) -> Duration {
        let latest = self.sweeps.latest.load();
        let since_us = latest.as_ref().map(|latest| self.now().since_us(latest.at).max(0).unsigned_abs());
        let rest = since_us.map_or(Duration::ZERO, |us| every.saturating_sub(Duration::from_micros(us)));
        rest.max(FIRST_AFTER.min(every))
    }

    /// Looks at every customer. Blocking, for minutes where there are millions.
    ///
    /// # Errors
    /// The service stops, another look runs, the store or the log fail: then
    /// the one before counts on.
    pub fn sweep(&self) -> Result<Arc<Analysis>, SweepError> {
        let _running = match self.sweeps.running.try_lock() {
            Ok(running) => running,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(SweepError::Running),
        };
        let started = Instant::now();
        let swept = self.look_at_everybody(started);
        let result = match &swept {
            Ok(found) => {
                self.metrics.swept(&told(found));
                SweepResult::Done
            }
            Err(SweepError::Stopped) => SweepResult::Stopped,
            Err(_) => SweepResult::Failed,
        };
        self.metrics.sweep_ended(result);
        swept
    }

    fn look_at_everybody(&self, started: Instant) -> Result<Arc<Analysis>, SweepError> {
        self.settle();
        self.sweeps.done.store(0, Relaxed);
        self.sweeps.total.store(self.store.customers_at_rest()?, Relaxed);
        let (snapshot, now) = (self.current(), self.now());
        let rules = &snapshot.ruleset;
        let today = local_day(now, &rules.time_zone);
        let mut bits = Bits::begin(self.store.segment_names()?, rules.segments.iter().map(|segment| &*segment.name));
        self.store.save_segment_names(bits.names())?;
        let mut counter = Counter::new(&snapshot, &bits, now);
        let mut buyers = Buyers::default();
        let mut after = None;
        loop {
            if self.sweeps.stop.load(Relaxed) {
                return Err(SweepError::Stopped);
            }
            let looked = self.look_at_piece(after, &mut counter, &mut buyers)?;
            self.sweeps.done.fetch_add(looked.customers, Relaxed);
            match looked.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let found = self.found(counter, &buyers, (now, today));
        bits.end();
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let found = Analysis { elapsed_us, at: self.now(), ..found };
        self.store.save_analysis(&found, bits.names())?;
        // at rest: decisions may name it from here on
        let base = Arc::new(found.base);
        if base.version != snapshot.base.version {
            self.snapshot.rcu(|current| Arc::new(current.with_base(Arc::clone(&base))));
        }
        let found = Arc::new(found);
        self.sweeps.latest.store(Some(Arc::clone(&found)));
        Ok(found)
    }

    /// Lets what is in memory get to rest, so that a look sees it.
    fn settle(&self) {
        let started = Instant::now();
        self.store.hurry();
        while self.store.stats().unmaterialised > 0 && started.elapsed() < SETTLE_MAX {
            std::thread::sleep(SETTLE_LOOK);
        }
    }

    fn look_at_piece(
        &self,
        after: Option<CustomerKey>,
        counter: &mut Counter<'_>,
        buyers: &mut Buyers,
    ) -> Result<Looked, SweepError> {
        let piece = self.store.piece_after(after, PIECE_LEN)?;
        let (mut changes, mut members) = (Vec::new(), Vec::new());
        let mut before = piece.members.into_iter().peekable();
        let mut customers = 0;
        for key in &piece.keys {
            // whoever is no more has left without a word
            while let Some((gone, _)) = before.next_if(|(member, _)| member < key) {
                members.push((gone, Default::default()));
            }
            let was = before.next_if(|(member, _)| member == key).map(|(_, was)| was).unwrap_or_default();
            let Some(hot) = self.store.profile_quietly(*key)? else { continue };
            customers += 1;
            if let Some(bought) = Bought::of(&hot.profile) {
                buyers.add(*key, bought);
            }
            let is = counter.count(&hot.profile);
            if is != was {
                changes.extend(counter.changed(*key, &was, &is));
                members.push((*key, is));
            }
        }
        members.extend(before.map(|(gone, _)| (gone, Default::default())));
        self.tell(changes, &members)?;
        let last = piece.keys.last().copied().filter(|_| piece.keys.len() == PIECE_LEN);
        Ok(Looked { customers, last })
    }

    /// Puts changes in the log, then keeps them: after a crash in between they
    /// are told again.
    fn tell(
        &self,
        changes: Vec<crate::predict::SegmentsChanged>,
        members: &[(CustomerKey, crate::store::Membership)],
    ) -> Result<(), SweepError> {
        if !changes.is_empty() && !self.store.segments_changed(changes, self.now()) {
            return Err(SweepError::LogFull);
        }
        if !members.is_empty() {
            self.store.save_members(members)?;
        }
        Ok(())
    }

    /// What the look comes to. The version of what decisions read goes up only
    /// when it differs from the one before.
    fn found(&self, counter: Counter<'_>, buyers: &Buyers, (now, today): (Timestamp, i32)) -> Analysis {
        let described = buyers.describe(today);
        let (repeat, fitted, no_model) = match described.repeat {
            Ok((model, fitted)) => (Some(model), Some(fitted), None),
            Err(why) => {
                tracing::info!(why = why.text(), "there is no model of repeat purchase");
                (None, None, Some(why.text().into()))
            }
        };
        let before = *self.current().base;
        let same = before.version > 0 && (before.rfm, before.repeat) == (described.rfm, repeat);
        let base = match same {
            true => before,
            false => BaseModel { version: before.version + 1, observed_until: now, rfm: described.rfm, repeat },
        };
        let (customers, segments, overlaps) = counter.end();
        Analysis { customers, buyers: buyers.seen(), segments, overlaps, base, fitted, no_model, ..Analysis::default() }
    }
}

/// What metrics tell of a look.
fn told(found: &Analysis) -> Swept<'_> {
    let sum = |of: fn(&SegmentFound) -> u64| found.segments.iter().map(of).sum();
    Swept {
        elapsed_us: found.elapsed_us,
        customers: found.customers,
        at: found.at,
        changes: [sum(|segment| segment.entered), sum(|segment| segment.left)],
        segments: found.segments.iter().map(|segment| (&*segment.name, segment.customers)).collect(),
    }
}

/// How far a look has come.
struct Looked {
    customers: u64,
    /// Where the next piece begins; `None` when there is none.
    last: Option<CustomerKey>,
}

/// The calendar day of a moment in a time zone: days since 1970.
fn local_day(at: Timestamp, zone: &jiff::tz::TimeZone) -> i32 {
    let Ok(moment) = jiff::Timestamp::from_microsecond(at.0) else { return at.date().0 };
    let offset = zone.to_offset(moment).seconds();
    at.plus_us(i64::from(offset) * SECOND_US).date().0
}
