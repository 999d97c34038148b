//! Load as clients make it: an open loop at a rate, whatever the service does,
//! over a bounded number of connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rapport::proto::{
    AckStrength, DecideRequest, DecideResponse, Degraded, RecordRequest, RecordStatus,
    decision_service_client::DecisionServiceClient, event_service_client::EventServiceClient,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{
    ledger::{Fate, KINDS, Ledger, Name, Sent},
    replica::Replica,
    sized,
};
use crate::harness::message;

/// Rules of the load: what is on the shelf is for everybody, the counter tells how
/// often somebody bought.
pub const RULES: &str = r#"
settings: { currency: GBP }
traits:
  - { id: orders, count: purchase }
channels:
  - { id: web, kind: self_service, base_rate: 0.1, require: [text], counts_on: impression }
placements:
  - { id: shelf, channel: web, slots: 1 }
  - { id: counter, channel: web, slots: 1 }
issues: [ { id: sell } ]
groups: [ { id: all } ]
offers:
  - id: tea
    purpose: service
    issue: sell
    group: all
    value: 5
    placements: [shelf]
    open: false
    treatments: { web: { en: { text: "tea" } } }
  - id: orders
    purpose: service
    issue: sell
    group: all
    value: 5
    placements: [counter]
    open: false
    treatments: { web: { en: { text: "orders {{ p.orders }}" } } }
"#;

/// What a call may take before its client gives up.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// What a decision is given; more on a machine that does much else, where calls
/// wait for their turn.
fn budget_ms() -> u64 {
    sized(3_000, 50)
}

/// Calls on their way; those above it are counted as skipped.
const IN_FLIGHT_MAX: usize = 256;
/// Connections to each replica.
const CONNECTIONS: usize = 2;

/// What load there is to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Calls a second.
    pub rate: u64,
    /// Customers that it is about.
    pub customers: usize,
    /// How often a failed call is tried once more, at another replica.
    pub retries: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { rate: 200, customers: 20, retries: 0 }
    }
}

/// A decision that was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// How long its answer took.
    pub took: Duration,
    /// Whether an answer came and was of use.
    pub answered: bool,
    /// Whether it says that the shared store is not reachable.
    pub redis_down: bool,
    /// Whether the customer was known.
    pub known: bool,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    skipped: AtomicUsize,
    failed: Mutex<Vec<String>>,
    retried: AtomicUsize,
}

/// Load that goes on until it ends.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    seen: Arc<Seen>,
}

impl Load {
    /// Starts calling replicas in turn; numbers of events go on from those that
    /// the ledger has.
    pub fn start(replicas: &[SocketAddr], plan: Plan, ledger: &Arc<Ledger>, first: usize) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let maker = Maker { stop: Arc::clone(&stop), seen: Arc::clone(&seen), ledger: Arc::clone(ledger), plan, first };
        let replicas = replicas.to_vec();
        let run = move || {
            // a thread of its own: what a test does between must not delay the clients
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(maker.run(&replicas));
        };
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(run).expect("a thread");
        Self { stop, thread: Some(thread), seen }
    }

    /// Decisions asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls that failed for good, retries included.
    pub fn failed(&self) -> Vec<String> {
        self.seen.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls that were tried once more.
    pub fn retried(&self) -> usize {
        self.seen.retried.load(Relaxed)
    }

    /// Calls that were not made, for too many were on their way.
    pub fn skipped(&self) -> usize {
        self.seen.skipped.load(Relaxed)
    }

    /// Stops, and waits for the calls on their way.
    pub fn end(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Makes the load.
struct Maker {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    ledger: Arc<Ledger>,
    plan: Plan,
    first: usize,
}

impl Maker {
    async fn run(self, replicas: &[SocketAddr]) {
        let connect = |address: &SocketAddr| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
            endpoint.connect_timeout(CALL_TIMEOUT).timeout(CALL_TIMEOUT).tcp_nodelay(true).connect_lazy()
        };
        // a replica's connections beside each other's, so that neighbours are of different replicas
        let channels: Vec<Channel> = (0..CONNECTIONS).flat_map(|_| replicas.iter().map(connect)).collect();
        let caller = Arc::new(Caller { channels, seen: self.seen, ledger: self.ledger, plan: self.plan });
        let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let begun = tokio::time::Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for turn in 0_usize.. {
            let due = begun
                + Duration::from_secs(1) * u32::try_from(turn).expect("a few calls")
                    / u32::try_from(self.plan.rate).expect("a rate");
            tokio::time::sleep_until(due).await;
            if self.stop.load(Relaxed) {
                break;
            }
            while calls.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                caller.seen.skipped.fetch_add(1, Relaxed);
                continue;
            };
            let (caller, number) = (Arc::clone(&caller), self.first + turn);
            calls.spawn(async move {
                caller.call(number).await;
                drop(permit);
            });
        }
        while calls.join_next().await.is_some() {}
    }
}

struct Caller {
    channels: Vec<Channel>,
    seen: Arc<Seen>,
    ledger: Arc<Ledger>,
    plan: Plan,
}

impl Caller {
    async fn call(&self, number: usize) {
        let customer = (number / 4) % self.plan.customers;
        match number % 4 {
            0 => self.send(number, event(number, customer, "purchase")).await,
            1 => self.send(number, event(number, customer, "page_view")).await,
            2 => self.answer(number, customer).await,
            _ => {
                // every other one is of nobody that anybody knows
                let known = (number / 4).is_multiple_of(2);
                let who = if known { format!("load-{customer}") } else { format!("unknown-{number}") };
                let (asked, _) = self.decide(number, &who, known).await;
                self.seen.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
            }
        }
    }

    fn channel(&self, number: usize) -> Channel {
        self.channels[number % self.channels.len()].clone()
    }

    /// Calls one replica, and another one when that fails and it may.
    async fn try_all<T, F: Future<Output = Result<T, Status>>>(
        &self,
        number: usize,
        call: impl Fn(Channel) -> F,
    ) -> Result<T, Status> {
        let mut result = call(self.channel(number)).await;
        for retry in 1..=self.plan.retries {
            if result.is_ok() {
                break;
            }
            self.seen.retried.fetch_add(1, Relaxed);
            result = call(self.channel(number + retry)).await;
        }
        if let Err(status) = &result {
            self.seen.failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("call {number}: {status}"));
        }
        result
    }

    async fn send(&self, number: usize, sent: Sent) {
        let request: RecordRequest = message(json!({"events": [sent.event]}));
        let answer = self.try_all(number, |channel| record(channel, request.clone())).await;
        self.ledger.note(sent, answer.map_or(Fate::Unanswered, Fate::Acknowledged));
    }

    async fn decide(&self, number: usize, who: &str, known: bool) -> (Asked, Option<DecideResponse>) {
        let request: DecideRequest = message(json!({
            "identities": [{"type": "customer_id", "value": who}],
            "placements": [{"placement": "shelf"}],
            "timeBudgetMs": budget_ms(),
        }));
        let at = Instant::now();
        let answer = self
            .try_all(number, |channel| {
                let request = request.clone();
                async move { Ok(DecisionServiceClient::new(channel).decide(request).await?.into_inner()) }
            })
            .await;
        let presented = |answer: &DecideResponse| answer.placements.iter().all(|p| !p.presentations.is_empty());
        let flagged = |answer: &DecideResponse| {
            answer
                .degraded
                .iter()
                .filter_map(|flag| Degraded::try_from(*flag).ok())
                .any(|flag| flag == Degraded::RedisDown)
        };
        let asked = Asked {
            at,
            took: at.elapsed(),
            answered: answer.as_ref().is_ok_and(presented),
            redis_down: answer.as_ref().is_ok_and(flagged),
            known,
        };
        (asked, answer.ok())
    }

    /// Decides and records what followed.
    async fn answer(&self, number: usize, customer: usize) {
        let (_, answer) = self.decide(number, &format!("load-{customer}"), true).await;
        let Some(answer) = answer else { return };
        let Some(shown) = answer.placements.first().and_then(|placement| placement.presentations.first()) else {
            return;
        };
        for (kind, name) in KINDS {
            let outcome = json!({"presentationToken": shown.presentation_token, "type": kind.as_str_name()});
            let name = Name::Outcome { decision_id: answer.decision_id.clone(), kind: name };
            self.send(number, Sent { name, customer, event: json!({"outcome": outcome}) }).await;
        }
    }
}

async fn record(channel: Channel, request: RecordRequest) -> Result<AckStrength, Status> {
    let reply = EventServiceClient::new(channel).record(request).await?.into_inner();
    let result = &reply.results[0];
    match result.status() {
        RecordStatus::Recorded | RecordStatus::Duplicate => Ok(result.ack()),
        status => Err(Status::internal(format!("{status:?}: {}", result.error))),
    }
}

/// An event of a customer that its amount numbers.
pub fn event(number: usize, customer: usize, kind: &str) -> Sent {
    let event = json!({
        "eventId": format!("load-{number}"),
        "source": "load",
        "customer": {
            "identities": who(customer),
            "type": kind,
            "amount": {"amount": format!("{}.{:02}", number / 100, number % 100), "currency": "GBP"},
        },
    });
    Sent { name: Name::Event(number), customer, event }
}

/// The identities of a customer.
pub fn who(customer: usize) -> Value {
    json!([{"type": "customer_id", "value": format!("load-{customer}")}])
}

/// Makes every customer known by an event each; the first number that is free.
pub async fn create_customers(replica: &Replica, ledger: &Ledger, customers: usize) -> usize {
    let mut client = replica.server().events().await;
    for customer in 0..customers {
        let sent = event(customer, customer, "purchase");
        let request: RecordRequest = message(json!({"events": [sent.event]}));
        let reply = client.record(request).await.expect("an event is taken").into_inner();
        ledger.note(sent, Fate::Acknowledged(reply.results[0].ack()));
    }
    customers.next_multiple_of(4)
}
