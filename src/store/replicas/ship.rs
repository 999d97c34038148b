//! Shipping: the log, from where it was shipped up to, into Redis, and what the
//! others are told. What Redis does not take now stays in the log and is tried
//! again; a segment with something unshipped in it is never removed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::join_all;

use crate::domain::{CustomerKey, Event, IdentityHash};

use super::super::{
    Remote, Store, StoreError, blocking,
    follow::Entered,
    merge_record::CustomerChange,
    redis::{Failure, Generation},
};
use super::{
    entry::{Entry, What},
    fold::{CALL, Fold, Folded, NotShipped},
    outgoing::{Outgoing, Piece},
};

/// Customers shipped at the same time. Those of one customer stay in order.
const LANES: usize = 32;
/// Between two attempts when Redis does not take it: at first, and at most, after
/// doubling.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How often records are passed that the others need not be told of.
const LAZILY: Duration = Duration::from_millis(250);
/// Between two looks whether the server behind a new connection was looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Hops from a customer who was taken in to who lives on.
const HOPS_MAX: usize = 64;
/// A connection to another primary: what was told within this time may be lost
/// with the one before, and is told again.
const AGAIN: Duration = Duration::from_secs(60);

/// How shipping a piece ended.
enum Done {
    Shipped,
    /// What comes before is to be shipped again.
    Again,
    /// The service stops.
    Ended,
}

/// What ships.
struct Shipping<'a> {
    store: &'a Store,
    lanes: Vec<Fold>,
    /// The connection that was used last.
    generation: Generation,
    /// Of the piece that is being shipped what Redis has: customers, by the first
    /// entry of the run that they are in. What fails is tried again without them.
    done: HashSet<(u64, CustomerKey)>,
}

impl Store {
    /// Ships what is written, until the service stops. To be run once, and again
    /// when it panics. Ends at once when there are no others.
    pub async fn ship(&self) {
        let Some(remote) = self.remote.clone() else { return };
        while let Err(error) = self.ship_on(&remote).await {
            tracing::error!(%error, "shipping to redis failed; it begins again");
            tokio::time::sleep(RETRY_MAX).await;
        }
    }

    async fn ship_on(&self, remote: &Remote) -> Result<(), StoreError> {
        let lanes =
            (0..LANES).map(|_| Fold::new(remote.clone(), Arc::clone(&self.shared))).collect::<Result<Vec<_>, _>>()?;
        let Ok(mut followed) = self.shared.followers.enter() else { return Ok(()) };
        let mut shipping =
            Shipping { store: self, lanes, generation: remote.client.generation(), done: HashSet::new() };
        loop {
            let (again, begun) = (self.shared.replicas.again(), self.shared.replicas.shipped());
            let shared = Arc::clone(&self.shared);
            let mut outgoing = blocking(move || Outgoing::after(&shared, begun)).await?;
            let mut at = begun;
            // until somebody asks for an earlier beginning
            while self.shared.replicas.again() == again {
                let Some(until) = self.written(&mut followed, at).await else { return Ok(()) };
                let shared = Arc::clone(&self.shared);
                let (read, piece) = blocking(move || {
                    let piece = outgoing.piece(&shared, until)?;
                    Ok((outgoing, piece))
                })
                .await?;
                outgoing = read;
                match shipping.until_shipped((&piece, again), remote).await {
                    Done::Shipped => {}
                    Done::Again => break,
                    Done::Ended => return Ok(()),
                }
                at = piece.sequence;
                if !self.shared.replicas.set_shipped(at, again) {
                    break;
                }
            }
        }
    }

    /// Waits until more than this is written and in memory, and answers up to
    /// where; `None` at the end.
    async fn written(&self, followed: &mut Entered, after: u64) -> Option<u64> {
        let state = &self.shared.replicas;
        let (mut applied, lazily) = (state.applied(), tokio::time::Instant::now() + LAZILY);
        loop {
            followed.moved.mark_unchanged();
            if self.shared.followers.has_ended() {
                return None;
            }
            let until = *applied.borrow_and_update();
            let waits = state.own() > after;
            if until > after && (waits || lazily.elapsed() > Duration::ZERO) {
                return Some(until);
            }
            tokio::select! {
                _ = applied.changed() => {}
                _ = followed.moved.changed() => {}
                () = tokio::time::sleep_until(lazily), if until > after => {}
            }
        }
    }
}

impl Shipping<'_> {
    /// Tries until a piece is in Redis.
    async fn until_shipped(&mut self, (piece, again): (&Piece, u64), remote: &Remote) -> Done {
        let mut wait = RETRY_MIN;
        let state = &self.store.shared.replicas;
        loop {
            if self.store.shared.followers.has_ended() {
                return Done::Ended;
            }
            if state.again() != again {
                self.done.clear();
                return Done::Again;
            }
            let generation = remote.client.generation();
            if remote.is_foreign() || !state.has_looked_at(generation.0) {
                // it may be another server, which lacks what comes before
                state.poke.notify_one();
                tokio::time::sleep(LOOK).await;
                continue;
            }
            if std::mem::replace(&mut self.generation, generation) != generation {
                // over another connection it may be another server
                self.lanes.iter_mut().for_each(Fold::forget);
            }
            match self.ship(piece).await {
                Ok(()) => {
                    self.done.clear();
                    return Done::Shipped;
                }
                Err(error) => {
                    self.lanes.iter_mut().for_each(Fold::forget);
                    match error {
                        NotShipped::Redis(Failure::Outage(_)) => tracing::debug!(%error, "shipping to redis"),
                        _ => tracing::warn!(%error, "shipping to redis"),
                    }
                }
            }
            let mut generations = remote.client.generations();
            generations.mark_unchanged();
            let connected = tokio::time::timeout(wait, generations.changed()).await.is_ok();
            wait = if connected { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
        }
    }

    async fn ship(&mut self, piece: &Piece) -> Result<(), NotShipped> {
        if piece.entries.is_empty() {
            return Ok(());
        }
        let mut rest = &piece.entries[..];
        while !rest.is_empty() {
            let events = rest.iter().take_while(|entry| matches!(entry.what, What::Event { .. })).count();
            let (now, later) = rest.split_at(events);
            self.ship_events(now).await?;
            let Some((one, later)) = later.split_first() else { break };
            self.ship_change(one).await?;
            rest = later;
        }
        let state = &self.store.shared.replicas;
        if let Some(lane) = self.lanes.first_mut() {
            lane.tell_upto(state.marked(), piece.sequence).await?;
        }
        state.mark(piece.sequence);
        let lost = self.lanes.iter_mut().map(|lane| std::mem::take(&mut lane.races_lost)).sum();
        state.counts.races_lost.fetch_add(lost, Relaxed);
        Ok(())
    }

    /// Events, of one customer in order, of others side by side.
    async fn ship_events(&mut self, entries: &[Entry]) -> Result<(), NotShipped> {
        let Some(run) = entries.first().map(|entry| entry.sequence) else { return Ok(()) };
        let mut lanes: Vec<Work<'_>> = (0..LANES).map(|_| Work::default()).collect();
        for entry in entries {
            let What::Event { customer, event, .. } = &entry.what else { continue };
            let lane = &mut lanes[customer.map_or(0, |key| (key.0 >> 32) as usize % LANES)];
            match customer {
                Some(key) if self.done.contains(&(run, *key)) => {}
                Some(key) => lane.customers.entry(*key).or_default().push((entry, event)),
                None => lane.nobodys.push(entry),
            }
        }
        let state = &self.store.shared.replicas;
        let hasher = &self.store.shared.hasher;
        let hash = |kind, value: &str| hasher.identity(kind, value);
        let work = self.lanes.iter_mut().zip(&lanes).map(|(lane, work)| work.run(lane, &hash));
        let (mut again, mut result) = (0, Ok(()));
        for (done, ended) in join_all(work).await {
            self.done.extend(done.into_iter().map(|key| (run, key)));
            match ended {
                Ok(known) => again += known,
                Err(error) => result = Err(error),
            }
        }
        result?;
        state.counts.shipped.fetch_add(entries.len().saturating_sub(again) as u64, Relaxed);
        state.counts.shipped_again.fetch_add(again as u64, Relaxed);
        Ok(())
    }

    async fn ship_change(&mut self, entry: &Entry) -> Result<(), NotShipped> {
        // INVARIANT: nothing else is on its way; other lanes may have cached whom it changes
        self.lanes.iter_mut().for_each(Fold::forget);
        let Some(lane) = self.lanes.first_mut() else { return Ok(()) };
        let new = match &entry.what {
            What::Change { head, body } => match head.change {
                CustomerChange::Merge => lane.merge(entry, (head.survivor, head.absorbed), body.id).await?,
                CustomerChange::Undo => lane.part(entry, (head.survivor, head.absorbed), body.id).await?,
                CustomerChange::Joined => {
                    lane.tell_of_nobody(entry).await?;
                    true
                }
            },
            What::Erased(erasure) => {
                lane.erase(entry, &erasure.customers).await?;
                forget_identities(lane, &erasure.identities).await?;
                true
            }
            What::Names(_) | What::Event { .. } => {
                lane.tell_of_nobody(entry).await?;
                true
            }
        };
        let counts = &self.store.shared.replicas.counts;
        if new {
            counts.shipped.fetch_add(1, Relaxed)
        } else {
            counts.shipped_again.fetch_add(1, Relaxed)
        };
        self.lanes.iter_mut().for_each(Fold::forget);
        Ok(())
    }
}

/// What one lane ships of a piece.
#[derive(Default)]
struct Work<'a> {
    customers: HashMap<CustomerKey, Vec<(&'a Entry, &'a Event)>>,
    nobodys: Vec<&'a Entry>,
}

impl Work<'_> {
    /// Answers which customers are done, and how many entries were there before.
    async fn run(
        &self,
        lane: &mut Fold,
        hash: &impl Fn(crate::domain::IdentityTypeId, &str) -> IdentityHash,
    ) -> (Vec<CustomerKey>, Result<usize, NotShipped>) {
        let mut done = Vec::with_capacity(self.customers.len());
        let ended = self.run_all(lane, hash, &mut done).await;
        (done, ended)
    }

    async fn run_all(
        &self,
        lane: &mut Fold,
        hash: &impl Fn(crate::domain::IdentityTypeId, &str) -> IdentityHash,
        done: &mut Vec<CustomerKey>,
    ) -> Result<usize, NotShipped> {
        let mut before = 0;
        for (customer, entries) in &self.customers {
            let mut key = *customer;
            for _ in 0..HOPS_MAX {
                match lane.apply(key, entries).await? {
                    Folded::Moved(to) => key = to,
                    Folded::Done { again } => {
                        before += again;
                        break;
                    }
                }
            }
            let identities = entries.iter().flat_map(|(_, event)| &event.identities);
            let hashes: Vec<_> = identities.map(|one| hash(one.kind, &one.value)).collect();
            name(lane, *customer, &hashes).await?;
            done.push(*customer);
        }
        for entry in &self.nobodys {
            lane.tell_of_nobody(entry).await?;
        }
        Ok(before)
    }
}

/// Says to whom identities lead, so that who has not read the customer yet finds
/// it.
pub(super) async fn name(lane: &Fold, customer: CustomerKey, hashes: &[IdentityHash]) -> Result<(), NotShipped> {
    for hash in hashes {
        let mut command = redis::cmd("SET");
        command.arg(lane.remote.keys.alias(*hash)).arg(&customer.0.to_be_bytes());
        lane.remote.client.call(&command, std::time::Instant::now() + CALL).await?;
    }
    Ok(())
}

async fn forget_identities(lane: &Fold, hashes: &[IdentityHash]) -> Result<(), NotShipped> {
    for hash in hashes {
        let command = redis::cmd("DEL").arg(lane.remote.keys.alias(*hash)).clone();
        lane.remote.client.call(&command, std::time::Instant::now() + CALL).await?;
    }
    Ok(())
}

/// How long ago what may be lost with a primary was told.
pub(super) fn told_again() -> Duration {
    AGAIN
}
