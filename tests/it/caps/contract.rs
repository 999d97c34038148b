//! What exact caps and budgets promise, asked of the service: the same over the
//! embedded store and over Redis.

use std::{sync::Arc, time::Duration};

use rapport::proto::{
    DecideRequest, DecideResponse, RecordRequest, RecordStatus, RespondRequest,
    decision_service_client::DecisionServiceClient,
};
use serde_json::{Value, json};

use crate::{
    harness::{Place, Server, eventually, message},
    redis::server::RedisServer,
};

/// Questions at once.
const CONCURRENT: usize = 24;
/// Of the offers below.
const CAP: usize = 3;
const BUDGET: usize = 5;

/// Each offer has its own place. Reservations of `brief` lapse soon.
const RULES: &str = r#"
settings: { currency: GBP }
channels:
  - { id: web, kind: self_service, require: [text], counts_on: impression, reserve_for: 30m, valid_for: 30m }
  - { id: brief, kind: self_service, require: [text], counts_on: impression, reserve_for: 2s, valid_for: 30m }
placements:
  - { id: capped_slot, channel: web }
  - { id: spare_slot, channel: web }
  - { id: brief_slot, channel: brief }
  - { id: budget_slot, channel: web }
  - { id: kept_slot, channel: web, slots: 2 }
issues: [ { id: grow } ]
groups: [ { id: all }, { id: other } ]
policies:
  limits:
    - { id: four, scope: group, group: all, max: 4, window: day, exact: true }
    - { id: five, scope: all, group: all, max: 5, window: month, exact: true }
offers:
  - { id: capped, purpose: service, issue: grow, group: all, value: 9, open: false, placements: [capped_slot, spare_slot],
      limits: [ { max: 3, window: 1h, exact: true } ], treatments: { web: { en: { text: a } } } }
  - { id: spare, purpose: service, issue: grow, group: other, value: 1, open: false, placements: [spare_slot],
      treatments: { web: { en: { text: a } } } }
  - { id: brief, purpose: service, issue: grow, group: other, value: 9, open: false, placements: [brief_slot],
      limits: [ { max: 3, window: 1h, exact: true } ], treatments: { brief: { en: { text: a } } } }
  - { id: spent, purpose: service, issue: grow, group: other, value: 9, open: false, placements: [budget_slot],
      budget: { max: 5, window: day, exact: true }, treatments: { web: { en: { text: a } } } }
  - { id: kept, purpose: service, issue: grow, group: other, value: 9, open: false, placements: [kept_slot],
      limits: [ { max: 1, window: 30d, exact: true } ], treatments: { web: { en: { text: a } } } }
  - { id: beside, purpose: service, issue: grow, group: other, value: 20, open: false, placements: [kept_slot],
      suppress: [ { after: dismiss, for: 1d } ], treatments: { web: { en: { text: a } } } }
"#;

pub struct World {
    pub server: Server,
    /// Ends after the service.
    redis: Option<RedisServer>,
}

impl World {
    pub fn start(redis: Option<RedisServer>) -> Self {
        let url = redis.as_ref().map(RedisServer::url);
        Self { redis, ..Self::start_at(&Arc::new(Place::empty()), url.as_deref()) }
    }

    /// In a place, with a Redis at an address.
    pub fn start_at(place: &Arc<Place>, url: Option<&str>) -> Self {
        place.write_rule("all.yaml", RULES);
        let arguments: Vec<&str> = url.iter().flat_map(|url| ["--store", url]).collect();
        Self { server: Server::start_with(place, &arguments), redis: None }
    }

    async fn ask(&self, customer: &str, placement: &str) -> DecideResponse {
        self.server.decide(question(customer, placement)).await.expect("an answer")
    }

    /// Asks many times at once, each time for the next customer; the tokens of what
    /// was granted of an offer.
    async fn ask_at_once(&self, customers: &[String], (placement, offer): (&str, &str)) -> Vec<String> {
        let channels = [self.server.channel().await, self.server.channel().await];
        let barrier = Arc::new(tokio::sync::Barrier::new(CONCURRENT));
        let mut tasks = Vec::new();
        for task in 0..CONCURRENT {
            let request: DecideRequest = message(question(&customers[task % customers.len()], placement));
            let (barrier, channel) = (Arc::clone(&barrier), channels[task % channels.len()].clone());
            tasks.push(tokio::spawn(async move {
                let mut client = DecisionServiceClient::new(channel);
                barrier.wait().await;
                client.decide(request).await.expect("an answer").into_inner()
            }));
        }
        let mut tokens = Vec::new();
        for task in tasks {
            tokens.extend(tokens_of(&task.await.expect("an answer"), offer));
        }
        tokens
    }

    pub async fn tell(&self, token: &str, outcome: &str) {
        let event = json!({"outcome": {"presentationToken": token, "type": outcome}});
        let request: RecordRequest = message(json!({"events": [event]}));
        let reply = self.server.events().await.record(request).await.expect("a reply").into_inner();
        assert_eq!(reply.results[0].status(), RecordStatus::Recorded, "{reply:?}");
    }

    /// The Redis it runs on.
    pub fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("a redis")
    }

    pub async fn grants(&self, customer: &str, placement: &str, offer: &str) -> Option<String> {
        tokens_of(&self.ask(customer, placement).await, offer).pop()
    }
}

/// Nobody is in a hurry: a slow machine is no outage.
fn question(customer: &str, placement: &str) -> Value {
    json!({
        "identities": [{"type": "customer_id", "value": customer}],
        "placements": [{"placement": placement}],
        "timeBudgetMs": 10_000,
    })
}

fn tokens_of(answer: &DecideResponse, offer: &str) -> Vec<String> {
    let all = answer.placements.iter().flat_map(|placement| &placement.presentations);
    all.filter(|one| one.offer == offer).map(|one| one.presentation_token.clone()).collect()
}

async fn keeps_its_promises(world: &World) {
    for customer in ["many", "brief", "kept"] {
        world.server.customer(customer, json!({})).await;
    }
    caps_hold(world).await;
    reservations_lapse(world).await;
    budgets_hold(world).await;
    what_stays_on_show_stays(world).await;
}

async fn caps_hold(world: &World) {
    let tokens = world.ask_at_once(&["many".to_owned()], ("capped_slot", "capped")).await;
    assert_eq!(tokens.len(), CAP);
    // a refused claim ranks again: the next best wins
    let answer = world.ask("many", "spare_slot").await;
    assert_eq!((tokens_of(&answer, "capped").len(), tokens_of(&answer, "spare").len()), (0, 1), "{answer:?}");
    world.tell(&tokens[0], "OUTCOME_TYPE_IMPRESSION").await;
    world.tell(&tokens[1], "OUTCOME_TYPE_CANCELLED").await;
    // what was cancelled unseen is free again, also beside two wider caps
    eventually("a cancelled place is free", || async { world.grants("many", "capped_slot", "capped").await }).await;
    assert_eq!(world.grants("many", "capped_slot", "capped").await, None);
}

async fn reservations_lapse(world: &World) {
    let tokens = world.ask_at_once(&["brief".to_owned()], ("brief_slot", "brief")).await;
    assert_eq!(tokens.len(), CAP);
    world.tell(&tokens[0], "OUTCOME_TYPE_IMPRESSION").await;
    let granted = eventually("the others lapse", || async { world.grants("brief", "brief_slot", "brief").await }).await;
    world.tell(&granted, "OUTCOME_TYPE_IMPRESSION").await;
    let third = world.grants("brief", "brief_slot", "brief").await.expect("the third lapsed too");
    world.tell(&third, "OUTCOME_TYPE_IMPRESSION").await;
    // seen late, it counts although the cap is full
    world.tell(&tokens[1], "OUTCOME_TYPE_IMPRESSION").await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(world.grants("brief", "brief_slot", "brief").await, None, "what was seen never lapses");
}

async fn budgets_hold(world: &World) {
    let customers: Vec<String> = (0..CONCURRENT).map(|n| format!("one-{n}")).collect();
    for customer in &customers {
        world.server.customer(customer, json!({})).await;
    }
    let mut tokens = world.ask_at_once(&customers, ("budget_slot", "spent")).await;
    assert!(tokens.len() <= BUDGET, "{}", tokens.len());
    while tokens.len() < BUDGET {
        // what others asked for and did not get is given back at once or within a lease
        let more = || async { world.grants("one-1", "budget_slot", "spent").await };
        tokens.push(eventually("the last units", more).await);
    }
    assert_eq!(world.grants("one-2", "budget_slot", "spent").await, None);
    world.tell(&tokens[0], "OUTCOME_TYPE_IMPRESSION").await;
    world.tell(&tokens[1], "OUTCOME_TYPE_CANCELLED").await;
    eventually("a cancelled unit is free", || async { world.grants("one-3", "budget_slot", "spent").await }).await;
    assert_eq!(world.grants("one-4", "budget_slot", "spent").await, None);
}

/// An offer that both answers show is not held back by the first.
async fn what_stays_on_show_stays(world: &World) {
    let first = world.ask("kept", "kept_slot").await;
    let (beside, kept) = (tokens_of(&first, "beside"), tokens_of(&first, "kept"));
    assert_eq!((beside.len(), kept.len()), (1, 1), "{first:?}");
    let request: RespondRequest = message(json!({"presentationToken": beside[0], "outcome": "OUTCOME_TYPE_DISMISS"}));
    let reply = world.server.decisions().await.respond(request).await.expect("a reply").into_inner();
    let second = reply.decision.expect("an answer");
    assert_eq!(tokens_of(&second, "kept").len(), 1, "{second:?}");
    assert!(tokens_of(&second, "beside").is_empty(), "{second:?}");
    assert_eq!(world.grants("kept", "kept_slot", "kept").await, None, "who asks beside it is told that it is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_keeps_the_promises() {
    keeps_its_promises(&World::start(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_promises() {
    let world = World::start(Some(RedisServer::start()));
    keeps_its_promises(&world).await;
    let redis = world.redis.as_ref().expect("redis");
    assert!(redis.say("DBSIZE").trim() != ":0", "nothing was asked of redis");
}
