//! When the writer tells the others what the tallies have become.

use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::domain::Tallies;

use super::{codec::TalliesDelta, group::Changed, overlay::Layer, writer::Writer};

/// The models see a change after this time at most.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// Counts that no model sees are published after this time.
const PUBLISH_COUNTS_EVERY: Duration = Duration::from_secs(1);
/// How often a log without room is tried again.
const RETRY_FULL_EVERY: Duration = Duration::from_millis(100);

impl Writer {
    /// When to wake without a command. INVARIANT: `None` when idle.
    pub(super) fn due_in(&self) -> Option<Duration> {
        if self.shared.log_full.load(Relaxed) {
            return Some(RETRY_FULL_EVERY);
        }
        if self.changed.is_empty() && self.eligible.is_empty() {
            return None;
        }
        let every = if self.changed.rates { PUBLISH_EVERY } else { PUBLISH_COUNTS_EVERY };
        Some(every.saturating_sub(self.published_at.elapsed()))
    }

    pub(super) fn publish_when_due(&mut self) {
        let waits = self.failed_at.is_some_and(|at| at.elapsed() < RETRY_FULL_EVERY);
        if self.shared.log_full.load(Relaxed) && !waits && self.appender.has_room(&self.shared) {
            self.shared.log_full.store(false, Relaxed);
        }
        if self.due_in().is_some_and(|wait| wait.is_zero()) {
            self.publish(false);
        }
    }

    /// Brings the counts of eligible pairs into the tallies, at most once per
    /// [`PUBLISH_COUNTS_EVERY`]: every decision touches most pairs, so that
    /// doing it with every version would make each as large as all tallies.
    fn fold_eligible(&mut self, closing: bool) {
        let due = closing || self.counted_at.elapsed() >= PUBLISH_COUNTS_EVERY;
        if !due || self.eligible.is_empty() {
            return;
        }
        self.counted_at = Instant::now();
        let mut stored = Tallies { offers: Default::default(), ..self.tallies.clone() };
        for (pair, count) in self.eligible.take() {
            let tally = self.tallies.offers.entry(pair).or_default();
            tally.eligible += count;
            stored.offers.insert(pair, *tally);
            self.changed.pairs.insert(pair);
        }
        // what is shown must be in the log: decisions do not tell it again
        self.changed.rates = true;
        self.store_counts(self.appender.log.last_sequence(), stored);
    }

    /// Hands counts to the embedded store, with what the log has up to there.
    fn store_counts(&self, sequence: u64, tallies: Tallies) {
        let keys_made = self.shared.journals.made();
        // a tail of the log that was lost may be in the embedded store
        let sequence = sequence.max(self.shared.materialised.load(Relaxed));
        self.shared.overlay.add(Layer { sequence, tallies, keys_made, ..Layer::default() });
    }

    /// Publishes the tallies: as a new version when the models would see the
    /// change, which then stands in the log first.
    pub fn publish(&mut self, closing: bool) {
        self.published_at = Instant::now();
        self.fold_eligible(closing);
        if self.changed.is_empty() || (self.changed.rates && !self.publish_version()) {
            return;
        }
        self.changed = Changed::default();
        self.watch.send_replace(Arc::new(self.tallies.clone()));
    }

    /// Puts a new version in the log; false when it has no room.
    fn publish_version(&mut self) -> bool {
        if !self.appender.has_room(&self.shared) {
            return false;
        }
        let before = Arc::clone(&self.appender.published);
        let next = Arc::new(Tallies { version: self.tallies.version + 1, ..self.tallies.clone() });
        self.appender.delta(Arc::clone(&next), &self.changed.pairs, self.shared.latest());
        let Ok(written) = self.appender.write(&self.shared) else {
            self.appender.published = before;
            return false;
        };
        self.tallies.version = next.version;
        self.versions.add_delta(TalliesDelta::of(&next, &self.changed.pairs), &next);
        self.store_counts(written.last_sequence, Tallies { offers: Default::default(), ..self.tallies.clone() });
        true
    }
}
