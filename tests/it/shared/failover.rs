//! Another primary, or one that lost what it had, is noticed.

use std::sync::Arc;

use super::{readiness, replica, until_flagged, until_metric};
use crate::{
    harness::{Place, eventually},
    redis::server::RedisServer,
};

const FAILOVERS: &str = "rapport_store_failovers_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_everything_is_a_failover() {
    let mut redis = RedisServer::start();
    let server = replica(&Arc::new(Place::new()), &redis.url());
    until_flagged(&server, false).await;
    eventually("the fence", || async { redis.say("KEYS rapport:fence:*").contains("fence").then_some(()) }).await;
    until_metric(&server, FAILOVERS, |count| count == 0.0).await;
    assert!(redis.say("FLUSHALL").starts_with("+OK"));
    until_metric(&server, FAILOVERS, |count| count == 1.0).await;
    assert!(server.log().contains("Lost"), "{}", server.log());
    eventually("the secrets are put back", || async {
        redis.say("EXISTS rapport:{secrets}:identity").starts_with(":1").then_some(())
    })
    .await;
    redis.kill();
    until_flagged(&server, true).await;
    redis.start_again();
    until_metric(&server, FAILOVERS, |count| count == 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_redis_that_was_behind_is_a_failover() {
    let (first, second) = (RedisServer::start(), RedisServer::start());
    assert!(second.say(&format!("REPLICAOF 127.0.0.1 {}", first.address.port())).starts_with("+OK"));
    let sentinel = RedisServer::start_with(&["--sentinel"]);
    let watch = |server: &RedisServer| format!("SENTINEL MONITOR main 127.0.0.1 {} 1", server.address.port());
    assert!(sentinel.say(&watch(&first)).starts_with("+OK"));
    let url = format!("redis+sentinel://{}/main", sentinel.address);
    let server = replica(&Arc::new(Place::new()), &url);
    until_flagged(&server, false).await;
    let fences = |redis: &RedisServer| {
        redis.say("EVAL \"return redis.call('GET', redis.call('KEYS', 'rapport:fence:*')[1] or 'x')\" 0")
    };
    eventually("the second has the fence", || async { fences(&second).contains('\n').then_some(()) }).await;
    // from here on it misses what the first takes
    assert!(second.say("REPLICAOF NO ONE").starts_with("+OK"));
    let before = fences(&first);
    eventually("the first goes on", || async { (fences(&first) != before).then_some(()) }).await;
    assert!(sentinel.say("SENTINEL REMOVE main").starts_with("+OK"));
    assert!(sentinel.say(&watch(&second)).starts_with("+OK"));
    until_metric(&server, FAILOVERS, |count| count == 1.0).await;
    assert!(readiness(&server).contains(&format!("primary 127.0.0.1:{}", second.address.port())));
}
