//! Giving Redis back what it lost: a customer whom this replica has and Redis has
//! not. What the customer holds is told by ids, so that it counts once when it is
//! shipped after all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::{CustomerKey, Event, EventId, Profile, time::DAY_US};

use super::super::{
    HotProfile, Remote, Store, StoreError, TIMELINE_READ_MAX, TimelineEntry, TimelineQuery, TimelineWhat,
    shared::Shared, timeline_pages, unions,
};
use super::{
    fold::{CALL, Fold, NotShipped},
    presence::Presence,
    state::State,
};

/// Events of a customer that are de-duplicated go back this far, microseconds.
const HELD_US: i64 = 7 * DAY_US;
/// Customers looked at in one step.
const PIECE_LEN: usize = 512;
/// Times a customer that changes is read again.
const READ_TRIES: usize = 8;
/// How long to wait when Redis does not answer.
const RETRY: Duration = Duration::from_millis(250);

/// What this replica has of a customer.
pub(super) struct Held {
    pub profile: Profile,
    pub ids: Vec<EventId>,
}

impl Shared {
    /// What this replica has of a customer, if there is one of this key. Blocking.
    pub(super) fn held(&self, key: CustomerKey) -> Result<Option<Held>, StoreError> {
        let mut ids = self.noted_ids(key)?;
        for _ in 0..READ_TRIES {
            let hot: Arc<HotProfile> = match self.hot.peek(key) {
                Some(hot) => hot,
                None => match self.find(key)? {
                    Some(unions::Found::Profile(hot)) => hot,
                    Some(unions::Found::Moved(_)) | None => return Ok(None),
                },
            };
            // what came in between is noted before the profile has it
            let again = self.noted_ids(key)?;
            if again == ids {
                return Ok(Some(Held { profile: hot.profile.clone(), ids }));
            }
            ids = again;
        }
        Ok(None)
    }

    /// The events of a customer that are noted, of the same time. Blocking.
    pub(super) fn noted_events(&self, key: CustomerKey) -> Result<Vec<Event>, StoreError> {
        let from = Some(self.latest().plus_us(-HELD_US));
        let query = TimelineQuery { customers: vec![key], before: None, from, len_max: TIMELINE_READ_MAX };
        let page = timeline_pages::read(self, &query, &|entry| matches!(entry.what, TimelineWhat::Event(_)))?;
        let event = |entry: TimelineEntry| match entry.what {
            TimelineWhat::Event(event) => Some(*event),
            _ => None,
        };
        Ok(page.entries.into_iter().filter_map(event).collect())
    }

    /// The ids of the events of a customer that are noted, of the time in which they are
    /// de-duplicated. Blocking.
    fn noted_ids(&self, key: CustomerKey) -> Result<Vec<EventId>, StoreError> {
        let waiting = self.overlay.timeline(key);
        let from = Some(self.latest().plus_us(-HELD_US));
        let query = TimelineQuery { customers: vec![key], before: None, from, len_max: TIMELINE_READ_MAX };
        let stored = self.mended(self.embedded.timeline_rows(key, &query, TIMELINE_READ_MAX))?;
        let mut ids: Vec<EventId> = stored.iter().map(|(place, _)| EventId(place.2)).collect();
        ids.extend(waiting.iter().map(|noted| EventId(noted.id)));
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

impl Store {
    /// Gives Redis what it lost, whenever it lost everything, until the service
    /// stops. To be run once, and again when it panics. Ends at once when there are
    /// no others.
    pub async fn refill(&self) {
        let Some(remote) = self.remote.clone() else { return };
        let state: &State = &self.shared.replicas;
        loop {
            state.refills.notified().await;
            if self.shared.followers.has_ended() {
                return;
            }
            // who lacks something itself gives nothing back
            while state.presence() != Presence::Whole || remote.is_foreign() {
                tokio::time::sleep(RETRY).await;
                if self.shared.followers.has_ended() {
                    return;
                }
            }
            loop {
                match self.give_back(&remote).await {
                    Ok(given) => {
                        tracing::info!(customers = given, "redis had lost everything: every customer is there again");
                        break;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "giving redis back what it lost");
                        tokio::time::sleep(RETRY).await;
                        if self.shared.followers.has_ended() {
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn give_back(&self, remote: &Remote) -> Result<usize, NotShipped> {
        let mut fold = Fold::new(remote.clone(), Arc::clone(&self.shared))?;
        self.hurry();
        let (mut after, mut given) = (None, 0);
        loop {
            let shared = Arc::clone(&self.shared);
            let piece = super::super::blocking(move || {
                let piece = shared.mended(shared.embedded.piece_after(after, PIECE_LEN))?;
                Ok(piece.keys)
            })
            .await?;
            for key in &piece {
                let mut asked = redis::cmd("EXISTS");
                asked.arg(remote.keys.profile(*key));
                let lies = remote.client.call(&asked, Instant::now() + CALL).await?;
                if lies == redis::Value::Int(0) && fold.restore(*key).await? {
                    given += 1;
                }
            }
            match piece.last() {
                Some(last) => after = Some(*last),
                None => return Ok(given),
            }
        }
    }
}
