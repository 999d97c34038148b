//! Replicas are restarted one after the other while clients go on: a client that
//! tries once more elsewhere notices nothing.

use super::{kills::Stage, load::Plan, sized};

/// Promises between two restarts, at least.
const BETWEEN: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_is_not_noticed() {
    let plan = Plan { rate: 150, retries: 1, ..Plan::default() };
    let mut stage = Stage::with(3, plan).await;
    for _ in 0..sized(1, 5) {
        for at in 0..stage.replicas.len() {
            stage.progress(BETWEEN);
            stage.replicas[at].end();
            stage.replicas[at].start_again();
        }
    }
    stage.progress(BETWEEN);
    stage.settle("rolling restart").await;
    let (failed, retried) = (stage.load.failed(), stage.load.retried());
    println!("rolling restart: {} calls tried once more, {} failed", retried, failed.len());
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(stage.load.skipped(), 0);
}
