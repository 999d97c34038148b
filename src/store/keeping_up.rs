//! Writes wait where the embedded store falls far behind the log, so that what
//! is in memory alone stays bounded.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::sync::MutexGuard;

use super::Store;

/// Log records not in the embedded store with which a write waits. Streams of
/// events wait sooner, so that single writes need not.
const UNMATERIALISED_MAX: u64 = 200_000;
/// How often a write looks whether the store has caught up.
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Store {
    /// Waits until the embedded store has caught up; not while it fails, for
    /// then the log alone says how much is taken. Writes go on in the order in
    /// which they came, as long as each holds what is answered until it is sent.
    pub(super) async fn keep_up(&self) -> MutexGuard<'_, ()> {
        self.keep_below(UNMATERIALISED_MAX).await
    }

    /// The same with so many records.
    pub(super) async fn keep_below(&self, records: u64) -> MutexGuard<'_, ()> {
        let turn = self.shared.write_turn.lock().await;
        let mut waited = false;
        while self.unmaterialised() >= records && self.healthy() {
            if !std::mem::replace(&mut waited, true) {
                self.shared.counters.writes_waited.fetch_add(1, Relaxed);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        turn
    }
}
