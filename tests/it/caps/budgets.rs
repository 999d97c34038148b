//! A budget that three replicas share by leases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rapport::{
    domain::DecisionId,
    store::caps::{Took, Verdict},
};

use super::replica::{PATIENT, Replica, decision, now, sized};
use crate::redis::{bench::within, server::RedisServer};

const BUDGET: u64 = 1_000;
const HOLD_US: i64 = 3_000_000;

async fn take(replica: &Replica, decision: DecisionId, hold_us: Option<i64>) -> Verdict {
    let budget = replica.budget();
    match replica.caps.take(&budget, decision, hold_us) {
        Took::Granted => Verdict::Granted,
        Took::Spent => Verdict::Refused(Vec::new()),
        Took::Ask => replica.caps.take_asking(&budget, (decision, hold_us), now(), within(PATIENT)).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_granted_to_the_last_unit_and_never_beyond() {
    let server = RedisServer::start();
    let replicas: Vec<Arc<Replica>> = (1..=3).map(|n| Arc::new(Replica::at(&server.url(), n))).collect();
    for replica in &replicas {
        replica.kept.works().await;
    }
    let total = sized("CAPS_CLAIMS", 8_000);
    let (next, granted, without_asking) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicI64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for replica in &replicas {
        for _ in 0..8 {
            let (replica, next, granted) = (Arc::clone(replica), Arc::clone(&next), Arc::clone(&granted));
            let without_asking = Arc::clone(&without_asking);
            tasks.push(tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n >= total {
                        return;
                    }
                    let id = decision(n);
                    let budget = replica.budget();
                    // a long reservation: nothing lapses while this runs
                    if replica.caps.take(&budget, id, Some(HOLD_US)) == Took::Granted {
                        without_asking.fetch_add(1, SeqCst);
                    } else if take(&replica, id, Some(HOLD_US)).await != Verdict::Granted {
                        continue;
                    }
                    assert!(granted.fetch_add(1, SeqCst) < BUDGET as i64, "beyond the budget");
                    // seen: the unit is spent for good
                    replica.seen(id);
                }
            }));
        }
    }
    for task in tasks {
        task.await.expect("claims");
    }
    // what other replicas leased and did not use comes back within one lease
    let last_claim = Instant::now();
    let mut n = total;
    while granted.load(SeqCst) < BUDGET as i64 {
        assert!(last_claim.elapsed() < Duration::from_secs(15), "{} of {BUDGET}", granted.load(SeqCst));
        n += 1;
        if take(&replicas[0], decision(n), Some(HOLD_US)).await == Verdict::Granted {
            granted.fetch_add(1, SeqCst);
            replicas[0].seen(decision(n));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = last_claim.elapsed();
    for replica in &replicas {
        n += 1;
        assert_ne!(take(replica, decision(n), Some(HOLD_US)).await, Verdict::Granted, "beyond the budget");
    }
    println!(
        "a budget of {BUDGET}: {} granted, {} of them in memory; the last of them {took:?} after the crowd",
        granted.load(SeqCst),
        without_asking.load(SeqCst)
    );
    assert!(without_asking.load(SeqCst) > BUDGET / 4, "most units must be granted without asking");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_may_have_granted_all_it_leased() {
    let server = RedisServer::start();
    let (one, other) = (Replica::at(&server.url(), 1), Replica::at(&server.url(), 2));
    one.kept.works().await;
    other.kept.works().await;
    // the first unit comes with a lease of more
    assert_eq!(take(&one, decision(0), Some(HOLD_US)).await, Verdict::Granted);
    let mut granted = 1;
    while one.caps.take(&one.budget(), decision(granted), Some(HOLD_US)) == Took::Granted {
        granted += 1;
    }
    let killed_at = Instant::now();
    one.kill();
    // none of it was told to Redis
    let mut others = 0;
    while take(&other, decision(10_000 + others), None).await == Verdict::Granted {
        others += 1;
    }
    assert!(granted > 1 && granted + others <= BUDGET, "{granted} and {others} of {BUDGET}");
    // once whatever it granted has lapsed, nothing is stuck
    let mut more = 0;
    while others + more < BUDGET {
        assert!(killed_at.elapsed() < Duration::from_secs(40), "{others} and {more} of {BUDGET}");
        if take(&other, decision(20_000 + more), None).await == Verdict::Granted {
            more += 1;
            let lapsed = killed_at.elapsed() > Duration::from_micros(HOLD_US as u64);
            assert!(lapsed || granted + others + more <= BUDGET, "beyond the budget");
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    println!("a killed replica had granted {granted}; the units came back {:?} after it", killed_at.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_got_can_be_granted_again() {
    let server = RedisServer::start();
    let replica = Replica::at(&server.url(), 1);
    replica.kept.works().await;
    for n in 0..2 * BUDGET {
        let verdict = take(&replica, decision(n), Some(HOLD_US)).await;
        assert_eq!(verdict, Verdict::Granted, "unit {n}");
        replica.caps.give_unit_back(replica.budget().offer, decision(n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_a_failover_lost_are_told_again() {
    let server = RedisServer::start();
    let (one, other) = (Replica::at(&server.url(), 1), Replica::at(&server.url(), 2));
    one.kept.works().await;
    other.kept.works().await;
    let since = now();
    let lost = 100;
    for n in 0..lost {
        assert_eq!(take(&one, decision(n), None).await, Verdict::Granted);
    }
    // the next primary knows nothing of it, and grants the whole budget again
    server.say("FLUSHALL");
    let mut granted = 0;
    while granted < BUDGET {
        if take(&other, decision(10_000 + granted), None).await == Verdict::Granted {
            granted += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let over = one.caps.recount(since, now()).await.expect("a count");
    assert_eq!(over, lost);
    assert_eq!(one.caps.recount(since, now()).await, Ok(0), "nothing is counted twice");
    assert_ne!(take(&other, decision(20_000), None).await, Verdict::Granted);
}
