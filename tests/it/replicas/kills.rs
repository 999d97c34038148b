//! kill -9 of replicas and of Redis under load: what was acknowledged is there,
//! once, on every replica.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ledger::{Ledger, told},
    load::{Load, Plan, RULES, create_customers},
    replica::{Replica, until},
    sized,
};
use crate::redis::server::RedisServer;

/// How Redis keeps what it was told.
pub const APPEND_ONLY: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];
/// How long calls may take to come through after a start.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Promises between two kills, at least; varied by round to hit other moments.
const ACKNOWLEDGED_MIN: usize = 30;
/// Promises that are sent once more at the end.
const REPEATED: usize = 200;

/// Nothing promised is missing, nothing is there twice, on any of them; and so
/// it stays when everything is sent again.
pub async fn settle(replicas: &[&Replica], ledger: &Ledger, what: &str) {
    let promised = ledger.promised(|_| true);
    for (number, replica) in replicas.iter().enumerate() {
        let begun = Instant::now();
        loop {
            let told = told(replica.server()).await;
            let (lost, twice) = (told.lost(&promised), told.twice());
            assert!(twice.is_empty(), "{what}: told twice: {twice:?}");
            if lost.is_empty() {
                break;
            }
            if begun.elapsed() > BACK_WITHIN {
                let (len, few) = (lost.len(), &lost[..lost.len().min(8)]);
                let mut counts = ledger.counted_of(replica, few).await;
                for (other, replica) in replicas.iter().enumerate() {
                    let lacks = super::ledger::told(replica.server()).await.lost(&promised).len();
                    counts += &format!("replica {other} lacks {lacks}; ");
                }
                let log = replica.server().log();
                panic!("{what}: replica {number} does not tell {len} of {}: {few:?}; {counts}\n{log}", promised.len());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    ledger.send_again(replicas[0].server()).await;
    for replica in replicas {
        ledger.agrees(replica, what).await;
    }
    ledger.all_are_repetitions(replicas[replicas.len() - 1].server(), REPEATED).await;
    replicas.iter().for_each(|replica| replica.check_alive());
    println!("{what}: {} sent, {} replicas agree", ledger.sent().len(), replicas.len());
}

/// A moment within a round, spread over rounds by a fixed stride.
fn pause(round: usize) -> usize {
    ACKNOWLEDGED_MIN + round * 37 % 60
}

/// Replicas over one Redis, a ledger, and load on all of them.
pub struct Stage {
    pub redis: RedisServer,
    pub replicas: Vec<Replica>,
    pub ledger: Arc<Ledger>,
    pub load: Load,
}

impl Stage {
    /// Sets it up; the load goes on until it is ended.
    pub async fn with(replicas: usize, plan: Plan) -> Self {
        let redis = RedisServer::start_with(&APPEND_ONLY);
        let url = redis.url();
        Self::at(redis, &url, replicas, plan).await
    }

    /// Sets it up with a way to Redis of its own.
    pub async fn at(redis: RedisServer, url: &str, replicas: usize, plan: Plan) -> Self {
        let replicas = several(replicas, url);
        let ledger = Arc::new(Ledger::default());
        let load = begin(&replicas, plan, &ledger).await;
        Self { redis, replicas, ledger, load }
    }

    /// Waits until so many more were acknowledged.
    pub fn progress(&self, more: usize) {
        let wanted = self.ledger.acknowledged() + more;
        until("events are acknowledged", BACK_WITHIN, || self.ledger.acknowledged() >= wanted);
    }

    /// Ends the load, and holds what was promised against what is there.
    pub async fn settle(&mut self, what: &str) {
        self.load.end();
        settle(&self.replicas.iter().collect::<Vec<_>>(), &self.ledger, what).await;
    }
}

/// So many replicas over one store.
pub fn several(count: usize, url: &str) -> Vec<Replica> {
    let replicas: Vec<Replica> = (0..count).map(|_| Replica::start(RULES, url)).collect();
    // over a cluster customers are read when they are asked for
    if !url.starts_with("redis+cluster:") {
        replicas.iter().for_each(Replica::wait_joined);
    }
    replicas
}

/// Starts load on replicas, of customers that they know.
pub async fn begin(replicas: &[Replica], plan: Plan, ledger: &Arc<Ledger>) -> Load {
    let first = create_customers(&replicas[0], ledger, plan.customers).await;
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
    Load::start(&addresses, plan, ledger, first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_a_replica_is_killed() {
    let mut stage = Stage::with(2, Plan::default()).await;
    for round in 0..sized(3, 100) {
        stage.progress(pause(round));
        let killed = round % stage.replicas.len();
        stage.replicas[killed].kill();
        stage.replicas[killed].start_again();
    }
    stage.progress(ACKNOWLEDGED_MIN);
    stage.settle("replicas killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_redis_is_killed() {
    let mut stage = Stage::with(2, Plan::default()).await;
    for round in 0..sized(3, 100) {
        stage.progress(pause(round));
        stage.redis.kill();
        // events are taken without it too
        stage.progress(ACKNOWLEDGED_MIN);
        stage.redis.start_again();
    }
    stage.progress(ACKNOWLEDGED_MIN);
    stage.settle("redis killed").await;
    assert_eq!(stage.load.failed(), Vec::<String>::new(), "calls failed while only redis was killed");
}
