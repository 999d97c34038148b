//! kill -9 during a stream of events, 20 times: what was acknowledged is there
//! exactly once, what was not is never there twice.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rapport::proto::{RecordRequest, RecordStatus, event_service_client::EventServiceClient};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{Place, Server, message};

const KILLS: usize = 20;
const CUSTOMERS: usize = 5;
const SENDERS: usize = 4;
/// Events acknowledged before each kill; varied per round to hit other moments.
const ACKNOWLEDGED_MIN: usize = 40;

/// The events sent, by the number in their id.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<usize>,
    unanswered: Vec<usize>,
}

/// Every third event asks for the disk, the others for the process.
fn event(number: usize) -> Value {
    let kind = if number.is_multiple_of(3) { "purchase" } else { "page_view" };
    json!({
        "eventId": format!("kill-{number}"),
        "source": "stream",
        "time": "2021-01-01T00:00:00Z",
        "customer": {
            "identities": [{"type": "customer_id", "value": format!("kill-{}", number % CUSTOMERS)}],
            "type": kind,
            "amount": {"amount": "1.00", "currency": "GBP"},
        },
    })
}

fn batch(numbers: &[usize]) -> RecordRequest {
    message(json!({"events": numbers.iter().map(|n| event(*n)).collect::<Vec<_>>()}))
}

/// Sends until the service is gone. One call is one to three events.
async fn stream(mut client: EventServiceClient<Channel>, next: Arc<AtomicUsize>, done: Arc<AtomicUsize>) -> Sent {
    let mut sent = Sent::default();
    loop {
        let first = next.fetch_add(3, Ordering::Relaxed);
        let numbers: Vec<usize> = (first..=first + first % 3).collect();
        match client.record(batch(&numbers)).await {
            Ok(reply) => {
                let results = reply.into_inner().results;
                assert!(results.iter().all(|r| r.status() == RecordStatus::Recorded), "{results:?}");
                done.fetch_add(numbers.len(), Ordering::Relaxed);
                sent.acknowledged.extend(numbers);
            }
            Err(_) => {
                sent.unanswered.extend(numbers);
                return sent;
            }
        }
    }
}

async fn counts(server: &Server) -> HashMap<usize, u64> {
    let mut counts = HashMap::new();
    for customer in 0..CUSTOMERS {
        let view = server.view("customer_id", &format!("kill-{customer}")).await;
        counts.insert(customer, view.map_or(0, |v| v.events.iter().map(|e| e.count).sum()));
    }
    counts
}

fn expected(numbers: impl Iterator<Item = usize>) -> HashMap<usize, u64> {
    let mut counts: HashMap<usize, u64> = (0..CUSTOMERS).map(|c| (c, 0)).collect();
    numbers.for_each(|number| *counts.entry(number % CUSTOMERS).or_default() += 1);
    counts
}

async fn resend(server: &Server, numbers: &[usize], allowed: &[RecordStatus]) {
    let mut client = server.events().await;
    for chunk in numbers.chunks(100) {
        let reply = client.record(batch(chunk)).await.expect("events are taken again").into_inner();
        for (number, result) in chunk.iter().zip(&reply.results) {
            assert!(allowed.contains(&result.status()), "event {number}: {result:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_twenty_kills() {
    let place = Arc::new(Place::new());
    let next = Arc::new(AtomicUsize::new(0));
    // every event of earlier rounds, all recorded by now
    let mut settled: Vec<usize> = Vec::new();
    let mut server = Server::start(&place);
    for round in 0..KILLS {
        let done = Arc::new(AtomicUsize::new(0));
        let mut senders = Vec::new();
        for _ in 0..SENDERS {
            senders.push(tokio::spawn(stream(server.events().await, Arc::clone(&next), Arc::clone(&done))));
        }
        while done.load(Ordering::Relaxed) < ACKNOWLEDGED_MIN + round * 7 % 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(!senders.iter().any(tokio::task::JoinHandle::is_finished), "a sender ended before the kill");
        }
        server.kill();
        let mut sent = Sent::default();
        for sender in senders {
            let one = sender.await.expect("the sender ends");
            sent.acknowledged.extend(one.acknowledged);
            sent.unanswered.extend(one.unanswered);
        }

        server = Server::start(&place);
        let found = counts(&server).await;
        let least = expected(settled.iter().chain(&sent.acknowledged).copied());
        let most = expected(settled.iter().chain(&sent.acknowledged).chain(&sent.unanswered).copied());
        for customer in 0..CUSTOMERS {
            let (at_least, at_most, is) = (least[&customer], most[&customer], found[&customer]);
            assert!(at_least <= is, "round {round}, customer {customer}: {is} events, {at_least} acknowledged");
            assert!(is <= at_most, "round {round}, customer {customer}: {is} events, only {at_most} sent");
        }
        resend(&server, &sent.acknowledged, &[RecordStatus::Duplicate]).await;
        resend(&server, &sent.unanswered, &[RecordStatus::Duplicate, RecordStatus::Recorded]).await;
        assert_eq!(counts(&server).await, most, "round {round}: after sending everything again");
        settled.extend(sent.acknowledged);
        settled.extend(sent.unanswered);
    }
    // the oldest are still known
    settled.sort_unstable();
    resend(&server, &settled[..settled.len().min(300)], &[RecordStatus::Duplicate]).await;
}
