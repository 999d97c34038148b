//! `rapport import`: customers and events from NDJSON files. Importing a file
//! again changes nothing; a line that is refused goes to a reject file.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::{
    grpc::{Api, timestamp::Timestamp},
    proto::{
        Event, RecordRequest, RecordResponse, RecordStatus, UpsertCustomerRequest,
        customer_service_client::CustomerServiceClient, event_service_client::EventServiceClient,
    },
};

use super::{
    client::{Connection, Target},
    lines::{self, Entry, Line},
};

/// Events sent at a time.
const BATCH_LEN: usize = 100;
/// Calls under way at once.
const IN_FLIGHT_MAX: usize = 64;

/// Options of `import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// NDJSON files: a customer (`{"identities": ...}`) or an event a line.
    /// They are imported in the order given.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Imports and prints what became of every line.
///
/// # Errors
/// The service cannot be reached, or a file cannot be read.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let sink = Sink::Remote(args.target.connect().await?);
    let mut total = Counts::default();
    for file in &args.files {
        total.add(&import(&sink, file, 0).await?);
    }
    Ok(if total.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where imported lines go.
#[derive(Clone)]
pub enum Sink {
    /// A running service.
    Remote(Connection),
    /// This process.
    Local(Arc<Api>),
}

impl Sink {
    async fn record(&self, events: Vec<Event>) -> Result<RecordResponse, tonic::Status> {
        let request = RecordRequest { events, ..RecordRequest::default() };
        match self {
            Sink::Remote(connection) => {
                EventServiceClient::new(connection.clone()).record(request).await.map(tonic::Response::into_inner)
            }
            Sink::Local(api) => api.record(crate::grpc::Caller::Service, request).await,
        }
    }

    async fn upsert(&self, request: UpsertCustomerRequest) -> Result<(), tonic::Status> {
        match self {
            Sink::Remote(connection) => {
                CustomerServiceClient::new(connection.clone()).upsert_customer(request).await.map(|_| ())
            }
            Sink::Local(api) => api.upsert_customer(request).await.map(|_| ()),
        }
    }
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Lines read that were not blank.
    pub lines: u64,
    /// Recorded now.
    pub recorded: u64,
    /// Recorded before.
    pub duplicates: u64,
    /// Refused.
    pub rejected: u64,
}

impl Counts {
    /// Adds another file's.
    pub fn add(&mut self, other: &Counts) {
        self.lines += other.lines;
        self.recorded += other.recorded;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
    }
}

/// Imports a file, with times moved by whole weeks.
///
/// # Errors
/// The file cannot be read, the reject file cannot be written, or the service
/// goes away. What was recorded stays; import again to go on.
pub async fn import(sink: &Sink, file: &Path, shift_weeks: i64) -> anyhow::Result<Counts> {
    let bytes = std::fs::metadata(file).with_context(|| format!("opening `{}`", file.display()))?.len();
    let mut import = Import {
        sink: sink.clone(),
        rejects: Rejects { path: reject_path(file), out: None },
        bar: bar(bytes, file)?,
        counts: Counts::default(),
        calls: JoinSet::new(),
        batch: Vec::new(),
    };
    for line in lines::read(file)? {
        let mut line = line?;
        import.counts.lines += 1;
        import.bar.inc(line.bytes);
        match std::mem::replace(&mut line.entry, Err(String::new())) {
            Err(why) => import.reject(&line, &why)?,
            Ok(Entry::Event(mut event)) => {
                shift_event(&mut event, shift_weeks);
                import.batch.push((line, *event));
                if import.batch.len() == BATCH_LEN {
                    import.flush().await?;
                }
            }
            Ok(Entry::Customer(mut customer)) => {
                shift_customer(&mut customer, shift_weeks);
                import.upsert(line, *customer).await?;
            }
        }
    }
    import.finish().await
}

type Outcome = Vec<(Line, Result<RecordStatus, String>)>;

struct Import {
    sink: Sink,
    rejects: Rejects,
    bar: ProgressBar,
    counts: Counts,
    calls: JoinSet<anyhow::Result<Outcome>>,
    batch: Vec<(Line, Event)>,
}

impl Import {
    async fn flush(&mut self) -> anyhow::Result<()> {
        // events of one customer must arrive in order: one batch at a time
        self.drain(0).await?;
        let (lines, events): (Vec<Line>, Vec<Event>) = std::mem::take(&mut self.batch).into_iter().unzip();
        let sink = self.sink.clone();
        self.calls.spawn(async move {
            let response = sink.record(events).await;
            let results = response.map_err(|s| super::client::refused("recording events", &s))?.results;
            let status = |r: &crate::proto::RecordResult| match r.status() {
                RecordStatus::Recorded | RecordStatus::Duplicate => Ok(r.status()),
                _ => Err(r.error.clone()),
            };
            Ok(lines.into_iter().zip(results.iter().map(status)).collect())
        });
        Ok(())
    }

    async fn upsert(&mut self, line: Line, customer: UpsertCustomerRequest) -> anyhow::Result<()> {
        self.drain(IN_FLIGHT_MAX - 1).await?;
        let sink = self.sink.clone();
        self.calls.spawn(async move {
            let result = match sink.upsert(customer).await {
                Ok(()) => Ok(RecordStatus::Recorded),
                Err(status) if status.code() == tonic::Code::Unavailable => {
                    return Err(super::client::refused("writing a customer", &status));
                }
                Err(status) => match super::client::violations(&status) {
                    wrong if wrong.is_empty() => Err(status.message().to_owned()),
                    wrong => Err(wrong.join("; ")),
                },
            };
            Ok(vec![(line, result)])
        });
        Ok(())
    }

    /// Waits until at most so many calls are under way.
    async fn drain(&mut self, in_flight: usize) -> anyhow::Result<()> {
        while self.calls.len() > in_flight {
            let Some(done) = self.calls.join_next().await else { break };
            for (line, result) in done.context("an import call was interrupted")?? {
                match result {
                    Ok(RecordStatus::Duplicate) => self.counts.duplicates += 1,
                    Ok(_) => self.counts.recorded += 1,
                    Err(why) => self.reject(&line, &why)?,
                }
            }
        }
        Ok(())
    }

    fn reject(&mut self, line: &Line, why: &str) -> anyhow::Result<()> {
        self.counts.rejected += 1;
        self.rejects.write(line, why)
    }

    async fn finish(mut self) -> anyhow::Result<Counts> {
        if !self.batch.is_empty() {
            self.flush().await?;
        }
        self.drain(0).await?;
        let Counts { lines, recorded, duplicates, rejected } = self.counts;
        let mut said = format!("{lines} lines: {recorded} recorded, {duplicates} known before, {rejected} rejected");
        if rejected > 0 {
            said.push_str(&format!(" (see `{}`)", self.rejects.path.display()));
        }
        self.bar.finish_and_clear();
        say!("{}: {said}", self.bar.message());
        Ok(self.counts)
    }
}

/// The lines that were refused, with the reason.
struct Rejects {
    path: PathBuf,
    out: Option<File>,
}

impl Rejects {
    fn write(&mut self, line: &Line, why: &str) -> anyhow::Result<()> {
        let doing = || format!("writing the reject file `{}`", self.path.display());
        if self.out.is_none() {
            self.out = Some(File::create(&self.path).with_context(doing)?);
        }
        let Some(out) = &mut self.out else { return Ok(()) };
        let entry = serde_json::json!({ "line": line.number, "error": why, "input": line.text });
        writeln!(out, "{entry}").with_context(doing)
    }
}

fn reject_path(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".rejects.ndjson");
    PathBuf::from(name)
}

fn bar(bytes: u64, file: &Path) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} [{bar:32}] {bytes}/{total_bytes} {eta}")?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ProgressBar::new(bytes).with_style(style).with_message(name))
}

const WEEK_S: i64 = 7 * 86_400;

fn shift(time: &mut Option<Timestamp>, weeks: i64) {
    if let Some(time) = time {
        time.seconds += weeks * WEEK_S;
    }
}

fn shift_event(event: &mut Event, weeks: i64) {
    shift(&mut event.time, weeks);
}

fn shift_customer(customer: &mut UpsertCustomerRequest, weeks: i64) {
    shift(&mut customer.time, weeks);
    for consent in &mut customer.consents {
        shift(&mut consent.time, weeks);
    }
}
