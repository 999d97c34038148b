//! Who is the primary, and who may come in.

use std::time::{Duration, Instant};

use rapport::store::redis::{Failure, Generation, Outage};

use super::{
    bench::{CALL, Kept, eventually, within},
    server::RedisServer,
};

/// The words that make a server follow another.
fn follow(server: &RedisServer) -> String {
    format!("REPLICAOF 127.0.0.1 {}", server.address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_not_written_to() {
    let (primary, other) = (RedisServer::start(), RedisServer::start());
    assert!(other.say(&follow(&primary)).starts_with("+OK"));
    let kept = Kept::at(&other.url());
    eventually("a replica is refused", || async { kept.client.health().outage == Some(Outage::ReadOnly) }).await;
    assert_eq!(kept.client.generation(), Generation(0));
    assert!(other.say("REPLICAOF NO ONE").starts_with("+OK"));
    kept.works().await;
    assert_eq!(kept.client.generation(), Generation(1));
    assert!(other.say(&follow(&primary)).starts_with("+OK"));
    eventually("a primary that is one no more is left", || async {
        kept.client.health().outage == Some(Outage::ReadOnly)
    })
    .await;
    let failure = kept.client.get(b"a", within(CALL)).await;
    assert_eq!(failure, Err(Failure::Outage(Outage::Open)));
    assert!(kept.is_kept());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sentinels_say_who_is_the_primary() {
    let (first, second) = (RedisServer::start(), RedisServer::start());
    let sentinel = RedisServer::start_with(&["--sentinel"]);
    let watch = |server: &RedisServer| format!("SENTINEL MONITOR main 127.0.0.1 {} 1", server.address.port());
    assert!(sentinel.say(&watch(&first)).starts_with("+OK"));
    // one of the sentinels is not there
    let url = format!("redis+sentinel://127.0.0.1:1,{}/main", sentinel.address);
    let kept = Kept::at(&url);
    kept.works().await;
    let port = |kept: &Kept| kept.client.health().primary.and_then(|primary| primary.node).map(|node| node.port);
    assert_eq!(port(&kept), Some(first.address.port()));

    assert!(sentinel.say("SENTINEL REMOVE main").starts_with("+OK"));
    assert!(sentinel.say(&watch(&second)).starts_with("+OK"));
    eventually("the new primary is found, though the old one still writes", || async {
        port(&kept) == Some(second.address.port())
    })
    .await;
    kept.works().await;
    assert_eq!(kept.client.generation(), Generation(2));
    let unknown = Kept::at(&url.replace("/main", "/other"));
    eventually("nobody knows it", || async { unknown.client.health().outage == Some(Outage::Unresolved) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_survived() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret/"]);
    for user in ["", ":wrong@"] {
        let kept = Kept::at(&server.url().replace("redis://", &format!("redis://{user}")));
        eventually("it is refused", || async { kept.client.health().outage == Some(Outage::Denied) }).await;
        assert!(kept.is_kept());
    }
    Kept::at(&server.url().replace("redis://", "redis://:s3cret%2F@")).works().await;
    Kept::at(&server.url().replace("redis://", "redis://default:s3cret%2F@")).works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_to_a_server_without_it_is_an_outage() {
    let server = RedisServer::start();
    let kept = Kept::at(&server.url().replace("redis://", "rediss://"));
    eventually("it is refused", || async { kept.client.health().outage.is_some() }).await;
    let begun = Instant::now();
    kept.client.get(b"a", within(CALL)).await.expect_err("a call over TLS");
    assert!(begun.elapsed() < Duration::from_secs(2) && kept.is_kept());
    assert_eq!(kept.client.generation(), Generation(0));
}
