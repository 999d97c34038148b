//! Redis is gone: decisions are answered as fast as ever and say so, and soon
//! after its return they say so no more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    kills::{APPEND_ONLY, Stage},
    ledger::Ledger,
    load::{Asked, Load, Plan, RULES},
    replica::{Replica, until},
    sized,
};
use crate::{
    harness::Place,
    redis::{
        proxy::{Fault, Proxy},
        server::RedisServer,
    },
};

/// How long Redis is gone.
fn fault() -> Duration {
    sized(Duration::from_millis(2_500), Duration::from_secs(60))
}

/// What an answer may take: its budget; on a machine that does much else ten times
/// that, and twice what answers took in the same run while nothing was wrong.
fn answered_within(usual: Duration) -> Duration {
    sized(Duration::from_millis(500) + 2 * usual, Duration::from_millis(50))
}

/// How long it may take to notice that Redis is gone.
fn noticed_within() -> Duration {
    sized(Duration::from_millis(2_300), Duration::from_secs(1))
}

/// How long after its return everything is as before.
pub const NORMAL_WITHIN: Duration = Duration::from_secs(2);
/// A connection that died in silence is replaced within this time.
fn replaced_within() -> Duration {
    sized(Duration::from_secs(3), Duration::from_secs(1))
}

/// A replica that starts without Redis serves within this time.
fn serving_within() -> Duration {
    sized(Duration::from_secs(10), Duration::from_secs(3))
}

/// How long a test waits for what must happen.
const WAIT: Duration = Duration::from_secs(30);
/// Load goes on so long before and after.
const AROUND: Duration = Duration::from_millis(600);

/// The value that so large a share is not above.
pub fn quantile(mut values: Vec<Duration>, share: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// Waits until the decisions asked for last carry no flag.
fn normal(load: &Load) {
    let newest = |asked: &[Asked]| asked.iter().rev().take(8).cloned().collect::<Vec<_>>();
    until("decisions without a flag", WAIT, || {
        let newest = newest(&load.asked());
        newest.len() == 8 && newest.iter().all(|asked| asked.answered && !asked.redis_down)
    });
}

/// An outage under load.
async fn is_survived(name: &str, stage: &mut Stage, begin: impl FnOnce(&mut Stage), end: impl FnOnce(&mut Stage)) {
    normal(&stage.load);
    std::thread::sleep(AROUND);
    begin(stage);
    let begun = Instant::now();
    std::thread::sleep(fault());
    let returns = Instant::now();
    end(stage);
    let ended = Instant::now();
    normal(&stage.load);
    std::thread::sleep(AROUND.max((ended + NORMAL_WITHIN).saturating_duration_since(Instant::now())));
    stage.settle(name).await;

    let all = stage.load.asked();
    let during: Vec<&Asked> = all.iter().filter(|asked| asked.at >= begun && asked.at < returns).collect();
    let took = quantile(during.iter().map(|asked| asked.took).collect(), 1.0);
    let unanswered = during.iter().filter(|asked| !asked.answered).count();
    let known = during.iter().filter(|asked| asked.known).count();
    let unflagged = during.iter().filter(|asked| asked.answered && !asked.redis_down).map(|asked| asked.at - begun);
    let noticed = unflagged.max().unwrap_or_default();
    let flagged = all.iter().filter(|asked| asked.at >= ended && asked.redis_down).map(|asked| asked.at - ended);
    let normal_after = flagged.max().unwrap_or_default();
    println!(
        "{name}: {} decisions, {known} of known customers, {unanswered} unanswered, longest {took:?}; all flagged \
         after {noticed:?}, none {normal_after:?} after its return",
        during.len()
    );
    assert!(known > 10 && during.len() > known + 10, "{name}: too few decisions");
    assert_eq!(unanswered, 0, "{name}");
    let usual = all.iter().filter(|asked| asked.at < begun && asked.at + asked.took < begun).map(|asked| asked.took);
    let usual = usual.max().unwrap_or_default();
    assert!(took <= answered_within(usual), "{name}: an answer took {took:?}, before at most {usual:?}");
    assert!(noticed <= noticed_within(), "{name}: not flagged {noticed:?} after it began");
    assert!(normal_after <= NORMAL_WITHIN, "{name}: still flagged {normal_after:?} after its return");
    assert_eq!((stage.load.failed(), stage.load.skipped()), (Vec::new(), 0), "{name}");
}

fn plan() -> Plan {
    Plan { rate: 200, ..Plan::default() }
}

/// A stage whose replicas reach Redis through a proxy.
pub async fn behind_proxy(replicas: usize, plan: Plan) -> (Stage, Proxy) {
    let redis = RedisServer::start_with(&APPEND_ONLY);
    let proxy = Proxy::start(redis.address);
    (Stage::at(redis, &proxy.url(), replicas, plan).await, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_refuses() {
    let (mut stage, mut proxy) = behind_proxy(2, plan()).await;
    let shared = std::cell::RefCell::new(&mut proxy);
    is_survived("refusal", &mut stage, |_| shared.borrow_mut().refuse(), |_| shared.borrow_mut().accept_again()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_stopped() {
    let mut stage = Stage::with(2, plan()).await;
    is_survived("SIGSTOP", &mut stage, |stage| stage.redis.pause(), |stage| stage.redis.go_on()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_a_black_hole() {
    let (mut stage, proxy) = behind_proxy(2, plan()).await;
    is_survived("black hole", &mut stage, |_| proxy.set(Fault::Hole), |_| proxy.set(Fault::Pass)).await;
}

/// How long it takes until what is written on one replica is known on another.
pub async fn crosses(from: &Replica, to: &Replica, number: usize) -> Duration {
    let id = format!("probe-{number}-{}", from.address.port());
    let begun = Instant::now();
    from.server().customer(&id, json!({})).await;
    while to.server().view("customer_id", &id).await.is_none() {
        let log = || to.server().log();
        assert!(begun.elapsed() < WAIT, "{id} did not come across in {WAIT:?}:\n{}", log());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_in_silence_is_replaced() {
    let (mut stage, proxy) = behind_proxy(2, plan()).await;
    for round in 0..sized(2, 20) {
        crosses(&stage.replicas[0], &stage.replicas[1], 2 * round).await;
        let before = proxy.accepted();
        proxy.silence();
        let begun = Instant::now();
        crosses(&stage.replicas[0], &stage.replicas[1], 2 * round + 1).await;
        let took = begun.elapsed();
        println!("silence: known on the other replica after {took:?}");
        assert!(proxy.accepted() > before, "no other connection was made");
        assert!(took <= replaced_within(), "replaced only {took:?} after it died");
    }
    stage.settle("silence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_starts_and_serves_without_redis() {
    let (mut stage, mut proxy) = behind_proxy(1, plan()).await;
    stage.progress(50);
    stage.load.end();
    stage.replicas[0].end();
    proxy.refuse();
    let begun = Instant::now();
    stage.replicas[0].start_again();
    let question = json!({
        "identities": [{"type": "customer_id", "value": "load-0"}], "placements": [{"placement": "shelf"}],
    });
    let answer = stage.replicas[0].server().decide(question.clone()).await.expect("an answer");
    let took = begun.elapsed();
    assert!(!answer.placements[0].presentations.is_empty() && !answer.degraded.is_empty(), "{answer:?}");
    // one that never saw Redis serves from its rules
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", RULES);
    let begun = Instant::now();
    let url = proxy.url();
    let fresh = Replica::start_by(super::replica::rapport(), &place, &["--store", &url]);
    fresh.wait_ready();
    let answer = fresh.server().decide(question).await.expect("an answer");
    let fresh_took = begun.elapsed();
    assert!(!answer.placements[0].presentations.is_empty() && !answer.degraded.is_empty(), "{answer:?}");
    println!("without redis: serving after {took:?}, with an empty directory after {fresh_took:?}");
    assert!(took <= serving_within() && fresh_took <= serving_within(), "{took:?}, {fresh_took:?}");
    // what was taken in without Redis gets there, and the new one gets all
    let ledger: Arc<Ledger> = Arc::clone(&stage.ledger);
    let addresses = [stage.replicas[0].address];
    stage.load = Load::start(&addresses, plan(), &ledger, 100_000);
    stage.progress(30);
    proxy.accept_again();
    stage.progress(30);
    stage.settle("cold start").await;
    fresh.wait_joined();
    stage.ledger.profiles_agree(&fresh, "cold start").await;
}
