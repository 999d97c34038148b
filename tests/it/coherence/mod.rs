//! What one replica acknowledged, the others know: events, merges, erasures, over
//! real processes and a real Redis.

use std::{sync::Arc, time::Duration};

use rapport::proto::{DecideResponse, EraseCustomerRequest, RecordRequest, RecordStatus, UpsertCustomerRequest};
use serde_json::{Value, json};

use crate::{
    harness::{Place, Server, eventually, message},
    redis::server::RedisServer,
};

const RULES: &str = r#"
settings: { currency: GBP }
attributes:
  - { id: email_address, type: string, pii: true }
traits:
  - { id: orders, count: purchase }
channels:
  - { id: web, kind: self_service, base_rate: 0.1, require: [text], counts_on: decided }
placements:
  - { id: counter, channel: web, slots: 1 }
issues: [ { id: sell } ]
groups: [ { id: all } ]
policies:
  suppress: [ { after: decline, scope: offer, for: 90d } ]
  decline_reasons: [ { id: no } ]
offers:
  - id: orders
    purpose: service
    issue: sell
    group: all
    value: 5
    placements: [counter]
    open: false
    treatments: { web: { en: { text: "orders {{ p.orders }}" } } }
"#;

/// Pairs when nobody asks for more; `make full-coherence` asks for 100,000.
const PAIRS: usize = 200;

struct Replicas {
    redis: RedisServer,
    servers: Vec<Server>,
    places: Vec<Arc<Place>>,
}

impl Replicas {
    fn start(many: usize) -> Self {
        let redis = RedisServer::start();
        let mut replicas = Self { redis, servers: Vec::new(), places: Vec::new() };
        (0..many).for_each(|_| replicas.add());
        replicas
    }

    fn add(&mut self) {
        let place = Place::empty();
        place.write_rule("rules.yaml", RULES);
        let place = Arc::new(place);
        self.servers.push(Server::start_with(&place, &["--store", &self.redis.url()]));
        self.places.push(place);
    }
}

fn customer(value: &str) -> Value {
    json!([{"type": "customer_id", "value": value}])
}

/// Answers the token.
async fn buys(server: &Server, who: &Value, id: &str) -> String {
    let event = json!({"eventId": id, "customer": {"identities": who, "type": "purchase"}});
    let request: RecordRequest = message(json!({"events": [event]}));
    let reply = server.events().await.record(request).await.expect("recording").into_inner();
    let result = &reply.results[0];
    assert!(matches!(result.status(), RecordStatus::Recorded | RecordStatus::Duplicate), "{result:?}");
    result.consistency_token.clone()
}

async fn permits(server: &Server, who: &Value) -> String {
    let consents = json!([{"purpose": "CONSENT_PURPOSE_PROFILING", "permission": "PERMISSION_GRANTED"}]);
    let request: UpsertCustomerRequest = message(json!({"identities": who, "consents": consents}));
    server.customers().await.upsert_customer(request).await.expect("a customer").into_inner().consistency_token
}

async fn asks(server: &Server, who: &Value, token: &str) -> DecideResponse {
    let request = json!({"identities": who, "placements": [{"placement": "counter"}], "consistencyToken": token,
        "timeBudgetMs": 5_000});
    server.decide(request).await.expect("an answer")
}

fn orders(answer: &DecideResponse) -> String {
    serde_json::to_string(&answer.placements).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_writes_the_other_decides_with() {
    let replicas = Replicas::start(2);
    let pairs = std::env::var("COHERENCE_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(PAIRS);
    let mut flagged = 0;
    for pair in 0..pairs {
        let (writes, reads) = (&replicas.servers[pair % 2], &replicas.servers[(pair + 1) % 2]);
        let who = customer(&format!("customer-{}", pair % 40));
        if pair < 40 {
            permits(writes, &who).await;
        }
        let token = buys(writes, &who, &format!("e{pair}")).await;
        let answer = asks(reads, &who, &token).await;
        let wanted = format!("orders {}", pair / 40 + 1);
        if answer.degraded.is_empty() {
            assert!(orders(&answer).contains(&wanted), "pair {pair}: {answer:?}, wanted {wanted}");
        } else {
            flagged += 1;
        }
    }
    assert!(flagged * 10 <= pairs, "{flagged} of {pairs} were flagged");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_become_one_are_one_everywhere_and_erased_everywhere() {
    let mut replicas = Replicas::start(2);
    let mail = json!([{"type": "email", "value": "a@example.org"}]);
    let id = customer("7");
    let both = json!([{"type": "customer_id", "value": "7"}, {"type": "email", "value": "a@example.org"}]);
    permits(&replicas.servers[0], &mail).await;
    buys(&replicas.servers[0], &mail, "m1").await;
    buys(&replicas.servers[1], &id, "i1").await;
    let token = buys(&replicas.servers[0], &both, "b1").await;
    for server in &replicas.servers {
        for who in [&mail, &id] {
            eventually(&format!("{who} to be both at {}", server.address), || async {
                orders(&asks(server, who, &token).await).contains("orders 3").then_some(())
            })
            .await;
        }
    }
    // who comes later has everybody
    replicas.add();
    let third = &replicas.servers[2];
    assert!(orders(&asks(third, &id, &token).await).contains("orders 3"));
    let request: EraseCustomerRequest = message(json!({"identities": mail, "reason": "asked"}));
    replicas.servers[1].customers().await.erase_customer(request).await.expect("erased");
    for server in &replicas.servers {
        eventually(&format!("nobody to be known at {}", server.address), || async {
            server.view("email", "a@example.org").await.is_none().then_some(())
        })
        .await;
        assert!(server.view("customer_id", "7").await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_person_met_on_two_replicas_at_once_is_one() {
    let replicas = Replicas::start(2);
    let [one, two] = &replicas.servers[..] else { unreachable!() };
    for round in 0..10 {
        let mail = json!({"type": "email", "value": format!("a{round}@example.org")});
        let id = json!({"type": "customer_id", "value": format!("c{round}")});
        let (alone, both) = (json!([mail]), json!([id, mail]));
        let (first, second) = (format!("x{round}"), format!("y{round}"));
        permits(one, &json!([mail])).await;
        tokio::join!(buys(one, &alone, &first), buys(two, &both, &second));
        for server in [one, two] {
            for who in [&alone, &both, &json!([id])] {
                eventually(&format!("both orders of one by {who} at {}", server.address), || async {
                    orders(&asks(server, who, "").await).contains("orders 2").then_some(())
                })
                .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_redis_is_away_comes_when_it_is_back() {
    let mut replicas = Replicas::start(2);
    let who = customer("1");
    let token = permits(&replicas.servers[0], &who).await;
    asks(&replicas.servers[1], &who, &token).await;
    replicas.redis.kill();
    for number in 0..5 {
        buys(&replicas.servers[number % 2], &who, &format!("away{number}")).await;
    }
    // told twice, on both, while neither can know
    buys(&replicas.servers[0], &who, "same").await;
    buys(&replicas.servers[1], &who, "same").await;
    replicas.redis.start_again();
    for server in &replicas.servers {
        eventually("all six orders", || async {
            orders(&asks(server, &who, "").await).contains("orders 6").then_some(())
        })
        .await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for server in &replicas.servers {
        assert!(orders(&asks(server, &who, "").await).contains("orders 6"), "counted once");
    }
}
