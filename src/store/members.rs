//! Which replicas live: each gives a sign of life every 2 s, and is gone after
//! 10 s without one. Times are those of the clock of Redis.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use redis::Value;
use tokio::sync::watch;

use super::{
    Remote, ReplicaId, Store, joining,
    redis::{Failure, Generation, keys::REPLICA_TTL_MS, scripts_service::BEAT},
};
use crate::telemetry::{metrics, names};

/// Between two signs of life.
const BEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How long one may take.
const BEAT_MAX: Duration = Duration::from_millis(500);
/// Signs of life between two looks at the secrets in Redis.
const SECRETS_EVERY: u32 = 5;

/// The replicas that lived when Redis was last asked.
#[derive(Debug)]
pub(super) struct Members {
    own: ReplicaId,
    list: Mutex<Arc<[ReplicaId]>>,
    count: watch::Sender<u32>,
}

impl Members {
    pub fn new(own: ReplicaId) -> Self {
        Self { own, list: Mutex::new(Arc::from([own])), count: watch::Sender::new(1) }
    }

    fn list(&self) -> Arc<[ReplicaId]> {
        Arc::clone(&self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// INVARIANT: this replica is always one of them.
    fn set(&self, mut list: Vec<ReplicaId>) {
        list.push(self.own);
        list.sort_unstable();
        list.dedup();
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = list.into();
        self.count.send_if_modified(|before| std::mem::replace(before, count) != count);
    }
}

impl Store {
    /// How many replicas live, this one included: 1 without a shared store; the
    /// last number known while Redis is away.
    pub fn members(&self) -> u32 {
        self.remote().map_or(1, |remote| *remote.members.count.borrow())
    }

    /// The replicas that live, in order of their numbers; none without a shared
    /// store.
    pub fn member_ids(&self) -> Arc<[ReplicaId]> {
        self.remote().map_or_else(|| Arc::from([]), |remote| remote.members.list())
    }
}

impl Remote {
    /// Tells of every change of the number of replicas.
    pub fn member_counts(&self) -> watch::Receiver<u32> {
        self.members.count.subscribe()
    }

    /// Gives signs of life, and sees to it that the secrets in Redis are there
    /// and ours. Never ends: run it as a background task.
    pub async fn keep_member(self) {
        let told = metrics().gauge(names::REPLICAS);
        let mut ticks = tokio::time::interval(BEAT_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut generations = self.client.generations();
        let (mut beats, mut looked_at) = (0_u32, Generation(0));
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // INVARIANT: the sender lives as long as the client
                _ = generations.changed() => {}
            }
            let generation = *generations.borrow_and_update();
            if generation != looked_at || beats.is_multiple_of(SECRETS_EVERY) {
                match joining::keep(&self.rings, &self, Instant::now() + BEAT_MAX).await {
                    Ok(ours) => {
                        self.told_foreign(!ours);
                        looked_at = generation;
                    }
                    Err(_) => continue,
                }
            }
            beats = beats.wrapping_add(1);
            if self.is_foreign() {
                continue;
            }
            match self.beat().await {
                Ok(list) => self.members.set(list),
                Err(Failure::Outage(_)) => {}
                Err(mistake) => tracing::error!(%mistake, "giving a sign of life to the other replicas failed"),
            }
            told.set(f64::from(*self.members.count.borrow()));
        }
    }

    fn told_foreign(&self, foreign: bool) {
        match (self.foreign.swap(foreign, Relaxed), foreign) {
            (false, true) => tracing::error!(
                "other secrets than ours are in redis: this replica serves from memory and writes nothing there; stop all \
                 replicas but those that belong together, delete the keys of the secrets in redis, and start those again"
            ),
            (true, false) => tracing::info!("the secrets in redis are ours again"),
            _ => {}
        }
    }

    async fn beat(&self) -> Result<Vec<ReplicaId>, Failure> {
        let (own, ttl) = (self.replica.to_string(), REPLICA_TTL_MS.to_string());
        let (key, deadline) = (self.keys.replicas(), Instant::now() + BEAT_MAX);
        let answer = self.client.script(&BEAT, &[&key], &[own.as_bytes(), ttl.as_bytes()], deadline).await?;
        let Value::Array(values) = answer else { return Err(Failure::shape("a list of replicas")) };
        let id = |value: &Value| match value {
            Value::BulkString(bytes) => {
                let text = std::str::from_utf8(bytes).ok()?;
                u64::from_str_radix(text, 16).ok().map(ReplicaId)
            }
            _ => None,
        };
        // what is no number of a replica is not ours
        Ok(values.iter().filter_map(id).collect())
    }

    /// Says goodbye, so that the others need not wait until this replica counts as
    /// gone.
    pub async fn leave(&self, deadline: Instant) -> Result<(), Failure> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.keys.replicas()).arg(self.replica.to_string());
        self.client.call(&command, deadline).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_always_counts_itself_and_nobody_twice() {
        let members = Members::new(ReplicaId(5));
        let mut counts = members.count.subscribe();
        assert_eq!(&*members.list(), [ReplicaId(5)]);
        members.set(vec![ReplicaId(9), ReplicaId(5), ReplicaId(9), ReplicaId(1)]);
        assert_eq!(&*members.list(), [ReplicaId(1), ReplicaId(5), ReplicaId(9)]);
        assert!(counts.has_changed().unwrap() && *counts.borrow_and_update() == 3);
        members.set(vec![ReplicaId(1), ReplicaId(9)]);
        assert!(!counts.has_changed().unwrap());
        members.set(Vec::new());
        assert_eq!(*counts.borrow(), 1);
    }
}
