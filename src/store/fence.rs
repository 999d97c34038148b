//! Failovers: when another server answers, or the same one after a restart,
//! writes that were acknowledged may be gone. Each replica counts in Redis and
//! reads its count back: one that is smaller than before tells what was lost,
//! another run id tells that something may have been.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use redis::Value;
use tokio::sync::watch;

use super::{
    Remote, Store,
    redis::{Failure, keys::FENCE_TTL_MS, scripts_service::FENCE},
};
use crate::{
    domain::{Timestamp, time::SECOND_US},
    telemetry::{metrics, names},
};

/// Between two counts.
const FENCE_INTERVAL: Duration = Duration::from_millis(500);
/// How long one may take.
const FENCE_MAX: Duration = Duration::from_millis(250);
/// What is told as possibly lost begins so much before the last count that is
/// known to be there, microseconds.
const SLACK_US: i64 = SECOND_US;
/// Counts whose times are remembered; the older, the fewer.
const COUNTS_MAX: usize = 256;
/// Failovers that are remembered.
const RECENT_MAX: usize = 16;
/// Between two copies of the counts to disk.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// The file of the counts, below the data directory.
const FILE: &str = "fence";

/// What told of a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverCause {
    /// A count went backwards: writes are lost.
    Lost,
    /// Another server, or another run of it: writes may be lost.
    Restarted,
}

/// Another primary, or the same one started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Counts them since the start of this process, from 1.
    pub number: u64,
    /// Writes to Redis since then may be lost; by the service clock.
    pub since: Timestamp,
    /// What told of it.
    pub cause: FailoverCause,
}

/// The failovers since the start of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failovers {
    /// How many there were.
    pub count: u64,
    recent: VecDeque<Failover>,
}

impl Failovers {
    /// The last one.
    pub fn last(&self) -> Option<Failover> {
        self.recent.back().copied()
    }

    /// Since when writes may be lost, over all failovers after the `seen` first;
    /// none when there are none.
    pub fn since(&self, seen: u64) -> Option<Timestamp> {
        if seen >= self.count {
            return None;
        }
        let unseen = self.recent.iter().filter(|failover| failover.number > seen);
        let forgotten = self.recent.front().is_none_or(|first| first.number > seen + 1);
        if forgotten { Some(Timestamp(i64::MIN)) } else { unseen.map(|failover| failover.since).min() }
    }

    fn add(&mut self, since: Timestamp, cause: FailoverCause) {
        self.count += 1;
        self.recent.push_back(Failover { number: self.count, since, cause });
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }
}

/// What a replica knows of its counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    run_id: Option<String>,
    /// The highest count that may be in Redis.
    sent: u64,
    /// Counts that were acknowledged, and when, oldest first.
    acknowledged: VecDeque<(u64, Timestamp)>,
}

/// What Redis answered to a count.
struct Found {
    count: u64,
    at: Timestamp,
    run_id: Option<String>,
}

impl Counts {
    /// Takes an answer to the count that was sent last; answers the failover that
    /// it tells of.
    fn take(&mut self, found: Found) -> Option<(Timestamp, FailoverCause)> {
        let lost = self.acknowledged.back().is_some_and(|(last, _)| found.count < *last);
        let restarted = self.run_id.is_some() && found.run_id.is_some() && self.run_id != found.run_id;
        let cause = match (lost, restarted) {
            (true, _) => Some(FailoverCause::Lost),
            (false, true) => Some(FailoverCause::Restarted),
            (false, false) => None,
        };
        let told = cause.map(|cause| {
            let known = self.acknowledged.iter().rev().find(|(count, _)| *count <= found.count);
            (known.map_or(Timestamp(i64::MIN), |(_, at)| at.plus_us(-SLACK_US)), cause)
        });
        if found.run_id.is_some() {
            self.run_id = found.run_id;
        }
        self.acknowledged.retain(|(count, _)| *count <= found.count);
        self.acknowledged.push_back((self.sent, found.at));
        // a copy on disk may be older than what stands there
        self.sent = self.sent.max(found.count);
        if self.acknowledged.len() > COUNTS_MAX {
            // every other one of the older half goes
            let mut place = 0;
            self.acknowledged.retain(|_| {
                place += 1;
                place > COUNTS_MAX / 2 || place % 2 == 1
            });
        }
        told
    }

    /// As it lies on disk.
    fn encode(&self) -> String {
        let mut text = format!("run {}\n", self.run_id.as_deref().unwrap_or("-"));
        for (count, at) in &self.acknowledged {
            text += &format!("{count} {}\n", at.0);
        }
        text
    }

    /// From disk; what is damaged is as if there was nothing.
    fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let run_id = lines.next()?.strip_prefix("run ")?;
        let pair = |line: &str| {
            let (count, at) = line.split_once(' ')?;
            Some((count.parse().ok()?, Timestamp(at.parse().ok()?)))
        };
        let acknowledged: VecDeque<(u64, Timestamp)> = lines.map(pair).collect::<Option<_>>()?;
        let sent = acknowledged.back().map_or(0, |(count, _)| *count);
        Some(Self { run_id: (run_id != "-").then(|| run_id.to_owned()), sent, acknowledged })
    }

    fn read(path: &Path) -> Self {
        std::fs::read_to_string(path).ok().and_then(|text| Self::decode(&text)).unwrap_or_default()
    }
}

/// Replaces the file as a whole. Not synced: what is older tells more as lost.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let next = path.with_extension("new");
    std::fs::write(&next, text)?;
    std::fs::rename(&next, path)
}

impl Store {
    /// Tells of failovers of Redis: what was written since may be lost there.
    /// Look at the value before waiting for a change: it may be found at the
    /// start. Never changes without a shared store.
    pub fn failovers(&self) -> watch::Receiver<Failovers> {
        let never = || watch::Sender::new(Failovers::default()).subscribe();
        self.remote().map_or_else(never, |remote| remote.failovers.subscribe())
    }
}

impl Remote {
    /// Counts in Redis and tells of failovers. Never ends: run it as a background
    /// task.
    pub async fn keep_fence(self) {
        let told = metrics().counter(names::STORE_FAILOVERS, Vec::new());
        let path: PathBuf = self.dir.join(FILE);
        let mut counts = Counts::read(&path);
        let mut kept_at = Instant::now();
        let mut generations = self.client.generations();
        let mut ticks = tokio::time::interval(FENCE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // a new connection is looked at at once
                _ = generations.changed() => {}
            }
            generations.borrow_and_update();
            if self.is_foreign() {
                continue;
            }
            let found = match self.count(&mut counts).await {
                Ok(found) => found,
                Err(Failure::Outage(_)) => continue,
                Err(mistake) => {
                    tracing::error!(%mistake, "counting in redis failed: failovers are not noticed");
                    continue;
                }
            };
            let failover = counts.take(found);
            if let Some((since, cause)) = failover {
                tracing::warn!(
                    ?cause,
                    since_us = since.0,
                    "another primary of redis: what was written since may be lost"
                );
                told.increment(1);
                self.failovers.send_modify(|failovers| failovers.add(since, cause));
            }
            if failover.is_some() || kept_at.elapsed() >= KEEP_EVERY {
                kept_at = Instant::now();
                let (path, text) = (path.clone(), counts.encode());
                // without a copy a failover during a restart is noticed by less
                tokio::task::spawn_blocking(move || write(&path, &text)).await.ok();
            }
        }
    }

    async fn count(&self, counts: &mut Counts) -> Result<Found, Failure> {
        counts.sent += 1;
        let (count, ttl) = (counts.sent.to_string(), FENCE_TTL_MS.to_string());
        let (key, deadline) = (self.keys.fence(self.replica.0), Instant::now() + FENCE_MAX);
        let generation = self.client.generation();
        let answer = self.client.script(&FENCE, &[&key], &[count.as_bytes(), ttl.as_bytes()], deadline).await?;
        let shape = || Failure::shape("a count and a time");
        let Value::Array(parts) = answer else { return Err(shape()) };
        let [before, seconds, micros] = parts.as_slice() else { return Err(shape()) };
        let seconds: i64 = number(seconds).ok_or_else(shape)?;
        let micros: i64 = number(micros).ok_or_else(shape)?;
        let count = match before {
            Value::Nil | Value::Boolean(false) => 0,
            before => number(before).ok_or_else(shape)?,
        };
        // a run id of another connection than the answer's says nothing
        let health = self.client.health();
        let run_id = health.primary.filter(|_| health.generation == generation).and_then(|primary| primary.run_id);
        Ok(Found { count, at: Timestamp(seconds * SECOND_US + micros), run_id })
    }
}

fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::Int(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts once: what stood there, when, and whose it is.
    fn take(counts: &mut Counts, count: u64, at_s: i64, run_id: &str) -> Option<(Timestamp, FailoverCause)> {
        counts.sent += 1;
        counts.take(Found { count, at: Timestamp(at_s * SECOND_US), run_id: Some(run_id.to_owned()) })
    }

    #[test]
    fn a_count_that_went_backwards_tells_since_when() {
        let mut counts = Counts::default();
        for second in 0..100_u64 {
            assert_eq!(take(&mut counts, second, 100 + second as i64, "a"), None, "{second}");
        }
        // what stands there was acknowledged at 100 + 89
        let lost = take(&mut counts, 90, 300, "b");
        assert_eq!(lost, Some((Timestamp(188 * SECOND_US), FailoverCause::Lost)));
        // once: the counts go on from there
        assert_eq!(take(&mut counts, 101, 301, "b"), None);
        let empty = take(&mut counts, 0, 302, "b");
        assert_eq!(empty, Some((Timestamp(i64::MIN), FailoverCause::Lost)));
        assert_eq!(take(&mut counts, 103, 303, "b"), None);
    }

    #[test]
    fn another_run_is_told_and_an_ambiguous_count_is_not() {
        let mut counts = Counts::default();
        assert_eq!(take(&mut counts, 0, 100, "a"), None);
        // 2 and 3 timed out, and 3 had run
        counts.sent += 2;
        assert_eq!(take(&mut counts, 3, 102, "a"), None);
        assert_eq!(
            take(&mut counts, 4, 103, "b"),
            Some((Timestamp(102 * SECOND_US - SLACK_US), FailoverCause::Restarted))
        );
        assert_eq!(take(&mut counts, 5, 104, "b"), None);
    }

    #[test]
    fn counts_are_bounded_and_outlive_a_restart() {
        let mut counts = Counts::default();
        for second in 0..10_000_u64 {
            assert_eq!(take(&mut counts, second, second as i64, "a"), None);
        }
        assert!(counts.acknowledged.len() <= COUNTS_MAX);
        assert!(counts.acknowledged.front().unwrap().0 < 100, "an old one is left");
        let mut again = Counts::decode(&counts.encode()).unwrap();
        assert_eq!(again, counts);
        // never later than it was true: what is told too early is only told again
        let (since, cause) = take(&mut again, 5_000, 20_000, "a").unwrap();
        assert!(since < Timestamp(5_000 * SECOND_US) && cause == FailoverCause::Lost, "{since:?}");
        assert_eq!(Counts::decode("run a\n1 x\n"), None);
    }

    #[test]
    fn who_missed_some_hears_of_the_earliest() {
        let mut failovers = Failovers::default();
        assert_eq!(failovers.since(0), None);
        failovers.add(Timestamp(5), FailoverCause::Lost);
        failovers.add(Timestamp(9), FailoverCause::Restarted);
        assert_eq!(
            (failovers.since(0), failovers.since(1), failovers.since(2)),
            (Some(Timestamp(5)), Some(Timestamp(9)), None)
        );
        for _ in 0..RECENT_MAX {
            failovers.add(Timestamp(20), FailoverCause::Lost);
        }
        assert_eq!((failovers.since(0), failovers.since(10)), (Some(Timestamp(i64::MIN)), Some(Timestamp(20))));
    }
}
