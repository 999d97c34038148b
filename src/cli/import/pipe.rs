//! The way of the rows of one file: read and mapped on a thread, customers
//! written, events streamed, and every row accounted for in order.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::ProgressBar;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    grpc::MESSAGE_BYTES_MAX,
    proto::{Event, RecordStatus, RecordStreamResponse, UpsertCustomerRequest},
};

use super::{
    super::client,
    batches,
    counts::Counts,
    rejects::Rejects,
    rows::{Entries, Input, Row, Rows},
    sink::{Events, MESSAGE_BYTES, MESSAGE_EVENTS, Sink},
    state::State,
};

/// A row whose customer was written: its place, who it is, and what became of it.
type Upserted = (usize, u64, anyhow::Result<Result<(), String>>);

/// Customers written at once.
const UPSERTS_MAX: usize = 64;
/// Customers whose last written attributes are remembered, so that equal ones
/// are not written again with every row.
const REMEMBERED_MAX: usize = 1_000_000;
/// How often the state is kept and the bar drawn.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Room that a message has beside one event, bytes.
const MESSAGE_HEAD_BYTES: usize = 64;

/// An import that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted after row {row}: {why}; run the same command again to go on")]
pub struct Interrupted {
    row: u64,
    why: String,
}

/// A row whose answer is not known, or those before it are not.
struct Pending {
    number: u64,
    input: Input,
    fate: Fate,
}

/// What becomes of a row.
enum Fate {
    /// Its event was sent.
    Sent,
    /// It is no event, and written.
    Written,
    /// It is rejected.
    Rejected(String),
}

/// The way of one file.
pub struct Pipe {
    sink: Sink,
    rejects: Rejects,
    state: Option<(PathBuf, State)>,
    counts: Counts,
    pending: VecDeque<Pending>,
    /// Events of this stream that were answered.
    answered: u64,
    /// Of these, how many were known before.
    duplicates: u64,
    /// The last row that is accounted for.
    row: u64,
    /// Last written attributes and consents by customer, both as hashes.
    known: HashMap<u64, u64>,
    kept_at: Instant,
}

impl Pipe {
    /// Goes on after what the state says.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn new(sink: Sink, rejects: Rejects, state: Option<(PathBuf, State)>, counts: Counts) -> anyhow::Result<Self> {
        let row = state.as_ref().map_or(0, |(_, state)| state.row);
        Ok(Self {
            sink,
            rejects,
            state,
            counts,
            pending: VecDeque::new(),
            answered: 0,
            duplicates: 0,
            row,
            known: HashMap::new(),
            kept_at: Instant::now(),
        })
    }

    /// Imports the rows and says what became of them.
    ///
    /// # Errors
    /// A file cannot be read or written, or the service goes away.
    pub async fn run(mut self, rows: Rows, shift_weeks: i64, bar: ProgressBar) -> anyhow::Result<Counts> {
        let imported = self.import(rows, shift_weeks, &bar).await;
        bar.finish_and_clear();
        let name = bar.prefix();
        match imported {
            Ok(()) => {}
            Err(error) => {
                // what is answered is kept, so that going on begins after it
                self.keep()?;
                self.tell(&name, " until it was interrupted");
                return Err(Interrupted { row: self.row, why: format!("{error:#}") }.into());
            }
        }
        self.rejects.flush()?;
        if let Some((path, _)) = &self.state {
            // done: there is nothing to go on with
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing `{}`", path.display()));
                }
                _ => {}
            }
        }
        self.tell(&name, "");
        Ok(self.counts)
    }

    fn tell(&self, name: &str, until: &str) {
        let Counts { rows, imported, duplicates, rejected } = self.counts;
        let verb = if matches!(self.sink, Sink::Check(_)) { "sound" } else { "imported" };
        let mut said =
            format!("{name}: {rows} rows = {imported} {verb} + {duplicates} known before + {rejected} rejected{until}");
        if rejected > 0 {
            said.push_str(&format!(" (see `{}`)", self.rejects.path().display()));
        }
        say!("{said}");
    }

    async fn import(&mut self, rows: Rows, shift_weeks: i64, bar: &ProgressBar) -> anyhow::Result<()> {
        let Rows { rows, read, .. } = rows;
        let mut batches = batches::read(rows, self.row, shift_weeks);
        let mut events =
            self.sink.open().await.map_err(|status| client::refused("opening a stream of events", &status))?;
        let (started, before) = (Instant::now(), self.counts.rows);
        let mut interrupt = std::pin::pin!(told_to_stop());
        loop {
            let batch = tokio::select! {
                biased;
                _ = &mut interrupt => anyhow::bail!("it was told to stop"),
                ack = events.acks.next() => {
                    self.answer(ack)?;
                    continue;
                }
                batch = batches.next() => batch,
            };
            let Some(batch) = batch else { break };
            let mut rows = batch?;
            self.upsert(&mut rows).await?;
            self.send(rows, &mut events).await?;
            if self.kept_at.elapsed() >= KEEP_EVERY {
                self.kept_at = Instant::now();
                self.keep()?;
                bar.set_position(read.load(Relaxed));
                let rate = (self.counts.rows - before) as f64 / started.elapsed().as_secs_f64();
                bar.set_message(format!("{} rows, {rate:.0}/s", self.counts.rows));
            }
        }
        let Events { send, mut acks } = events;
        drop(send);
        while let Some(ack) = acks.next().await {
            self.answer(Some(ack))?;
        }
        anyhow::ensure!(self.pending.is_empty(), "the service left {} events without an answer", self.pending.len());
        Ok(())
    }

    /// Writes the customers of a batch that are not as they were written last.
    async fn upsert(&mut self, rows: &mut [Row]) -> anyhow::Result<()> {
        let mut calls: JoinSet<Upserted> = JoinSet::new();
        let mut done = Vec::new();
        for (index, row) in rows.iter_mut().enumerate() {
            let Ok(Entries { customer, .. }) = &mut row.entries else { continue };
            let Some(request) = customer.take() else { continue };
            let (who, what) = hashes(&request);
            if self.known.insert(who, what) == Some(what) {
                continue;
            }
            while calls.len() >= UPSERTS_MAX {
                done.extend(calls.join_next().await);
            }
            let sink = self.sink.clone();
            calls.spawn(async move { (index, who, sink.upsert(*request).await) });
        }
        while let Some(call) = calls.join_next().await {
            done.push(call);
        }
        for call in done {
            let (index, who, result) = call.context("writing a customer was interrupted")?;
            if let Err(why) = result? {
                self.known.remove(&who);
                if let Some(row) = rows.get_mut(index) {
                    row.entries = Err(why);
                }
            }
        }
        if self.known.len() > REMEMBERED_MAX {
            self.known.clear();
        }
        Ok(())
    }

    /// Sends the events of a batch, and notes what becomes of each row.
    async fn send(&mut self, rows: Vec<Row>, events: &mut Events) -> anyhow::Result<()> {
        let (mut message, mut bytes) = (Vec::new(), 0);
        for row in rows {
            self.counts.rows += 1;
            let Row { number, input, entries } = row;
            let fate = match entries {
                Err(why) => Fate::Rejected(why),
                Ok(Entries { event: None, .. }) => Fate::Written,
                Ok(Entries { event: Some(event), .. }) => {
                    let len = event.encoded_len();
                    if len + MESSAGE_HEAD_BYTES > MESSAGE_BYTES_MAX {
                        Fate::Rejected(format!("the event has {len} bytes: at most {MESSAGE_BYTES_MAX}"))
                    } else {
                        if message.len() == MESSAGE_EVENTS || bytes + len > MESSAGE_BYTES {
                            self.pass_on(std::mem::take(&mut message), events).await?;
                            bytes = 0;
                        }
                        bytes += len;
                        message.push(*event);
                        Fate::Sent
                    }
                }
            };
            self.pending.push_back(Pending { number, input, fate });
        }
        if !message.is_empty() {
            self.pass_on(message, events).await?;
        }
        self.settle(0, Vec::new())
    }

    async fn pass_on(&mut self, message: Vec<Event>, events: &mut Events) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                ack = events.acks.next() => self.answer(ack)?,
                permit = events.send.reserve() => {
                    permit.map_err(|_| anyhow::anyhow!("the service ended the stream"))?.send(message);
                    return Ok(());
                }
            }
        }
    }

    /// Takes an acknowledgement.
    fn answer(&mut self, ack: Option<Result<RecordStreamResponse, tonic::Status>>) -> anyhow::Result<()> {
        let ack = ack.context("the service ended the stream")?;
        let ack = ack.map_err(|status| client::refused("recording events", &status))?;
        let answered = ack.answered.saturating_sub(self.answered);
        let first = self.answered;
        self.answered = ack.answered;
        let duplicates = ack.duplicates.saturating_sub(self.duplicates);
        self.duplicates = ack.duplicates;
        let full = ack.refused.iter().find(|refused| refused.status() == RecordStatus::Exhausted);
        let full = full.map(|refused| (refused.index.saturating_sub(first), refused.error.clone()));
        let refused = ack.refused.into_iter().map(|one| (one.index.saturating_sub(first), one.error)).collect();
        self.settle(full.as_ref().map_or(answered, |(until, _)| *until), refused)?;
        // they were counted as imported with the others
        let known = duplicates.min(self.counts.imported);
        self.counts.imported -= known;
        self.counts.duplicates += known;
        full.map_or(Ok(()), |(_, why)| Err(anyhow::anyhow!("{why}")))
    }

    /// Accounts for the rows of so many events, of which some were refused by
    /// their place, and for every row up to the next event.
    fn settle(&mut self, events: u64, refused: Vec<(u64, String)>) -> anyhow::Result<()> {
        let (mut settled, mut refused) = (0, refused.into_iter().peekable());
        while let Some(front) = self.pending.front() {
            let sent = matches!(front.fate, Fate::Sent);
            if sent && settled == events {
                break;
            }
            let Some(Pending { number, input, fate }) = self.pending.pop_front() else { break };
            let why = match fate {
                Fate::Rejected(why) => Some(why),
                Fate::Written => None,
                Fate::Sent => {
                    let why = refused.next_if(|(index, _)| *index == settled).map(|(_, why)| why);
                    settled += 1;
                    why
                }
            };
            self.row = number;
            match why {
                None => self.counts.imported += 1,
                Some(why) => {
                    self.counts.rejected += 1;
                    self.rejects.add(number, &why, &input)?;
                }
            }
        }
        Ok(())
    }

    /// Keeps how far it is.
    fn keep(&mut self) -> anyhow::Result<()> {
        let rejects_bytes = self.rejects.flush()?;
        let Some((path, state)) = &mut self.state else { return Ok(()) };
        let Counts { imported, duplicates, rejected, .. } = self.counts;
        // those under way are read again
        let rows = imported + duplicates + rejected;
        state.row = self.row;
        state.counts = Counts { rows, imported, duplicates, rejected };
        state.rejects_bytes = rejects_bytes;
        state.write(path)
    }
}

/// Ends when the process is told to stop.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // then a signal ends the process, and ids make going on harmless
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Who a customer is and what is written, as hashes; when it became true is left
/// out.
fn hashes(request: &UpsertCustomerRequest) -> (u64, u64) {
    let who = xxh3_64(format!("{:?}", request.identities).as_bytes());
    let consents = request.consents.iter().map(|one| (&one.channel, one.purpose, one.permission));
    let what = format!("{:?} {:?}", request.attributes, consents.collect::<Vec<_>>());
    (who, xxh3_64(what.as_bytes()))
}
