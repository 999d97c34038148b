//! Three replicas as processes behind proxies that make faults, killed and started
//! again while they claim: never above the cap, and afterwards exactly the cap.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rapport::proto::{
    DecideRequest, RecordRequest, RecordStatus, UpsertCustomerRequest, customer_service_client::CustomerServiceClient,
    decision_service_client::DecisionServiceClient, event_service_client::EventServiceClient,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::replica::sized;
use crate::{
    harness::{Place, Server, message},
    redis::{
        proxy::{Fault, Proxy},
        server::RedisServer,
    },
};

const REPLICAS: usize = 3;
/// Tasks that ask, of each replica.
const TASKS: usize = 3;
/// The cap of the person, and the budget.
const CAP: u64 = 40;
const BUDGET: u64 = 60;
/// How long nothing of a killed replica is stuck: a reservation and a lease.
const FREE_AFTER: Duration = Duration::from_secs(60);
/// Between two replies that are late, and how late they are.
const FAULT_EVERY: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(30);

/// A place is reserved long enough to be seen, also by who was killed meanwhile.
const RULES: &str = r#"
settings: { currency: GBP }
channels:
  - { id: web, kind: self_service, require: [text], counts_on: impression, reserve_for: 12s, valid_for: 1h }
placements: [ { id: person_slot, channel: web }, { id: budget_slot, channel: web } ]
issues: [ { id: grow } ]
groups: [ { id: all } ]
offers:
  - { id: person, purpose: service, issue: grow, group: all, value: 9, open: false, placements: [person_slot],
      limits: [ { max: 40, window: 1d, exact: true, when_unknown: deny } ], treatments: { web: { en: { text: a } } } }
  - { id: spent, purpose: service, issue: grow, group: all, value: 9, open: false, placements: [budget_slot],
      budget: { max: 60, window: 1d, exact: true }, treatments: { web: { en: { text: a } } } }
"#;

/// One replica: where it lives, and the process of now.
struct Replica {
    place: Arc<Place>,
    proxy: Proxy,
    server: Mutex<Option<Server>>,
    address: Mutex<Option<std::net::SocketAddr>>,
}

impl Replica {
    fn start(&self) {
        let url = self.proxy.url();
        let server = Server::start_with(&self.place, &["--store", &url]);
        *self.address.lock().expect("the address") = Some(server.address);
        *self.server.lock().expect("the server") = Some(server);
    }

    fn kill(&self) {
        *self.address.lock().expect("the address") = None;
        *self.server.lock().expect("the server") = None;
    }

    async fn channel(&self) -> Option<Channel> {
        let address = (*self.address.lock().expect("the address"))?;
        Channel::from_shared(format!("http://{address}")).expect("an address").connect().await.ok()
    }
}

/// Replicas that have the same secrets, for one finds whom another knows.
fn replicas(redis: &RedisServer) -> Vec<Arc<Replica>> {
    let places: Vec<Arc<Place>> = (0..REPLICAS).map(|_| Arc::new(Place::empty())).collect();
    places.iter().for_each(|place| place.write_rule("all.yaml", RULES));
    let mut first = Server::start(&places[0]);
    first.kill();
    for place in &places[1..] {
        fs::create_dir_all(place.data().join("keys")).expect("a directory of keys");
        for entry in fs::read_dir(places[0].data().join("keys")).expect("the keys") {
            let entry = entry.expect("a key");
            if entry.file_name() != *"replica.key" {
                fs::copy(entry.path(), place.data().join("keys").join(entry.file_name())).expect("a copied key");
            }
        }
    }
    let replica = |place| {
        let proxy = Proxy::start(redis.address);
        Arc::new(Replica { place, proxy, server: Mutex::default(), address: Mutex::default() })
    };
    let replicas: Vec<_> = places.into_iter().map(replica).collect();
    replicas.iter().for_each(|replica| replica.start());
    replicas
}

/// What the client knows of.
#[derive(Default)]
struct Ledger {
    asked: AtomicU64,
    /// Granted and seen, of the person and of the budget.
    seen: [AtomicU64; 2],
    /// Presentations whose impression nobody took yet.
    untold: Mutex<Vec<(usize, String)>>,
    stop: AtomicBool,
}

const MAX: [u64; 2] = [CAP, BUDGET];

fn question(kind: usize, n: u64) -> Value {
    let (customer, placement) =
        if kind == 0 { ("person".to_owned(), "person_slot") } else { (format!("p{}", n % 50), "budget_slot") };
    json!({
        "identities": [{"type": "customer_id", "value": customer}],
        "placements": [{"placement": placement}],
        "timeBudgetMs": 2_000,
    })
}

/// Asks and tells what was seen, until it is told to stop.
async fn ask(replica: Arc<Replica>, ledger: Arc<Ledger>) {
    let mut channel = None;
    while !ledger.stop.load(SeqCst) {
        let Some(open) = channel.take().or(replica.channel().await) else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let n = ledger.asked.fetch_add(1, SeqCst);
        let kind = (n % 2) as usize;
        let request: DecideRequest = message(question(kind, n));
        let Ok(answer) = DecisionServiceClient::new(open.clone()).decide(request).await else { continue };
        for presentation in answer.into_inner().placements.into_iter().flat_map(|placement| placement.presentations) {
            let token = presentation.presentation_token;
            if !tell(&open, &token).await {
                ledger.untold.lock().expect("what is untold").push((kind, token));
                continue;
            }
            let seen = ledger.seen[kind].fetch_add(1, SeqCst) + 1;
            assert!(seen <= MAX[kind], "{seen} were granted and seen of {}", MAX[kind]);
        }
        channel = Some(open);
    }
}

/// Whether an impression was taken, now or before.
async fn tell(channel: &Channel, token: &str) -> bool {
    let event = json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_IMPRESSION"}});
    let request: RecordRequest = message(json!({"events": [event]}));
    let reply = EventServiceClient::new(channel.clone()).record(request).await;
    let taken = [RecordStatus::Recorded, RecordStatus::Duplicate];
    reply.is_ok_and(|reply| taken.contains(&reply.into_inner().results[0].status()))
}

async fn tell_the_untold(replicas: &[Arc<Replica>], ledger: &Ledger) {
    let untold = std::mem::take(&mut *ledger.untold.lock().expect("what is untold"));
    for (kind, token) in untold {
        let mut told = false;
        for replica in replicas {
            if let Some(channel) = replica.channel().await {
                told |= !told && tell(&channel, &token).await;
            }
        }
        match told {
            true => _ = ledger.seen[kind].fetch_add(1, SeqCst),
            false => ledger.untold.lock().expect("what is untold").push((kind, token)),
        }
    }
    for (seen, max) in ledger.seen.iter().zip(MAX) {
        assert!(seen.load(SeqCst) <= max, "{} were granted and seen of {max}", seen.load(SeqCst));
    }
}

async fn know_everybody(replica: &Replica) {
    let channel = replica.channel().await.expect("a replica");
    let names = (0..50).map(|n| format!("p{n}")).chain(["person".to_owned()]);
    for name in names {
        let request: UpsertCustomerRequest = message(json!({"identities": [{"type": "customer_id", "value": name}]}));
        CustomerServiceClient::new(channel.clone()).upsert_customer(request).await.expect("a customer");
    }
}

/// Makes replies late, and breaks connections, in turn over the replicas.
fn make_faults(replicas: Vec<Arc<Replica>>, ledger: Arc<Ledger>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut turn = 0;
        while !ledger.stop.load(SeqCst) {
            let proxy = &replicas[turn % replicas.len()].proxy;
            proxy.set(if turn % 7 == 6 { Fault::Reset } else { Fault::Delay(LATE) });
            thread::sleep(FAULT_EVERY / 20);
            proxy.set(Fault::Pass);
            thread::sleep(FAULT_EVERY);
            turn += 1;
        }
        replicas.iter().for_each(|replica| replica.proxy.set(Fault::Pass));
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_replicas_never_grant_too_much_and_leave_nothing_stuck() {
    let kills = sized("CAPS_KILLS", 2);
    let redis = RedisServer::start();
    let replicas = replicas(&redis);
    for replica in &replicas {
        know_everybody(replica).await;
    }
    let ledger = Arc::new(Ledger::default());
    let faults = make_faults(replicas.clone(), Arc::clone(&ledger));
    let asking: Vec<_> = (0..REPLICAS * TASKS)
        .map(|task| tokio::spawn(ask(Arc::clone(&replicas[task % REPLICAS]), Arc::clone(&ledger))))
        .collect();
    for kill in 0..kills {
        let replica = Arc::clone(&replicas[kill as usize % REPLICAS]);
        tokio::task::spawn_blocking(move || {
            replica.kill();
            replica.start();
        })
        .await
        .expect("a replica that was killed and started");
        tell_the_untold(&replicas, &ledger).await;
    }
    let ended = Instant::now();
    let left = || MAX.iter().zip(&ledger.seen).any(|(max, seen)| seen.load(SeqCst) < *max);
    while left() {
        assert!(!asking.iter().any(tokio::task::JoinHandle::is_finished), "a task that asks ended");
        let seen = ledger.seen.each_ref().map(|seen| seen.load(SeqCst));
        assert!(ended.elapsed() < FREE_AFTER, "stuck: {seen:?} of {MAX:?}");
        tell_the_untold(&replicas, &ledger).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // whoever asks on gets nothing
    let asked = ledger.asked.load(SeqCst);
    while ledger.asked.load(SeqCst) < asked + 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ledger.stop.store(true, SeqCst);
    for task in asking {
        task.await.expect("nothing above the cap");
    }
    faults.join().expect("faults");
    println!(
        "{} questions, {kills} kills: {:?} of {MAX:?} granted and seen, the last {:?} after the last kill",
        ledger.asked.load(SeqCst),
        ledger.seen.each_ref().map(|seen| seen.load(SeqCst)),
        ended.elapsed(),
    );
}
