//! What makes several processes over one Redis one service: their secrets, who
//! lives, failovers, supervised tasks, the clock, the rules.

mod clock;
mod failover;
mod joining;
mod rules;
mod supervision;

use std::{fs, sync::Arc};

use rapport::proto::{DecideResponse, Degraded, UpsertCustomerRequest};
use serde_json::json;

use crate::{
    harness::{Place, Server, eventually, message},
    web,
};

/// A replica over a store.
fn replica(place: &Arc<Place>, store: &str) -> Server {
    Server::start_with(place, &["--store", store])
}

/// The value of a metric without labels; none when it is not told yet.
fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = web::get(server.private, "/metrics", &[]).body;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Waits until a metric is as wanted.
async fn until_metric(server: &Server, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    eventually(name, || async { metric(server, name).filter(|value| wanted(*value)) }).await
}

/// What the readiness probe says.
fn readiness(server: &Server) -> String {
    let reply = web::get(server.private, "/readyz", &[]);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

/// A decision for somebody.
async fn decided(server: &Server, customer: &str) -> DecideResponse {
    let identities = json!([{"type": "customer_id", "value": customer}]);
    let question = json!({"identities": identities, "placements": [{"placement": "home_hero"}]});
    server.decide(question).await.expect("an answer")
}

/// Whether an answer says that the shared store is out of reach.
fn is_flagged(answer: &DecideResponse) -> bool {
    answer.degraded().any(|flag| flag == Degraded::RedisDown)
}

/// Waits until answers say, or do not say, that the shared store is out of reach.
async fn until_flagged(server: &Server, flagged: bool) {
    eventually("answers that tell how it is with redis", || async {
        (is_flagged(&decided(server, "nobody").await) == flagged).then_some(())
    })
    .await;
}

/// Records something of a customer.
async fn upsert(server: &Server, customer: &str) -> Result<(), tonic::Status> {
    let request: UpsertCustomerRequest = message(json!({"identities": [{"type": "customer_id", "value": customer}]}));
    server.customers().await.upsert_customer(request).await.map(drop)
}

/// A secret of a replica as it lies in its data directory.
fn secret(place: &Place, purpose: &str) -> String {
    fs::read_to_string(place.data().join("keys").join(format!("{purpose}.key"))).expect("a key file")
}
