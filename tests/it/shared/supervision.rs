//! Background tasks that panic are started again, and that is told.

use std::sync::Arc;

use super::{readiness, until_flagged, until_metric};
use crate::{
    harness::{Place, Server, eventually},
    redis::server::RedisServer,
};

/// Every task of a replica that may be made to panic.
const TASKS: [&str; 12] = [
    "connection to redis",
    "members",
    "clock",
    "rules of other replicas",
    "fence",
    "metrics",
    "rules watcher",
    "pauses on disk",
    "attribution windows",
    "analysis of all customers",
    "response rates",
    "connection told",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_survives_its_own_panic() {
    let redis = RedisServer::start();
    let environment = [("RAPPORT_REHEARSE_PANIC", TASKS.join(","))];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::start_in(&Arc::new(Place::new()), &["--store", &redis.url()], &environment);
    eventually("every task runs again", || async {
        let told = readiness(&server);
        TASKS.iter().all(|task| told.contains(&format!("task {task}: running, 1 restarts"))).then_some(())
    })
    .await;
    for task in TASKS {
        until_metric(&server, &format!("rapport_task_restarts_total{{task=\"{task}\"}}"), |count| count == 1.0).await;
    }
    until_flagged(&server, false).await;
    for thread in ["rapport-writer", "rapport-sync", "rapport-store"] {
        assert!(readiness(&server).contains(&format!("thread {thread}: running")), "{}", readiness(&server));
    }
}
