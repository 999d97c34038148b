//! What a primary of Redis lost, and what a replica was killed before it could tell.

use std::sync::Arc;

use crate::{
    harness::{Place, eventually},
    redis::{proxy::Proxy, server::RedisServer},
    web,
};

use super::contract::World;

/// Puts claims of others in place of all that there are, as if another primary had
/// granted everything again, and takes the counts that notice it.
const LOSE: &str = "local now = redis.call('TIME')[1] * 1000 \
    for _, key in ipairs(redis.call('KEYS', '*}:c:*')) do redis.call('DEL', key) \
    for n = 1, 4 do redis.call('ZADD', key, now, 'stranger' .. n) end end \
    for _, keys in ipairs({'*}:o:*', '*:fence:*'}) do \
    for _, key in ipairs(redis.call('KEYS', keys)) do redis.call('DEL', key) end end return 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_counts_again_what_a_failover_lost() {
    let world = World::start(Some(RedisServer::start()));
    world.server.customer("many", serde_json::json!({})).await;
    assert!(world.grants("many", "capped_slot", "capped").await.is_some());
    let redis = world.redis();
    eventually("a first count", || async { redis.say("KEYS *:fence:*").starts_with("*1").then_some(()) }).await;
    assert_eq!(over_granted(&world), 0);
    let said = redis.say(&format!("EVAL \"{LOSE}\" 0"));
    assert!(said.starts_with(":1"), "{said}");
    // beyond `capped` and `four`, and within `five`
    eventually("a recount", || async { (over_granted(&world) == 2).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_before_a_kill_is_told_after_the_start() {
    let redis = RedisServer::start();
    let mut proxy = Proxy::start(redis.address);
    let (place, url) = (Arc::new(Place::empty()), proxy.url());
    let mut world = World::start_at(&place, Some(&url));
    world.server.customer("many", serde_json::json!({})).await;
    let token = world.grants("many", "capped_slot", "capped").await.expect("a presentation");
    assert!(redis.say("KEYS *}:o:*").starts_with("*3"), "three caps hold it open");
    let kept = || std::fs::read_to_string(place.data().join("told")).is_ok();
    eventually("up to where was told", || async { kept().then_some(()) }).await;
    proxy.refuse();
    world.tell(&token, "OUTCOME_TYPE_IMPRESSION").await;
    world.server.kill();
    proxy.accept_again();
    assert!(redis.say("KEYS *}:o:*").starts_with("*3"), "nothing was told");
    let _world = World::start_at(&place, Some(&url));
    let is_told = || redis.say("KEYS *}:o:*").starts_with("*0") && redis.say("KEYS *}:c:*").starts_with("*3");
    eventually("what was seen", || async { is_told().then_some(()) }).await;
}

fn over_granted(world: &World) -> u64 {
    let text = web::get(world.server.private, "/metrics", &[]).body;
    let line = text.lines().find_map(|line| line.strip_prefix("rapport_caps_over_granted_total "));
    line.map_or(0, |count| count.parse().expect("a number"))
}
