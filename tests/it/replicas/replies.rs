//! Error replies for a while, under load: no task dies, and what waited is
//! shipped soon after.

use std::time::{Duration, Instant};

use super::{
    kills::Stage,
    load::Plan,
    outage::{NORMAL_WITHIN, behind_proxy, crosses},
    sized,
};
use crate::redis::{proxy::Fault, server::RedisServer};

/// How long the replies last.
fn lasts() -> Duration {
    sized(Duration::from_millis(300), Duration::from_secs(3))
}

/// How long after the end of a fault what was written is known elsewhere.
fn flushed_within() -> Duration {
    sized(8 * NORMAL_WITHIN, NORMAL_WITHIN)
}

const REPLIES: [&str; 13] = [
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Redis is configured to save RDB snapshots",
    "NOSCRIPT No matching script. Please use EVAL.",
    "BUSY Redis is busy running a script.",
    "MASTERDOWN Link with MASTER is down",
    "CLUSTERDOWN Hash slot not served",
    "MOVED 3999 127.0.0.1:1",
    "ASK 3999 127.0.0.1:1",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "NOREPLICAS Not enough good replicas to write.",
    "ERR max number of clients reached",
];

/// What is written on each replica is known on the other, soon after now.
async fn resumes(stage: &Stage, what: &str, number: usize) {
    let (a, b) = (&stage.replicas[0], &stage.replicas[1]);
    let ended = Instant::now();
    let (to, back) = (crosses(a, b, number), crosses(b, a, number));
    let (to, back) = tokio::join!(to, back);
    println!("{what}: known on the other replicas {to:?} and {back:?} after its end");
    assert!(ended.elapsed() <= flushed_within(), "{what}: resumed only after {:?}", ended.elapsed());
    stage.replicas.iter().for_each(super::replica::Replica::check_alive);
}

fn plan() -> Plan {
    Plan { rate: 120, ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_reply_is_survived() {
    let (mut stage, proxy) = behind_proxy(2, plan()).await;
    for (number, line) in REPLIES.into_iter().enumerate() {
        stage.progress(5);
        proxy.set(Fault::Answer(line));
        std::thread::sleep(lasts());
        proxy.set(Fault::Pass);
        resumes(&stage, line, number).await;
    }
    stage.settle("error replies").await;
    assert_eq!(stage.load.failed(), Vec::<String>::new());
}

/// Something done to a server for a while.
struct Case {
    what: &'static str,
    begin: fn(&RedisServer),
    end: fn(&RedisServer),
}

const CASES: [Case; 6] = [
    Case {
        what: "out of memory",
        begin: |redis| drop(redis.say("CONFIG SET maxmemory 1")),
        end: |redis| drop(redis.say("CONFIG SET maxmemory 0")),
    },
    Case { what: "scripts forgotten", begin: |redis| drop(redis.say("SCRIPT FLUSH")), end: |_| () },
    Case {
        what: "a script that does not end",
        begin: |redis| {
            redis.say("CONFIG SET lua-time-limit 20");
            let address = redis.address;
            std::thread::spawn(move || RedisServer::shout(address, r#"EVAL "while true do end" 0"#));
        },
        end: |redis| drop(redis.say("SCRIPT KILL")),
    },
    Case {
        what: "a replica that answers",
        // nobody is there to follow: it keeps its data
        begin: |redis| drop(redis.say("REPLICAOF 127.0.0.1 1")),
        end: |redis| drop(redis.say("REPLICAOF NO ONE")),
    },
    Case {
        what: "a replica that does not",
        begin: |redis| {
            redis.say("CONFIG SET replica-serve-stale-data no");
            redis.say("REPLICAOF 127.0.0.1 1");
        },
        end: |redis| drop(redis.say("REPLICAOF NO ONE")),
    },
    Case {
        what: "too few replicas",
        begin: |redis| drop(redis.say("CONFIG SET min-replicas-to-write 1")),
        end: |redis| drop(redis.say("CONFIG SET min-replicas-to-write 0")),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_in_a_bad_state_is_survived() {
    let mut stage = Stage::with(2, plan()).await;
    for (number, case) in CASES.iter().enumerate() {
        stage.progress(5);
        (case.begin)(&stage.redis);
        std::thread::sleep(lasts());
        (case.end)(&stage.redis);
        resumes(&stage, case.what, number).await;
    }
    stage.settle("bad states").await;
    assert_eq!(stage.load.failed(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_for_long_is_survived() {
    let mut stage = Stage::with(2, plan()).await;
    stage.progress(20);
    // a pause after each key, in microseconds
    let keys: u64 = stage.redis.say("DBSIZE").trim().trim_start_matches(':').parse().expect("a number");
    let delay = lasts().as_micros() / u128::from(keys.max(1));
    stage.redis.kill();
    stage.redis.start_again_with(&["--key-load-delay", &delay.to_string()]);
    until_loaded(&stage.redis);
    resumes(&stage, "loading", 0).await;
    stage.settle("loading").await;
    assert_eq!(stage.load.failed(), Vec::<String>::new());
}

fn until_loaded(redis: &RedisServer) {
    super::replica::until("it has loaded", Duration::from_secs(30), || redis.say("PING").starts_with('+'));
}
