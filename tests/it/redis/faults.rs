//! Redis that is gone, stopped, mute or slow.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use rapport::store::redis::{BreakerState, Failure, Generation, Outage, Settings};

use super::{
    bench::{BACK_AFTER, CALL, Kept, Load, SLACK, eventually, within},
    proxy::{Fault, Proxy},
    server::RedisServer,
};

/// How long a fault lasts.
const FAULT: Duration = Duration::from_millis(700);

/// Waits while a fault lasts.
async fn lasts() {
    tokio::time::sleep(FAULT).await;
}

/// Load, a fault for a while, and service again within the promise.
async fn survives(kept: &Kept, expected: &[Outage], begin: impl FnOnce(), end: impl FnOnce()) -> Generation {
    kept.works().await;
    let load = Load::on(&kept.client);
    load.back_after(Instant::now()).await;
    let begun = Instant::now();
    begin();
    load.fails_with(begun, expected).await;
    lasts().await;
    end();
    let ended = Instant::now();
    let back_after = load.back_after(ended).await;
    assert!(back_after <= BACK_AFTER, "back after {back_after:?}");
    assert!(kept.is_kept(), "the task that keeps the connection died");
    load.back_after(Instant::now()).await;
    load.end().await;
    let health = kept.client.health();
    assert_eq!((health.breaker, health.outage), (BreakerState::Closed, None));
    kept.client.generation()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let kept = Kept::at(&server.url());
    kept.works().await;
    let first = kept.client.health();
    let slot = std::cell::RefCell::new(&mut server);
    let gone = [Outage::Broken, Outage::Refused, Outage::Open, Outage::Timeout];
    let generation = survives(&kept, &gone, || slot.borrow_mut().kill(), || slot.borrow_mut().start_again()).await;
    assert!(generation > first.generation);
    let (before, after) = (first.primary.expect("a primary"), kept.client.health().primary.expect("a primary"));
    assert!(before.run_id.is_some() && before.run_id != after.run_id, "{before:?} {after:?}");
    assert_eq!(before.node, after.node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_stopped_is_used_again_when_it_goes_on() {
    let server = RedisServer::start();
    let kept = Kept::at(&server.url());
    survives(&kept, &[Outage::Timeout], || server.pause(), || server.go_on()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connections_are_survived() {
    let server = RedisServer::start();
    let mut proxy = Proxy::start(server.address);
    let kept = Kept::at(&proxy.url());
    let slot = std::cell::RefCell::new(&mut proxy);
    let refused = [Outage::Refused, Outage::Open];
    survives(&kept, &refused, || slot.borrow_mut().refuse(), || slot.borrow_mut().accept_again()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_survived() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address);
    let kept = Kept::at(&proxy.url());
    survives(&kept, &[Outage::Timeout], || proxy.set(Fault::Hole), || proxy.set(Fault::Pass)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_are_survived() {
    for fault in [Fault::Reset, Fault::Half] {
        let server = RedisServer::start();
        let proxy = Proxy::start(server.address);
        let kept = Kept::at(&proxy.url());
        // who looks after the connection may be the first that it happens to
        let broken = [Outage::Broken, Outage::Open];
        survives(&kept, &broken, || proxy.set(fault), || proxy.set(Fault::Pass)).await;
        assert!(proxy.accepted() < 40, "{} connections in {FAULT:?} of {fault:?}", proxy.accepted());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_beyond_the_deadline_are_not_waited_for() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address);
    let kept = Kept::at(&proxy.url());
    let late = Fault::Delay(4 * CALL);
    survives(&kept, &[Outage::Timeout], || proxy.set(late), || proxy.set(Fault::Pass)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_in_silence_is_replaced_by_one() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address);
    let kept = Kept::at(&proxy.url());
    kept.works().await;
    let load = Load::on(&kept.client);
    load.back_after(Instant::now()).await;
    let begun = Instant::now();
    proxy.silence();
    load.fails_with(begun, &[Outage::Timeout]).await;
    let timed_out = |failure: &Option<Failure>| *failure == Some(Failure::Outage(Outage::Timeout));
    let back_after = load.back_after(begun + CALL).await;
    let first = load.end().await.into_iter().filter(|sample| timed_out(&sample.failure)).map(|sample| sample.ended);
    let first = first.min().expect("a time-out").saturating_duration_since(begun + CALL);
    let back_after = back_after.saturating_sub(first);
    assert!(back_after <= Duration::from_secs(1), "back {back_after:?} after the first time-out");
    assert_eq!((proxy.accepted(), kept.client.generation()), (2, Generation(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_in_silence_is_noticed_without_calls() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address);
    let kept = Kept::at(&proxy.url());
    kept.works().await;
    proxy.silence();
    eventually("another connection", || async { kept.client.generation() == Generation(2) }).await;
    kept.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_calls_that_fail_make_one_connection() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address);
    let kept = Kept::at(&proxy.url());
    kept.works().await;
    proxy.silence();
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            let client = kept.client.clone();
            tokio::spawn(async move { client.get(b"a", within(3 * CALL)).await })
        })
        .collect();
    let mut failed = 0;
    for call in calls {
        // one that began late may have had the new connection
        let Err(failure) = call.await.expect("a call") else { continue };
        let outage = failure.outage().expect("an outage");
        assert!([Outage::Timeout, Outage::Open].contains(&outage), "{outage:?}");
        failed += 1;
    }
    assert!(failed > 100, "{failed} calls failed");
    kept.works().await;
    assert_eq!((proxy.accepted(), kept.client.connection_attempts()), (2, 2));
    assert_eq!(kept.client.generation(), Generation(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_come_after_the_client() {
    // nobody else gets the port between the two
    let reserved = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = reserved.local_addr().expect("its address");
    let mut server = RedisServer::start();
    let mut proxy = Proxy::start(server.address);
    proxy.refuse();
    server.kill();
    drop(reserved);
    for url in [proxy.url(), format!("redis://{address}")] {
        let begun = Instant::now();
        let kept = Kept::at(&url);
        assert!(begun.elapsed() < SLACK, "making a client took {:?}", begun.elapsed());
        let failure = kept.client.get(b"a", within(CALL)).await.expect_err("a call without redis");
        assert!(failure.outage().is_some() && begun.elapsed() < CALL + 2 * SLACK, "{failure:?}");
        assert!(kept.is_kept());
    }
    let kept = Kept::at(&proxy.url());
    eventually("the breaker opens", || async { kept.client.health().breaker == BreakerState::Open }).await;
    assert_eq!(kept.client.health().outage, Some(Outage::Refused));
    let refused = Instant::now();
    let failure = kept.client.get(b"a", within(CALL)).await;
    assert_eq!(failure, Err(Failure::Outage(Outage::Open)));
    assert!(refused.elapsed() < SLACK);
    server.start_again();
    proxy.accept_again();
    kept.works().await;
    assert_eq!(kept.client.generation(), Generation(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_their_way_are_bounded() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address);
    let settings = Settings { in_flight_max: 8, ..Settings::default() };
    let kept = Kept::with(&proxy.url(), settings);
    kept.works().await;
    proxy.set(Fault::Hole);
    let deadline = within(Duration::from_millis(400));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let client = kept.client.clone();
            tokio::spawn(async move { client.get(b"a", deadline).await })
        })
        .collect();
    let mut counts = [0; 2];
    for call in calls {
        match call.await.expect("a call").expect_err("no reply").outage() {
            Some(Outage::Busy) => counts[0] += 1,
            Some(Outage::Timeout) => counts[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, [92, 8]);
    proxy.set(Fault::Pass);
    kept.works().await;
}
