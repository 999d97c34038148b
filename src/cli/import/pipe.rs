//! The way of the rows of one file: read and mapped on a thread, customers
//! written, events streamed, and every row accounted for in order.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::ProgressBar;
use prost::Message as _;
use tokio_stream::StreamExt;

use crate::{
    grpc::MESSAGE_BYTES_MAX,
    proto::{Event, RecordStatus, RecordStreamResponse},
};

use super::{
    super::client,
    batches,
    counts::Counts,
    customers::Customers,
    input::Input,
    notes::Notes,
    rejects::Rejects,
    rows::{Entries, Line, Row, Rows},
    sink::{Events, MESSAGE_BYTES, MESSAGE_EVENTS, Sink},
    state::State,
};

/// How often the state is kept and the bar drawn.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// What is told where a customer was written whose event was refused.
const HALF_WRITTEN: &str = "; the attributes and consents of the row were written";
/// Rows that wait to be accounted for, beyond which none is read until the events
/// before them are answered. More than the lines of an event.
const PENDING_MAX: usize = 50_000;
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
    nth: Option<u32>,
    fate: Fate,
    /// Whether a customer of the row was written.
    customer: bool,
}

/// What becomes of a row.
enum Fate {
    /// Its event was sent, the nth of the stream.
    Sent(u64),
    /// It is a line of the event that a row after it sends; the nth of the stream,
    /// once it is.
    Part(Option<u64>),
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
    /// How many at the end of these are lines of an event that is not sent, with
    /// the rows between them.
    open: usize,
    /// Events of this stream that have a place in it.
    placed: u64,
    /// Of these, how many were sent.
    sent: u64,
    /// Of these, how many were answered.
    answered: u64,
    /// Of these, those that were refused, until their rows are accounted for.
    refused: BTreeMap<u64, String>,
    /// How many of them the service said were known before.
    told: u64,
    /// Of these, how many are not counted as such.
    duplicates: u64,
    /// The last row that is accounted for.
    row: u64,
    customers: Customers,
    notes: Arc<Notes>,
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
            open: 0,
            placed: 0,
            sent: 0,
            answered: 0,
            refused: BTreeMap::new(),
            told: 0,
            duplicates: 0,
            row,
            customers: Customers::default(),
            notes: Arc::default(),
            kept_at: Instant::now(),
        })
    }

    /// Imports the rows and says what became of them.
    ///
    /// # Errors
    /// A file cannot be read or written, or the service goes away.
    pub async fn run(mut self, rows: Rows, shift_weeks: i64, bar: ProgressBar) -> anyhow::Result<Counts> {
        self.notes = Arc::clone(&rows.notes);
        let imported = self.import(rows, shift_weeks, &bar).await;
        bar.finish_and_clear();
        let name = bar.prefix();
        match imported {
            Ok(()) => {}
            Err(error) => {
                // what is answered is kept, so that going on begins after it; where the
                // service has gone it begins where it was kept last
                if self.customers.settle(&self.sink, &self.notes).await.is_ok() {
                    self.keep()?;
                }
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
        let Counts { rows, imported, duplicates, rejected, joined } = self.counts;
        let verb = if matches!(self.sink, Sink::Check(_)) { "sound" } else { "imported" };
        let mut said =
            format!("{name}: {rows} rows = {imported} {verb} + {duplicates} known before + {rejected} rejected");
        if joined > 0 {
            said.push_str(&format!(" + {joined} further lines of the same events"));
        }
        if !until.is_empty() {
            let again = rows.saturating_sub(self.counts.answered());
            said.push_str(&format!(" + {again} to be read again{until}"));
        }
        if rejected > 0 {
            said.push_str(&format!(" (see `{}`)", self.rejects.path().display()));
        }
        say!("{said}");
        for note in self.notes.told() {
            say!("{name}: note: {note}");
        }
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
            let writes = !matches!(self.sink, Sink::Check(_));
            let has: Vec<bool> = rows.iter().map(|row| writes && has_customer(row)).collect();
            self.customers.write(&mut rows, &self.sink, &self.notes).await?;
            self.send(rows, &has, &mut events).await?;
            while self.pending.len() > PENDING_MAX && self.answered < self.sent {
                let ack = events.acks.next().await;
                self.answer(ack)?;
            }
            if self.kept_at.elapsed() >= KEEP_EVERY {
                self.kept_at = Instant::now();
                self.customers.settle(&self.sink, &self.notes).await?;
                self.keep()?;
                bar.set_position(read.load(Relaxed));
                let rate = (self.counts.rows - before) as f64 / started.elapsed().as_secs_f64();
                bar.set_message(format!("{} rows, {rate:.0}/s", self.counts.rows));
            }
        }
        self.customers.settle(&self.sink, &self.notes).await?;
        let Events { send, mut acks } = events;
        drop(send);
        while let Some(ack) = acks.next().await {
            self.answer(Some(ack))?;
        }
        anyhow::ensure!(self.pending.is_empty(), "the service left {} events without an answer", self.pending.len());
        Ok(())
    }

    /// Sends the events of a batch, and notes what becomes of each row.
    async fn send(&mut self, rows: Vec<Row>, has: &[bool], events: &mut Events) -> anyhow::Result<()> {
        let (mut message, mut bytes) = (Vec::new(), 0);
        for (row, customer) in rows.into_iter().zip(has) {
            self.counts.rows += 1;
            let Row { number, input, entries, line, nth, .. } = row;
            let fate = match entries {
                Err(why) => Fate::Rejected(why),
                Ok(Entries { part: true, .. }) => Fate::Part(None),
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
                        self.placed += 1;
                        Fate::Sent(self.placed - 1)
                    }
                }
            };
            if matches!(line, Line::Of { .. }) && !matches!(fate, Fate::Part(_)) {
                self.end_parts(number, &fate);
            }
            self.open += usize::from(self.open > 0 || matches!(fate, Fate::Part(_)));
            self.pending.push_back(Pending { number, input, nth, fate, customer: *customer });
        }
        if !message.is_empty() {
            self.pass_on(message, events).await?;
        }
        self.settle()
    }

    /// Ties the lines of an event to what became of the last of them, which the
    /// event stands in.
    fn end_parts(&mut self, number: u64, fate: &Fate) {
        for one in self.pending.iter_mut().rev().take(std::mem::take(&mut self.open)) {
            let Fate::Part(at) = &mut one.fate else { continue };
            match fate {
                Fate::Sent(index) => *at = Some(*index),
                Fate::Rejected(why) => {
                    one.fate = Fate::Rejected(format!("row {number} of the same event is rejected: {why}"));
                }
                Fate::Part(_) | Fate::Written => {}
            }
        }
    }

    async fn pass_on(&mut self, message: Vec<Event>, events: &mut Events) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                ack = events.acks.next() => self.answer(ack)?,
                permit = events.send.reserve() => {
                    let permit = permit.map_err(|_| anyhow::anyhow!("the service ended the stream"))?;
                    self.sent += message.len() as u64;
                    permit.send(message);
                    return Ok(());
                }
            }
        }
    }

    /// Takes an acknowledgement.
    fn answer(&mut self, ack: Option<Result<RecordStreamResponse, tonic::Status>>) -> anyhow::Result<()> {
        let ack = ack.context("the service ended the stream")?;
        let ack = ack.map_err(|status| client::refused("recording events", &status))?;
        self.duplicates += ack.duplicates.saturating_sub(self.told);
        self.told = ack.duplicates;
        ack.warnings.iter().for_each(|one| self.notes.add(&one.text, one.events));
        let full = ack.refused.iter().find(|refused| refused.status() == RecordStatus::Exhausted);
        let full = full.map(|refused| (refused.index, refused.error.clone()));
        self.answered = full.as_ref().map_or(ack.answered, |(until, _)| *until);
        let refused = ack.refused.into_iter().filter(|one| one.index < self.answered);
        self.refused.extend(refused.map(|one| (one.index, one.error)));
        self.settle()?;
        full.map_or(Ok(()), |(_, why)| Err(anyhow::anyhow!("{why}")))
    }

    /// Accounts for the rows up to the first whose event is not answered.
    fn settle(&mut self) -> anyhow::Result<()> {
        while let Some(front) = self.pending.front() {
            let waits = match front.fate {
                Fate::Sent(index) | Fate::Part(Some(index)) => index >= self.answered,
                Fate::Part(None) => true,
                Fate::Written | Fate::Rejected(_) => false,
            };
            if waits {
                break;
            }
            let Some(Pending { number, input, nth, fate, customer }) = self.pending.pop_front() else { break };
            let why = match &fate {
                Fate::Written | Fate::Part(None) => None,
                // it goes the way of the event that it is a line of
                Fate::Part(Some(index)) => self.refused.get(index).cloned(),
                Fate::Sent(index) => {
                    let why = self.refused.remove(index);
                    why.map(|why| if customer { format!("{why}{HALF_WRITTEN}") } else { why })
                }
                Fate::Rejected(why) => Some(why.clone()),
            };
            self.row = number;
            match why {
                None if matches!(fate, Fate::Part(_)) => self.counts.joined += 1,
                None => self.counts.imported += 1,
                Some(why) => {
                    self.counts.rejected += 1;
                    self.rejects.add((number, &why), &input, nth)?;
                }
            }
        }
        // they were counted as imported with the others
        let known = self.duplicates.min(self.counts.imported);
        self.counts.imported -= known;
        self.counts.duplicates += known;
        self.duplicates -= known;
        Ok(())
    }

    /// Keeps how far it is.
    fn keep(&mut self) -> anyhow::Result<()> {
        let rejects_bytes = self.rejects.flush()?;
        let Some((path, state)) = &mut self.state else { return Ok(()) };
        // those under way are read again
        state.row = self.row;
        state.counts = Counts { rows: self.counts.answered(), ..self.counts };
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

/// Whether a row has a customer to write beside its event.
fn has_customer(row: &Row) -> bool {
    matches!(&row.entries, Ok(Entries { customers, event: Some(_), .. }) if !customers.is_empty())
}
