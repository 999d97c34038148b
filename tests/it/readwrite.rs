//! What was acknowledged is what the next decision knows, from whatever
//! connection: pairs of a write and a decision, over gRPC, many at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use rapport::proto::{
    AckStrength, DecideRequest, DecideResponse, RecordRequest, RecordStatus, UpsertCustomerRequest,
    customer_service_client::CustomerServiceClient, decision_service_client::DecisionServiceClient,
    event_service_client::EventServiceClient,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{Place, Server, message};

/// Pairs when nobody asks for more; `make full-readwrite` asks for 100,000.
const PAIRS: usize = 900;
/// Connections that write and ask at the same time; a write and the decision
/// after it never take the same one.
const CONNECTIONS: usize = 8;
/// Customers that are busy at the same time.
const WORKERS: usize = 24;
/// Offers that a customer declines, one after the other.
const DECLINED: usize = 8;
/// Pairs of one kind with one customer.
const ROUND: usize = 2 * DECLINED;

const RULES: &str = r#"
settings: { currency: GBP }
attributes:
  - { id: email_address, type: string, pii: true }
traits:
  - { id: orders, count: purchase }
channels:
  - { id: web, kind: self_service, base_rate: 0.1, require: [text], counts_on: impression }
  - { id: email, kind: outbound, base_rate: 0.1, address: email_address, require: [text], counts_on: handoff }
placements:
  - { id: shelf, channel: web, slots: 8 }
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
  - id: mail
    purpose: marketing
    issue: sell
    group: all
    value: 5
    treatments: { email: { en: { text: "Hello" } } }
"#;

fn rules() -> String {
    let mut rules = RULES.to_owned();
    for number in 0..DECLINED {
        rules.push_str(&format!(
            "  - {{ id: shelf{number}, purpose: service, issue: sell, group: all, value: 5, placements: [shelf], \
             open: false, treatments: {{ web: {{ en: {{ text: \"{number}\" }} }} }} }}\n"
        ));
    }
    rules
}

/// Counts pairs until there are enough, and those that were stale.
struct Count {
    wanted: usize,
    begun: AtomicUsize,
    stale: AtomicUsize,
}

impl Count {
    /// Whether another pair is wanted.
    fn next(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) < self.wanted
    }

    fn check(&self, fresh: bool, what: impl FnOnce() -> String) {
        if !fresh {
            eprintln!("stale: {}", what());
            self.stale.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One who writes through one connection and asks through another.
struct Worker {
    number: usize,
    writes: Channel,
    asks: Channel,
    count: Arc<Count>,
}

impl Worker {
    fn customer(&self, kind: &str, round: usize) -> Value {
        json!([{"type": "customer_id", "value": format!("{kind}-{}-{round}", self.number)}])
    }

    async fn upsert(&self, body: Value) -> AckStrength {
        let request: UpsertCustomerRequest = message(body);
        let mut customers = CustomerServiceClient::new(self.writes.clone());
        customers.upsert_customer(request).await.expect("writing a customer").into_inner().ack()
    }

    async fn record(&self, event: Value) {
        let request: RecordRequest = message(json!({"events": [event]}));
        let reply = EventServiceClient::new(self.writes.clone()).record(request).await.expect("recording").into_inner();
        assert_eq!(reply.results[0].status(), RecordStatus::Recorded, "{:?}", reply.results[0]);
    }

    /// Asks without a consistency token: nobody told the asker what was written.
    async fn decide(&self, body: Value) -> DecideResponse {
        let request: DecideRequest = message(body);
        DecisionServiceClient::new(self.asks.clone()).decide(request).await.expect("an answer").into_inner()
    }

    async fn create(&self, who: &Value) {
        let consents = json!([{"purpose": "CONSENT_PURPOSE_PROFILING", "permission": "PERMISSION_GRANTED"}]);
        let attributes = json!({"email_address": "a@example.org"});
        self.upsert(json!({"identities": who, "attributes": attributes, "consents": consents})).await;
    }

    async fn run(self) {
        for round in 0.. {
            let kept_on = match (self.number + round) % 3 {
                0 => self.declines(round).await,
                1 => self.withdraws(round).await,
                _ => self.buys(round).await,
            };
            if !kept_on {
                return;
            }
        }
    }

    /// What was declined is not offered.
    async fn declines(&self, round: usize) -> bool {
        let who = self.customer("declines", round);
        self.create(&who).await;
        let question = json!({"identities": who, "placements": [{"placement": "shelf"}]});
        let mut shown = self.decide(question.clone()).await;
        for left in (0..DECLINED).rev() {
            if !self.count.next() {
                return false;
            }
            let presentation = &shown.placements[0].presentations[0];
            let declined = presentation.offer.clone();
            let token = &presentation.presentation_token;
            let outcome = json!({"presentationToken": token, "type": "OUTCOME_TYPE_DECLINE", "reasonCode": "no"});
            self.record(json!({"outcome": outcome})).await;
            shown = self.decide(question.clone()).await;
            let offered = &shown.placements[0].presentations;
            let fresh = offered.len() == left && offered.iter().all(|p| p.offer != declined);
            self.count.check(fresh, || format!("{declined} was declined: {offered:?}"));
        }
        true
    }

    /// Whoever withdrew a consent is not contacted; whoever gave it is.
    async fn withdraws(&self, round: usize) -> bool {
        let who = self.customer("withdraws", round);
        self.create(&who).await;
        let question = json!({"identities": who, "allowedChannels": ["email"]});
        for number in 0..ROUND {
            if !self.count.next() {
                return false;
            }
            let granted = number % 2 == 0;
            let permission = if granted { "PERMISSION_GRANTED" } else { "PERMISSION_DENIED" };
            let consent = json!({"channel": "email", "purpose": "CONSENT_PURPOSE_MARKETING", "permission": permission});
            let ack = self.upsert(json!({"identities": who, "consents": [consent]})).await;
            assert_eq!(ack, AckStrength::Disk);
            let answer = self.decide(question.clone()).await;
            let contacted = !answer.placements[0].presentations.is_empty();
            self.count.check(contacted == granted, || format!("{permission}: {:?}", answer.placements));
        }
        true
    }

    /// A purchase shows in the trait.
    async fn buys(&self, round: usize) -> bool {
        let who = self.customer("buys", round);
        self.create(&who).await;
        let question = json!({"identities": who, "placements": [{"placement": "counter"}]});
        for number in 1..=ROUND {
            if !self.count.next() {
                return false;
            }
            let id = format!("{}-{round}-{number}", self.number);
            self.record(json!({"eventId": id, "customer": {"identities": who, "type": "purchase"}})).await;
            let answer = self.decide(question.clone()).await;
            let text = answer.placements[0].presentations.first().and_then(|p| p.message.clone()).unwrap_or_default();
            self.count.check(text.text == format!("orders {number}"), || format!("{number} orders: {text:?}"));
        }
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_knows_what_was_acknowledged_before_it() {
    let wanted = std::env::var("READ_WRITE_PAIRS").ok().and_then(|pairs| pairs.parse().ok()).unwrap_or(PAIRS);
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", &rules());
    let server = Server::start(&place);
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(server.channel().await);
    }
    let count = Arc::new(Count { wanted, begun: AtomicUsize::new(0), stale: AtomicUsize::new(0) });
    let begun = Instant::now();
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let of = |at: usize| connections[at % CONNECTIONS].clone();
            let worker = Worker { number, writes: of(number), asks: of(number + 1), count: Arc::clone(&count) };
            tokio::spawn(worker.run())
        })
        .collect();
    for worker in workers {
        worker.await.expect("a worker");
    }
    let pairs = count.begun.load(Ordering::Relaxed).min(wanted);
    println!("{pairs} pairs of a write and a decision in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(pairs, wanted);
    assert_eq!(count.stale.load(Ordering::Relaxed), 0, "of {pairs} pairs");
}
