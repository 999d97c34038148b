//! Error replies for a while, under load.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rapport::store::redis::{Effect, Failure, Outage};
use tokio::task::JoinSet;

use super::{
    bench::{BACK_AFTER, Kept, Load, eventually},
    proxy::{Fault, Proxy},
    server::RedisServer,
};

/// How long the replies last.
const FAULT: Duration = Duration::from_secs(1);

const REPLIES: [(&str, Outage); 13] = [
    ("READONLY You can't write against a read only replica.", Outage::ReadOnly),
    ("LOADING Redis is loading the dataset in memory", Outage::Loading),
    ("OOM command not allowed when used memory > 'maxmemory'.", Outage::OutOfMemory),
    ("MISCONF Redis is configured to save RDB snapshots", Outage::Unsaved),
    ("NOSCRIPT No matching script. Please use EVAL.", Outage::NoScript),
    ("BUSY Redis is busy running a script.", Outage::ScriptBusy),
    ("MASTERDOWN Link with MASTER is down", Outage::MasterDown),
    ("CLUSTERDOWN Hash slot not served", Outage::ClusterDown),
    ("MOVED 3999 127.0.0.1:1", Outage::Moved),
    ("ASK 3999 127.0.0.1:1", Outage::Moved),
    ("TRYAGAIN Multiple keys request during rehashing of slot", Outage::TryAgain),
    ("NOREPLICAS Not enough good replicas to write.", Outage::NoReplicas),
    ("ERR max number of clients reached", Outage::Refused),
];

async fn survives(server: &RedisServer, (line, outage): (&'static str, Outage)) {
    let proxy = Proxy::start(server.address);
    let kept = Kept::at(&proxy.url());
    kept.works().await;
    let load = Load::on(&kept.client);
    load.back_after(Instant::now()).await;
    let begun = Instant::now();
    proxy.set(Fault::Answer(line));
    // who looks after the connection may be the first to get it: then calls are
    // refused before they do
    load.fails_with(begun, &[outage, Outage::Open]).await;
    if outage.effect() != Effect::None {
        eventually(line, || async { kept.client.health().outage == Some(outage) }).await;
    }
    tokio::time::sleep(FAULT).await;
    proxy.set(Fault::Pass);
    let ended = Instant::now();
    let back_after = load.back_after(ended).await;
    assert!(back_after <= BACK_AFTER, "{line}: back after {back_after:?}");
    assert!(kept.is_kept(), "{line}: the task that keeps the connection died");
    let samples = load.end().await;
    let others = [outage, Outage::Open, Outage::Broken, Outage::Timeout];
    for failure in samples.iter().filter_map(|sample| sample.failure.as_ref()) {
        assert!(failure.outage().is_some_and(|outage| others.contains(&outage)), "{line}: {failure:?}");
    }
    assert!(proxy.accepted() < 60, "{line}: {} connections", proxy.accepted());
    kept.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_reply_is_survived() {
    let server = Arc::new(RedisServer::start());
    for replies in REPLIES.chunks(4) {
        let mut cases = JoinSet::new();
        for reply in replies {
            let server = Arc::clone(&server);
            cases.spawn(async move { survives(&server, *reply).await });
        }
        while let Some(case) = cases.join_next().await {
            case.expect("an error reply that is survived");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_no_outage() {
    let server = RedisServer::start();
    let kept = Kept::at(&server.url());
    kept.works().await;
    let before = kept.client.generation();
    let deadline = || Instant::now() + Duration::from_millis(500);
    for _ in 0..50 {
        let unknown = kept.client.call(&redis::cmd("NONSENSE"), deadline()).await;
        assert!(matches!(&unknown, Err(Failure::Mistake { code, .. }) if code == "ERR"), "{unknown:?}");
    }
    kept.client.call(redis::cmd("LPUSH").arg("list").arg("a"), deadline()).await.expect("a list");
    let wrong = kept.client.get(b"list", deadline()).await;
    assert!(matches!(&wrong, Err(Failure::Mistake { code, .. }) if code == "WRONGTYPE"), "{wrong:?}");
    assert_eq!(kept.client.generation(), before);
    kept.works().await;
}
