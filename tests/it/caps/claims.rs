//! Claims of three replicas on the caps of one person.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rapport::{
    domain::{ChannelId, CustomerKey, OfferId, RecordRef},
    store::{caps::Verdict, redis::Keys},
};

use super::replica::{PATIENT, RESERVED, Replica, decision, now, sized};
use crate::redis::{
    bench::{eventually, within},
    server::RedisServer,
};

const CUSTOMER: CustomerKey = CustomerKey(7);
/// The smallest of the four caps that count the offer.
const CAP: u64 = 1_000;
/// Claims under way at once, of each replica.
const TASKS: u64 = 16;

fn replicas(server: &RedisServer) -> Vec<Arc<Replica>> {
    (1..=3).map(|number| Arc::new(Replica::at(&server.url(), number))).collect()
}

async fn ready(replicas: &[Arc<Replica>]) {
    for replica in replicas {
        replica.kept.works().await;
    }
}

/// Claims `total` times by every replica at once; answers how many were granted.
async fn claim_all(replicas: &[Arc<Replica>], total: u64) -> u64 {
    let (next, granted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for replica in replicas {
        for _ in 0..TASKS {
            let (replica, next, granted) = (Arc::clone(replica), Arc::clone(&next), Arc::clone(&granted));
            tasks.push(tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n >= total {
                        return;
                    }
                    // confirmed at once: nothing lapses while this runs
                    let claim = replica.place(CUSTOMER, decision(n), None);
                    match replica.caps.claim(&claim, now(), within(PATIENT)).await {
                        Verdict::Granted => _ = granted.fetch_add(1, SeqCst),
                        Verdict::Refused(places) => assert_eq!(places, [0]),
                        Verdict::Unknown => panic!("nobody answered"),
                    }
                }
            }));
        }
    }
    for task in tasks {
        task.await.expect("claims");
    }
    granted.load(SeqCst)
}

/// What reading a count and then raising it grants.
async fn get_then_increment(replicas: &[Arc<Replica>], total: u64) -> u64 {
    let (next, granted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for replica in replicas {
        for _ in 0..TASKS {
            let (replica, next, granted) = (Arc::clone(replica), Arc::clone(&next), Arc::clone(&granted));
            tasks.push(tokio::spawn(async move {
                while next.fetch_add(1, SeqCst) < total {
                    let client = &replica.kept.client;
                    let count = client.get(b"naive", within(PATIENT)).await.expect("a count");
                    let count =
                        count.map_or(0, |text| String::from_utf8_lossy(&text).parse::<u64>().expect("a number"));
                    if count < CAP {
                        client.call(redis::cmd("INCR").arg("naive"), within(PATIENT)).await.expect("a count");
                        granted.fetch_add(1, SeqCst);
                    }
                }
            }));
        }
    }
    for task in tasks {
        task.await.expect("claims");
    }
    granted.load(SeqCst)
}

/// How many places are held under each cap of the customer.
fn held(server: &RedisServer) -> Vec<u64> {
    let keys = Keys::default();
    let index = String::from_utf8(keys.caps(CUSTOMER)).expect("text");
    let fields = server.say(&format!("HKEYS {index}"));
    let caps = fields.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::trim).collect::<Vec<_>>();
    let count = |cap: &&str| {
        let reply = server.say(&format!("ZCARD {index}:{cap}"));
        reply.trim().trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{reply}"))
    };
    caps.iter().map(count).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_claims_over_three_replicas_exactly_the_cap_is_granted() {
    let server = RedisServer::start();
    let replicas = replicas(&server);
    ready(&replicas).await;
    let total = sized("CAPS_CLAIMS", 10_000);
    let begun = Instant::now();
    let granted = claim_all(&replicas, total).await;
    let took = begun.elapsed();
    assert_eq!(granted, CAP, "of {total} claims");
    assert_eq!(held(&server), [CAP; 4], "all or nothing under four caps");
    let naive = get_then_increment(&replicas, total / 4).await;
    println!(
        "{total} claims over 3 replicas on caps of 1,000, 2,000, 3,000 and 4,000: {granted} granted in {took:?}; \
         reading and then raising a count granted {naive}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_sent_twice_is_granted_once() {
    let server = RedisServer::start();
    let replicas = replicas(&server);
    ready(&replicas).await;
    for _ in 0..3 {
        for replica in &replicas {
            assert_eq!(replica.claim(CUSTOMER, decision(1), within(PATIENT)).await, Verdict::Granted);
        }
    }
    assert_eq!(held(&server), [1; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_free_again_when_it_is_given_back_or_lapses() {
    let server = RedisServer::start();
    let replicas = replicas(&server);
    ready(&replicas).await;
    let presented = (OfferId::of("ad"), ChannelId::of("web"), RecordRef::NONE);
    let [one, other, _] = &replicas[..] else { panic!("three") };
    assert_eq!(one.claim(CUSTOMER, decision(1), within(PATIENT)).await, Verdict::Granted);
    assert_eq!(one.claim(CUSTOMER, decision(2), within(PATIENT)).await, Verdict::Granted);
    other.caps.release(CUSTOMER, decision(1), presented);
    // who gave a place back finds it free
    assert_eq!(other.claim(CUSTOMER, decision(3), within(PATIENT)).await, Verdict::Granted);
    assert_eq!(held(&server), [2; 4]);
    let begun = Instant::now();
    eventually("reservations lapse", || async {
        let again = one.claim(CUSTOMER, decision(4), within(PATIENT)).await;
        assert_eq!(again, Verdict::Granted);
        held(&server) == [1; 4]
    })
    .await;
    assert!(begun.elapsed() > RESERVED / 2, "they lapsed too early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_of_the_absorbed_are_the_survivors() {
    let server = RedisServer::start();
    let replicas = replicas(&server);
    ready(&replicas).await;
    let absorbed = CustomerKey(8);
    let replica = &replicas[0];
    for n in 0..10 {
        let whose = if n < 6 { absorbed } else { CUSTOMER };
        let claim = replica.place(whose, decision(n), None);
        assert_eq!(replica.caps.claim(&claim, now(), within(PATIENT)).await, Verdict::Granted);
    }
    assert_eq!(held(&server), [4; 4]);
    replica.caps.unite(absorbed, CUSTOMER);
    eventually("claims are moved", || async { held(&server) == [10; 4] }).await;
    // a replica that did not know of it claimed for the absorbed, and learns of it
    let late = replicas[1].place(absorbed, decision(11), None);
    assert_eq!(replicas[1].caps.claim(&late, now(), within(PATIENT)).await, Verdict::Granted);
    replicas[1].caps.unite(absorbed, CUSTOMER);
    eventually("later ones too", || async { held(&server) == [11; 4] }).await;
    replica.caps.forget(CUSTOMER);
    eventually("claims of the erased are gone", || async { held(&server).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_counted_again_and_told() {
    let server = RedisServer::start();
    let replicas = replicas(&server);
    ready(&replicas).await;
    let since = now();
    let half = CAP / 2;
    for n in 0..half {
        let claim = replicas[0].place(CUSTOMER, decision(1_000_000 + n), None);
        assert_eq!(replicas[0].caps.claim(&claim, now(), within(PATIENT)).await, Verdict::Granted);
    }
    // the next primary knows nothing of it, and grants the whole cap again
    server.say("FLUSHALL");
    let granted = claim_all(&replicas[1..], CAP + 50).await;
    assert_eq!(granted, CAP);
    let over = replicas[0].caps.recount(since, now()).await.expect("a count");
    // beyond the smallest of the four caps only
    assert_eq!(over, half);
    assert_eq!(held(&server), [CAP + half; 4]);
    assert_eq!(replicas[0].caps.recount(since, now()).await, Ok(0), "nothing is counted twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_to_the_deadline() {
    let server = RedisServer::start();
    let replicas = replicas(&server);
    ready(&replicas).await;
    server.pause();
    let begun = Instant::now();
    let verdict = replicas[0].claim(CUSTOMER, decision(1), within(Duration::from_millis(40))).await;
    assert_eq!(verdict, Verdict::Unknown);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    server.go_on();
}
