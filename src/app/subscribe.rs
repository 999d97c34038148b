//! What happens, told in the order in which it was committed, to other systems.

use std::{sync::Arc, time::Duration, vec};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::time::Instant;

use crate::{
    domain::{CustomerKey, EventKind, EventTypeId, OutcomeSet, Timestamp},
    store::{ChangeKinds, Content, FOLLOWERS_MAX, Followed, Follower, NoFollow, Since},
};

use super::{App, AppError};

/// After so many records of no interest the cursor is told.
pub const SKIPPED_MAX: u64 = 1_000;
/// After this long at most the cursor is told, if it moved.
pub const CURSOR_EVERY: Duration = Duration::from_secs(5);

/// What somebody wants to be told.
#[derive(Clone, Debug)]
pub struct SubscribeInput {
    /// Where to begin.
    pub since: Since,
    /// Of these kinds.
    pub kinds: ChangeKinds,
    /// Of events and outcomes those of these types; `None` for all.
    pub types: Option<Types>,
    /// Whether to end once everything is told that is committed by now.
    pub until_now: bool,
}

/// Types of events and of outcomes.
#[derive(Clone, Debug, Default)]
pub struct Types {
    /// Of events.
    pub events: Vec<EventTypeId>,
    /// Of outcomes.
    pub outcomes: OutcomeSet,
}

impl Types {
    /// Whether something is told: what has no such type always is; what an
    /// erased one was is not known.
    fn take(&self, followed: &Followed) -> bool {
        match &followed.content {
            Some(Content::Event(event)) => match &event.kind {
                EventKind::Customer { event, .. } => self.events.contains(event),
                EventKind::Outcome { outcome, .. } => self.outcomes.has(*outcome),
                _ => true,
            },
            Some(_) => true,
            None => followed.kind == crate::store::ChangeKind::Decision,
        }
    }
}

/// What is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// Something happened.
    Change(Followed),
    /// Everything up to this cursor was told.
    Cursor {
        /// The last record that was looked at.
        sequence: u64,
        /// Its time, when there was one since the last message.
        time: Option<Timestamp>,
    },
}

/// Somebody who is told what happens, until dropped.
pub struct Subscription {
    app: Arc<App>,
    follower: Follower,
    types: Option<Types>,
    /// Where to end.
    until: Option<u64>,
    /// Read and not told yet.
    waiting: vec::IntoIter<Followed>,
    /// Records of no interest since the last message.
    skipped: u64,
    /// The time of the last record that was read.
    time: Option<Timestamp>,
    /// The last cursor that was told; `None` for none.
    told: Option<u64>,
    told_at: Instant,
}

impl App {
    /// Tells somebody what happens.
    ///
    /// # Errors
    /// Too many subscribe; the cursor is too old, or of something that has not
    /// happened; the service is about to stop.
    pub async fn subscribe(self: &Arc<Self>, input: SubscribeInput) -> Result<Subscription, AppError> {
        let follower = self.store.follow(input.since, input.kinds).await.map_err(refused)?;
        // who begins now is told where that is
        let told = (input.since != Since::Now).then(|| follower.seen());
        Ok(Subscription {
            app: Arc::clone(self),
            until: input.until_now.then(|| follower.newest()),
            follower,
            types: input.types,
            waiting: Vec::new().into_iter(),
            skipped: 0,
            time: None,
            told,
            told_at: Instant::now(),
        })
    }

    /// A customer's name for other systems: says nothing, and is always the
    /// same.
    pub fn outside_name(&self, customer: CustomerKey) -> String {
        URL_SAFE_NO_PAD.encode(self.store.outside_key(customer).to_be_bytes())
    }
}

fn refused(why: NoFollow) -> AppError {
    match why {
        NoFollow::TooMany => {
            AppError::Exhausted(format!("`{FOLLOWERS_MAX}` subscribe already: end one of them, or try again later"))
        }
        NoFollow::Ending => AppError::Unavailable("the service is shutting down; subscribe again later".to_owned()),
        NoFollow::TooOld { oldest } => AppError::OutOfRange(format!(
            "what comes next is no longer kept: go on with the cursor `{oldest}`, which is the oldest, and fetch what \
             is missing in another way; raise `log_bytes_max` to keep more"
        )),
        NoFollow::Ahead { newest } => {
            let why = format!("is of nothing that happened here: the newest cursor is `{newest}`");
            AppError::invalid("cursor", why)
        }
        NoFollow::Store(error) => AppError::Store(error),
    }
}

impl Subscription {
    /// Waits for what is told next; `None` once everything that was wanted is
    /// told. May be given up at any time: nothing is lost.
    ///
    /// # Errors
    /// What comes next is no longer kept; the log cannot be read; the service
    /// stops.
    pub async fn next(&mut self) -> Result<Option<Told>, AppError> {
        loop {
            if let Some(told) = self.told_next() {
                return Ok(Some(told));
            }
            if self.until.is_some_and(|until| self.follower.seen() >= until) {
                return Ok(None);
            }
            let due = self.told_at + CURSOR_EVERY;
            let app = Arc::clone(&self.app);
            match tokio::time::timeout_at(due, app.store.next_piece(&mut self.follower)).await {
                Ok(Ok(Some(piece))) => {
                    self.skipped += piece.skipped;
                    self.time = piece.time.or(self.time);
                    self.waiting = piece.records.into_iter();
                }
                Ok(Ok(None)) => return Err(refused(NoFollow::Ending)),
                Ok(Err(why)) => return Err(refused(why)),
                // nothing came; a cursor that moved was told before
                Err(_) => self.told_at = Instant::now(),
            }
        }
    }

    /// What is told of what was read.
    fn told_next(&mut self) -> Option<Told> {
        while let Some(followed) = self.waiting.next() {
            if self.types.as_ref().is_none_or(|types| types.take(&followed)) {
                self.note(followed.sequence);
                return Some(Told::Change(followed));
            }
            self.skipped += 1;
        }
        let sequence = self.follower.seen();
        let done = self.until.is_some_and(|until| sequence >= until);
        let due = done || self.skipped >= SKIPPED_MAX || self.told_at.elapsed() >= CURSOR_EVERY;
        let moved = self.told.is_none_or(|told| told < sequence);
        if moved && (due || self.told.is_none()) {
            self.note(sequence);
            return Some(Told::Cursor { sequence, time: self.time });
        }
        None
    }

    fn note(&mut self, sequence: u64) {
        self.told = Some(sequence);
        self.skipped = 0;
        self.told_at = Instant::now();
    }
}
