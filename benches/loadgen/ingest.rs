//! Durable events over `RecordStream`, and raw appends of the same bytes with as
//! many syncs.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rapport::{
    grpc::timestamp::Timestamp,
    proto::{
        AckStrength, CustomerEvent, Event, EventItem, Identity, Money, RecordStreamRequest, event::Kind,
        event_service_client::EventServiceClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::target::Target;

/// Events of one message.
const MESSAGE_EVENTS: u64 = 256;
/// Messages made ahead of the transport.
const MESSAGES_AHEAD: usize = 4;
/// 2026-01-01.
const FIRST_S: i64 = 1_767_225_600;

/// What a stream did.
#[derive(Clone, Copy, Debug)]
pub struct Streamed {
    /// From the first event to the last acknowledgement.
    pub took: Duration,
    /// By how much the log grew, bytes.
    pub log_bytes: u64,
    /// Syncs of the log meanwhile.
    pub syncs: u64,
}

/// A purchase of one of so many customers.
pub fn event(nth: u64, customers: u64) -> Event {
    let money = |amount: &str| Some(Money { amount: amount.to_owned(), currency: "GBP".to_owned() });
    let customer = CustomerEvent {
        identities: vec![Identity { r#type: "customer_id".to_owned(), value: format!("ingest-{}", nth % customers) }],
        r#type: "purchase".to_owned(),
        amount: money("12.50"),
        items: vec![EventItem { item: format!("item-{}", nth % 500), quantity: 2, unit_price: money("6.25") }],
        ..CustomerEvent::default()
    };
    Event {
        event_id: nth.to_string(),
        source: "bench".to_owned(),
        time: Some(Timestamp { seconds: FIRST_S + (nth / 1_000) as i64, nanos: 0 }),
        kind: Some(Kind::Customer(customer)),
    }
}

/// Streams events `[from, from + count)` and waits until all are on disk.
/// `look` is called with every acknowledgement.
pub async fn stream(
    target: &Target,
    (from, count): (u64, u64),
    customers: u64,
    mut look: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<Streamed> {
    let before = (metric(target.private, "rapport_log_bytes")?, metric(target.private, "rapport_log_fsyncs_total")?);
    let channel = Channel::from_shared(format!("http://{}", target.address))?.connect().await?;
    let mut client = EventServiceClient::new(channel);
    let (sender, messages) = mpsc::channel(MESSAGES_AHEAD);
    std::thread::spawn(move || {
        let mut next = from;
        while next < from + count {
            let end = (next + MESSAGE_EVENTS).min(from + count);
            let events = (next..end).map(|nth| event(nth, customers)).collect();
            if sender.blocking_send(RecordStreamRequest { events }).is_err() {
                return;
            }
            next = end;
        }
    });
    let started = Instant::now();
    let mut acks = client.record_stream(ReceiverStream::new(messages)).await?.into_inner();
    let mut last = None;
    while let Some(ack) = acks.message().await? {
        ensure!(ack.refused.is_empty(), "refused: {:?}", ack.refused.first());
        look(ack.answered)?;
        last = Some(ack);
    }
    let took = started.elapsed();
    let last = last.context("no acknowledgement")?;
    ensure!((last.recorded, last.ack()) == (count, AckStrength::Disk), "{last:?}");
    // sampled every second
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let after = (metric(target.private, "rapport_log_bytes")?, metric(target.private, "rapport_log_fsyncs_total")?);
    Ok(Streamed { took, log_bytes: after.0.saturating_sub(before.0), syncs: after.1.saturating_sub(before.1) })
}

/// Appends as many bytes to a file, an append for each of so many events, and
/// syncs it as often, evenly.
pub fn raw(dir: &Path, events: u64, of: Streamed) -> anyhow::Result<Duration> {
    let path = dir.join("raw.log");
    let mut file = File::create(&path)?;
    let record = vec![0xA5_u8; (of.log_bytes / events.max(1)) as usize];
    let group = (events / of.syncs.max(1)).max(1);
    let started = Instant::now();
    for nth in 1..=events {
        file.write_all(&record)?;
        if nth % group == 0 || nth == events {
            file.sync_data()?;
        }
    }
    let took = started.elapsed();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(took)
}

/// The same with one write for each group, as the service's own log does it.
pub fn raw_groups(dir: &Path, of: Streamed) -> anyhow::Result<Duration> {
    let path = dir.join("raw.log");
    let mut file = File::create(&path)?;
    let syncs = of.syncs.max(1);
    let group = vec![0xA5_u8; (of.log_bytes / syncs) as usize];
    let started = Instant::now();
    for _ in 0..syncs {
        file.write_all(&group)?;
        file.sync_data()?;
    }
    let took = started.elapsed();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(took)
}

/// The value of a metric without labels.
fn metric(address: SocketAddr, name: &str) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(address).context("connecting to scrape")?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let line = reply.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no metric `{name}`"))?.trim().parse::<f64>()? as u64)
}
