//! The tasks by which replicas share what they write.

use std::{sync::Arc, time::Duration};

use crate::store::{Presence, Receipt, Seen, caps::Caps};

use super::{App, token};

/// The longest that a question waits for what its token names.
const SEEN_WAIT: Duration = Duration::from_millis(250);
/// Until a recount that failed is tried again.
const RECOUNT_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl App {
    /// The token of a state of a customer: of what this replica has, or of the
    /// customer's version when it is alone. Empty without a customer.
    pub(super) fn token_of(&self, version: Option<u64>, sequence: Option<u64>) -> String {
        match self.store.seen(sequence) {
            Some(seen) if version.is_some() => token::of_seen(&seen),
            _ => token::of_version(version),
        }
    }

    /// The token of what was written.
    pub(super) fn token_of_receipt(&self, receipt: &Receipt) -> String {
        let sequence = Some(receipt.sequence).filter(|sequence| *sequence > 0);
        self.token_of(receipt.customer.map(|_| receipt.version), sequence)
    }

    /// Waits until this replica has what somebody saw, as long as there is time
    /// and Redis was there a moment ago; whether it has.
    pub(super) async fn until_seen(&self, seen: &Seen, at_most: Duration) -> bool {
        if self.store.has_seen(seen) {
            return true;
        }
        self.store.wait_seen(seen, at_most.min(SEEN_WAIT)).await
    }

    /// Whether what is known here may lack what others wrote for certain reasons:
    /// entries of theirs were missing, and not everybody was read again yet.
    pub(super) fn lacks_entries(&self) -> bool {
        self.store.presence() == Presence::Joining && self.store.is_joining_again()
    }

    /// Ships what is written to Redis, until the service stops.
    pub async fn ship(self: Arc<Self>) {
        self.store.ship().await;
    }

    /// Takes in what other replicas write, until the service stops.
    pub async fn take_in(self: Arc<Self>) {
        self.store.take_in().await;
    }

    /// Keeps exact caps and budgets with Redis, until the service stops.
    pub async fn keep_caps(self: Arc<Self>) {
        let Some(caps) = self.store.caps() else { return };
        let told = self.store.keep_told(|| self.now());
        tokio::join!(caps.keep(|| self.store.members()), self.recount_lost(caps), told);
    }

    /// Counts again what another primary of Redis lost, after each failover.
    async fn recount_lost(&self, caps: &Caps) {
        let (mut failovers, mut seen) = (self.store.failovers(), 0);
        loop {
            let (count, since) = {
                let told = failovers.borrow_and_update();
                (told.count, told.since(seen))
            };
            match since {
                None if failovers.changed().await.is_err() => return,
                None => {}
                Some(since) => match caps.recount(since, self.now()).await {
                    Ok(_) => seen = count,
                    Err(error) => {
                        tracing::warn!(%error, "what a failover lost could not be counted again yet");
                        tokio::time::sleep(RECOUNT_AGAIN_AFTER).await;
                    }
                },
            }
        }
    }

    /// Gives Redis what it lost, until the service stops.
    pub async fn refill(self: Arc<Self>) {
        self.store.refill().await;
    }

    /// Reads everybody from Redis whenever that is needed, until the service stops.
    pub async fn join(self: Arc<Self>) {
        self.store.join().await;
    }
}
