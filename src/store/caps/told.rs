//! Up to where of the log Redis was told what was seen. A process that was killed,
//! or that had no room for what it was to tell, tells everything since then again,
//! whichever replica decided it: telling it twice changes nothing.

use std::{
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    domain::{Timestamp, time::DAY_US},
    rules::Ruleset,
    store::{
        Store, StoreError, blocking, frames, history,
        log::{LogReader, LogRecord, RecordKind},
        shared::Shared,
    },
};

use super::{
    Caps,
    lane::LANE_LEN_MAX,
    lease::BudgetLease,
    settle::{How, Told, interaction_of, is_exact},
};

/// The file that holds it, below the data directory.
const FILE: &str = "told";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Until it is begun again when the log could not be read.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Most outcomes that are read at a time.
const PIECE_LEN_MAX: usize = 512;
/// Most records that are read at a time.
const PIECE_RECORDS_MAX: usize = 16_384;
/// How far back is looked where nothing says up to where was told, at most,
/// microseconds.
const LOOKED_BACK_US_MAX: i64 = DAY_US;

/// How many batches are under way, of those that came before the last look and of
/// those that came after it.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    now: usize,
    batches: [usize; 2],
}

/// A batch on its way to the log, until what it tells was heard.
pub(super) struct UnderWay {
    caps: Arc<Caps>,
    epoch: usize,
}

impl UnderWay {
    /// INVARIANT: begun before the writer has the batch.
    pub fn begin(caps: &Arc<Caps>) -> Self {
        let mut epochs = caps.epochs();
        let epoch = epochs.now;
        epochs.batches[epoch] += 1;
        drop(epochs);
        Self { caps: Arc::clone(caps), epoch }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.caps.epochs().batches[self.epoch] -= 1;
    }
}

/// What was queued at a moment.
struct Queued {
    lanes: Vec<u64>,
    budgets: Vec<(Arc<BudgetLease>, u64)>,
}

impl Caps {
    fn epochs(&self) -> std::sync::MutexGuard<'_, Epochs> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything was heard that was on its way to the log; false when
    /// something of it was dropped.
    async fn all_heard(&self) -> bool {
        let before = {
            let mut epochs = self.epochs();
            let before = epochs.now;
            epochs.now = 1 - before;
            before
        };
        while self.epochs().batches[before] > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let queued = self.queued();
        while !self.owes.load(Relaxed) && !self.was_told(&queued) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        !self.owes.load(Relaxed)
    }

    fn queued(&self) -> Queued {
        let budgets = self.budgets.read().unwrap_or_else(PoisonError::into_inner);
        let budgets = budgets.values().map(|lease| (Arc::clone(lease), lease.lock().queued())).collect();
        Queued { lanes: self.lanes.iter().map(super::Lane::queued).collect(), budgets }
    }

    fn was_told(&self, queued: &Queued) -> bool {
        let mut lanes = self.lanes.iter().zip(&queued.lanes);
        lanes.all(|(lane, queued)| lane.was_done(*queued))
            && queued.budgets.iter().all(|(lease, queued)| lease.lock().was_told(*queued))
    }

    /// Waits until there is room for a piece of the log.
    async fn has_room(&self) {
        while self.lanes.iter().any(|lane| lane.len() > LANE_LEN_MAX / 2) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Store {
    /// Keeps up to where Redis was told what was seen, and tells again what it was
    /// not told for sure: at the start, and when there was no room for it. Never
    /// ends; at once when this process is alone.
    pub async fn keep_told(&self, now: impl Fn() -> Timestamp) {
        let Some(caps) = self.caps.as_ref() else { return };
        let path = self.shared.config.dir.join(FILE);
        // what the log lost is written anew
        let mut upto = read(&path).map(|upto| upto.min(self.shared.replicas.applied_now()));
        caps.owes.store(true, Relaxed);
        loop {
            if caps.owes.swap(false, Relaxed) {
                // the writer says what it applied a moment after it answered
                tokio::time::sleep(LOOK_EVERY).await;
                if let Err(error) = self.tell_again(caps, upto, now()).await {
                    tracing::error!(%error, "what was seen could not be told to redis again; it is tried again");
                    caps.owes.store(true, Relaxed);
                    tokio::time::sleep(AGAIN_AFTER).await;
                    continue;
                }
            }
            let applied = self.shared.replicas.applied_now();
            if upto != Some(applied) && caps.all_heard().await {
                upto = Some(applied);
                let path = path.clone();
                // an older one tells more again than it must
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || write(&path, applied)).await {
                    tracing::warn!(%error, "up to where redis was told what was seen could not be kept");
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn tell_again(&self, caps: &Arc<Caps>, upto: Option<u64>, now: Timestamp) -> Result<(), StoreError> {
        let (until, begin) = (self.shared.replicas.applied_now(), upto.unwrap_or(0));
        let Some(rules) = caps.rules.load_full().filter(|rules| begin < until && has_exact(rules)) else {
            return Ok(());
        };
        let reserve_us = rules.channels.iter().map(|channel| channel.reserve_us).max().unwrap_or(0);
        let from = now.plus_us(-reserve_us.min(LOOKED_BACK_US_MAX));
        let from = if upto.is_some() { Timestamp(i64::MIN) } else { from };
        let dir = history::log_dir(&self.shared.config.dir);
        let reader = LogReader::open(&dir, begin.saturating_add(1))?;
        let (shared, caps) = (Arc::clone(&self.shared), Arc::clone(caps));
        let mut again = Again { shared, caps, rules, reader, seen: begin, until, from };
        while again.seen < again.until {
            again.caps.has_room().await;
            again = blocking(move || {
                again.tell_piece()?;
                Ok(again)
            })
            .await?;
        }
        Ok(())
    }
}

/// What is told again of the log.
struct Again {
    shared: Arc<Shared>,
    caps: Arc<Caps>,
    rules: Arc<Ruleset>,
    reader: LogReader,
    /// The last sequence that was read.
    seen: u64,
    until: u64,
    /// Nothing that was written before.
    from: Timestamp,
}

impl Again {
    fn tell_piece(&mut self) -> Result<(), StoreError> {
        let (mut told, mut records) = (0, 0);
        while told < PIECE_LEN_MAX && records < PIECE_RECORDS_MAX {
            let Some(record) = self.reader.next()?.filter(|record| record.sequence <= self.until) else {
                self.seen = self.until;
                return Ok(());
            };
            records += 1;
            self.seen = record.sequence;
            if record.kind == RecordKind::Event
                && record.time >= self.from
                && tell_record(&self.shared, (&self.caps, &self.rules), &record)?
            {
                told += 1;
            }
        }
        Ok(())
    }
}

/// Tells the outcome of a record again; whether there was one that is counted.
fn tell_record(shared: &Shared, (caps, rules): (&Caps, &Ruleset), record: &LogRecord<'_>) -> Result<bool, StoreError> {
    let head = frames::event_head(record)?;
    if head.outcome.is_none() {
        return Ok(false);
    }
    // of who was erased there is nothing to tell
    let Some(key) = history::data_key(shared, head.customer)? else { return Ok(false) };
    let event = frames::event_body(record, &key)?;
    let Some(told) = Told::of(&event).filter(|told| told.is_counted(rules)) else { return Ok(false) };
    // what was reached before decides what a cancellation gives back
    let hot = head.customer.map(|key| shared.load(key)).transpose()?.flatten();
    let customer = hot.as_ref().map(|hot| hot.profile.key);
    caps.heard(std::iter::once((told, customer, How::Again)), |_, of| {
        interaction_of(&hot.as_ref()?.profile, of).copied()
    });
    Ok(true)
}

/// Whether anything is exact.
fn has_exact(rules: &Ruleset) -> bool {
    rules.offers.iter().any(|offer| is_exact(rules, offer))
}

fn read(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Replaces the file as a whole. Not synced: what is older tells more again.
fn write(path: &Path, upto: u64) -> std::io::Result<()> {
    let next = path.with_extension("new");
    std::fs::write(&next, format!("{upto}\n"))?;
    std::fs::rename(&next, path)
}
