//! What is written on one replica is known on the others: soon without a token,
//! at once or said not to be with one, though connections to Redis are killed.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rapport::proto::{
    DecideRequest, DecideResponse, Degraded, RecordRequest, RecordStatus,
    decision_service_client::DecisionServiceClient, event_service_client::EventServiceClient,
};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tonic::transport::Channel;

use super::{
    kills::APPEND_ONLY,
    load::{RULES, who},
    outage::quantile,
    replica::Replica,
    sized,
};
use crate::{harness::message, redis::server::RedisServer};

/// Customers who are written and asked about at the same time.
const WORKERS: usize = 8;
/// Between two kills of every connection.
const KILLED_EVERY: Duration = Duration::from_millis(250);
/// How long a test waits for a write to be known.
const WAIT: Duration = Duration::from_secs(60);
/// Between two questions.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Most that what is known may be behind without a token.
const STALE_MAX: Duration = Duration::from_secs(5);
/// Questions at the same moment.
const MISSES: usize = 1_000;

/// What all but one of a hundred writes are known within.
fn stale_p99() -> Duration {
    sized(Duration::from_millis(2_500), Duration::from_millis(250))
}

/// Two replicas; connections to their Redis are killed all the time.
struct Pair {
    redis: Arc<RedisServer>,
    a: Replica,
    b: Replica,
}

impl Pair {
    fn start() -> Self {
        let redis = Arc::new(RedisServer::start_with(&APPEND_ONLY));
        let a = Replica::start(RULES, &redis.url());
        let b = Replica::start(RULES, &redis.url());
        Self { redis, a, b }
    }

    /// Makes customers whose purchases decisions may tell.
    async fn customers(&self, kind: &str) {
        for worker in 0..WORKERS {
            self.a.server().customer(&format!("load-{}", number(kind, worker)), json!({})).await;
        }
    }
}

/// A number of a customer for each kind and worker.
fn number(kind: &str, worker: usize) -> usize {
    kind.len() * 1_000 + worker
}

/// Kills connections until dropped.
struct Killer {
    stop: Arc<AtomicBool>,
    kills: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Killer {
    fn start(redis: &Arc<RedisServer>) -> Self {
        let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (redis, stopped, counted) = (Arc::clone(redis), Arc::clone(&stop), Arc::clone(&kills));
        let run = move || {
            while !stopped.load(Relaxed) {
                std::thread::sleep(KILLED_EVERY);
                for kind in ["normal", "pubsub"] {
                    let killed = redis.say(&format!("CLIENT KILL TYPE {kind}"));
                    counted.fetch_add(killed.trim().trim_start_matches(':').parse().unwrap_or(0), Relaxed);
                }
            }
        };
        Self { stop, kills, thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// One who writes on one replica and asks on the other.
struct Worker {
    customer: usize,
    writes: Channel,
    asks: Channel,
}

impl Worker {
    /// Buys for the nth time; the token of the write.
    async fn buys(&self, nth: usize) -> String {
        let event = json!({
            "eventId": format!("buys-{}-{nth}", self.customer),
            "customer": {"identities": who(self.customer), "type": "purchase"},
        });
        let request: RecordRequest = message(json!({"events": [event]}));
        let reply = EventServiceClient::new(self.writes.clone()).record(request).await.expect("recording").into_inner();
        assert_eq!(reply.results[0].status(), RecordStatus::Recorded, "{:?}", reply.results[0]);
        reply.results[0].consistency_token.clone()
    }

    async fn asks(&self, token: &str) -> DecideResponse {
        let question: Value = json!({
            "identities": who(self.customer), "placements": [{"placement": "counter"}], "consistencyToken": token,
        });
        let request: DecideRequest = message(question);
        DecisionServiceClient::new(self.asks.clone()).decide(request).await.expect("an answer").into_inner()
    }
}

/// Whether an answer knows of so many purchases.
fn knows(answer: &DecideResponse, orders: usize) -> bool {
    let text = answer.placements[0].presentations.first().and_then(|shown| shown.message.clone()).unwrap_or_default();
    text.text == format!("orders {orders}")
}

async fn workers(pair: &Pair, kind: &str) -> Vec<Worker> {
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let (writes, asks) = (pair.a.server().channel().await, pair.b.server().channel().await);
        workers.push(Worker { customer: number(kind, worker), writes, asks });
    }
    workers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_soon_known_on_another_replica() {
    let writes: usize = sized(240, 10_000);
    let pair = Pair::start();
    pair.customers("stale").await;
    let staleness = Arc::new(Mutex::new(Vec::with_capacity(writes)));
    let killer = Killer::start(&pair.redis);
    let mut tasks = tokio::task::JoinSet::new();
    for worker in workers(&pair, "stale").await {
        let staleness = Arc::clone(&staleness);
        tasks.spawn(async move {
            for nth in 1..=writes / WORKERS {
                worker.buys(nth).await;
                let written = Instant::now();
                while !knows(&worker.asks("").await, nth) {
                    assert!(written.elapsed() < WAIT, "not known after {WAIT:?}: {:?}", worker.asks("").await);
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                staleness.lock().expect("times").push(written.elapsed());
            }
        });
    }
    tasks.join_all().await;
    let kills = killer.kills.load(Relaxed);
    drop(killer);
    let staleness = std::mem::take(&mut *staleness.lock().expect("times"));
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| quantile(staleness.clone(), share));
    println!(
        "{} writes over {kills} killed connections: known after {p50:?} p50, {p99:?} p99, {max:?} max",
        staleness.len()
    );
    assert!(kills > 0, "no connection was killed");
    assert!(p99 <= stale_p99() && max <= STALE_MAX, "{p99:?} p99, {max:?} max");
    [&pair.a, &pair.b].into_iter().for_each(Replica::check_alive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_nothing_stale_is_told_as_fresh() {
    let pairs: usize = sized(400, 100_000);
    let pair = Pair::start();
    pair.customers("token").await;
    let killer = Killer::start(&pair.redis);
    let (flagged, stale) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in workers(&pair, "token").await {
        let (flagged, stale) = (Arc::clone(&flagged), Arc::clone(&stale));
        tasks.spawn(async move {
            for nth in 1..=pairs / WORKERS {
                let token = worker.buys(nth).await;
                let answer = worker.asks(&token).await;
                let says_so = answer
                    .degraded
                    .iter()
                    .filter_map(|flag| Degraded::try_from(*flag).ok())
                    .any(|flag| flag == Degraded::StaleProfile);
                flagged.fetch_add(usize::from(says_so), Relaxed);
                if !says_so && !knows(&answer, nth) {
                    eprintln!("stale: {nth} purchases, {answer:?}");
                    stale.fetch_add(1, Relaxed);
                }
            }
        });
    }
    tasks.join_all().await;
    drop(killer);
    let flagged = flagged.load(Relaxed);
    println!("{pairs} pairs of a write and a decision elsewhere: {flagged} said to be stale");
    assert_eq!(stale.load(Relaxed), 0, "of {pairs} pairs were stale and did not say so");
    assert!(flagged < pairs / 2, "{flagged} of {pairs} could not be answered from the write");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_misses_of_one_customer_are_one_load() {
    let redis = RedisServer::start_with(&APPEND_ONLY);
    let writer = Replica::start(RULES, &redis.url());
    writer.server().customer("load-0", json!({})).await;
    // one that has never heard of the customer
    let reader = Replica::start(RULES, &redis.url());
    let monitor = monitor(&redis);
    let mut channels = Vec::new();
    for _ in 0..8 {
        channels.push(reader.server().channel().await);
    }
    let barrier = Arc::new(Barrier::new(MISSES));
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..MISSES {
        let (worker, barrier) = (
            Worker { customer: 0, writes: channels[at % 8].clone(), asks: channels[at % 8].clone() },
            Arc::clone(&barrier),
        );
        tasks.spawn(async move {
            barrier.wait().await;
            worker.asks("").await
        });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| !answer.placements[0].presentations.is_empty()));
    let loads = loads(&redis, monitor);
    println!("{MISSES} misses at once: {loads} loads");
    assert!(loads <= 1, "{loads} loads of one customer");
}

/// A connection that hears every command from now on.
fn monitor(redis: &RedisServer) -> TcpStream {
    let mut stream = TcpStream::connect(redis.address).expect("a connection");
    stream.set_read_timeout(Some(WAIT)).expect("a timeout");
    stream.write_all(b"MONITOR\r\n").expect("a command");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+OK\r\n");
    stream
}

/// How often a profile was read since somebody listens.
fn loads(redis: &RedisServer, mut monitor: TcpStream) -> usize {
    const END: &[u8] = b"enough was heard";
    redis.say("ECHO \"enough was heard\"");
    let (mut heard, mut piece) = (Vec::new(), [0; 16 * 1024]);
    while !heard.windows(END.len()).any(|bytes| bytes == END) {
        let read = monitor.read(&mut piece).expect("commands");
        assert!(read > 0, "the connection was closed");
        heard.extend_from_slice(&piece[..read]);
    }
    let heard = String::from_utf8_lossy(&heard).to_lowercase();
    heard.lines().filter(|line| line.contains("\"get\" ") && line.contains("}:p\"")).count()
}
