//! Another server becomes the primary, knowing less than the old one had
//! acknowledged: no outcome is lost, for the replicas kept them too.

use std::{sync::Arc, time::Duration};

use super::{
    kills::{begin, settle, several},
    layouts::{Cluster, Sentinels},
    ledger::Ledger,
    load::{Load, Plan},
    replica::{Replica, until},
    sized,
};

/// Promises before, between and after, at least.
const SOME: usize = 40;
/// How long calls may take to come through.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// What the primary is told that nobody else hears.
fn lost_window() -> Duration {
    sized(Duration::from_millis(400), Duration::from_secs(1))
}

struct Stage {
    replicas: Vec<Replica>,
    ledger: Arc<Ledger>,
    load: Load,
}

impl Stage {
    async fn at(url: &str) -> Self {
        let replicas = several(2, url);
        let ledger = Arc::new(Ledger::default());
        let load = begin(&replicas, Plan::default(), &ledger).await;
        Self { replicas, ledger, load }
    }

    fn progress(&self) {
        let wanted = self.ledger.acknowledged() + SOME;
        until("events are acknowledged", BACK_WITHIN, || self.ledger.acknowledged() >= wanted);
    }

    async fn settle(&mut self, what: &str) {
        self.load.end();
        settle(&self.replicas.iter().collect::<Vec<_>>(), &self.ledger, what).await;
        assert_eq!(self.load.failed(), Vec::<String>::new(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_loses_no_outcome() {
    for _ in 0..sized(1, 10) {
        let mut redis = Sentinels::start();
        let mut stage = Stage::at(&redis.url()).await;
        stage.progress();
        // what is acknowledged from here on, the other one never hears
        redis.servers[1].pause();
        std::thread::sleep(lost_window());
        redis.servers[0].kill();
        redis.servers[1].go_on();
        let took = redis.until_primary(redis.servers[1].address);
        println!("failover: another primary after {took:?}");
        stage.progress();
        stage.settle("failover").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_loses_no_outcome() {
    for _ in 0..sized(1, 10) {
        let redis = Sentinels::start();
        let mut stage = Stage::at(&redis.url()).await;
        stage.progress();
        redis.servers[0].pause();
        redis.until_primary(redis.servers[1].address);
        stage.progress();
        // it wakes up and does not know that it is the primary no more
        redis.servers[0].go_on();
        stage.progress();
        until("the old primary follows", BACK_WITHIN, || redis.servers[0].info("role").as_deref() == Some("slave"));
        stage.progress();
        stage.settle("split").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_loses_no_outcome() {
    for round in 0..sized(1, 10) {
        let mut redis = Cluster::start();
        let mut stage = Stage::at(&redis.url()).await;
        stage.progress();
        let gone = round % 3;
        redis.servers[gone].kill();
        let took = redis.until_primary(gone + 3);
        println!("cluster: another primary after {took:?}");
        stage.progress();
        stage.settle("cluster").await;
    }
}
