//! `rapport export`: everything that happened, in the order in which it was
//! committed, into files; resumable.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    cli::client::{self, Target},
    proto::{ChangeKind, SubscribeRequest, SubscribeResponse, event_service_client::EventServiceClient},
};

use super::{
    ndjson::Lines,
    state::{Progress, StateFile},
};

/// How often what was written is brought to disk and the state is kept.
const SETTLE_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to reach a service that has gone.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The form of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// Parquet files.
    Parquet,
}

/// Options of `export`.
#[derive(Debug, clap::Args)]
pub struct Changes {
    /// The file to write; standard output when absent. For Parquet with
    /// `--state` or `--follow`: a directory of files.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The form; by default what the ending of the file says, else NDJSON.
    #[arg(long)]
    format: Option<Format>,
    /// Where to begin: behind this cursor; `0` for the oldest that is kept,
    /// `now` for what happens from now on. The state comes before it.
    #[arg(long, default_value = "0")]
    cursor: String,
    /// A file that keeps how far the export is: the same command goes on there,
    /// with nothing missing and nothing twice.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Go on with what happens, also when the service restarts.
    #[arg(long, conflicts_with = "until_now")]
    follow: bool,
    /// End when everything that is committed by now is written; so it is
    /// without `--follow`.
    #[arg(long)]
    until_now: bool,
    /// Only this kind: `event`, `decision`, `outcome`, `customer`, `merge`,
    /// `unmerge`, `erasure` or `segments`; may be repeated.
    #[arg(long = "kind")]
    kinds: Vec<String>,
    /// Of events and outcomes only this type, for example `purchase` or `click`;
    /// may be repeated.
    #[arg(long = "type")]
    types: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// Where changes are written to.
pub trait Sink {
    /// Writes one.
    ///
    /// # Errors
    /// The file cannot be written.
    fn put(&mut self, message: &SubscribeResponse) -> anyhow::Result<()>;

    /// Brings what was written to disk, as far as the form allows: answers the
    /// bytes that a later export keeps of the file.
    ///
    /// # Errors
    /// The file cannot be written.
    fn settle(&mut self, cursor: &str) -> anyhow::Result<u64>;

    /// As [`Sink::settle`], and makes the files whole.
    ///
    /// # Errors
    /// The file cannot be written.
    fn finish(&mut self, cursor: &str) -> anyhow::Result<u64>;

    /// As [`Sink::finish`], when not everything came that was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    fn give_up(&mut self, cursor: &str) -> anyhow::Result<u64> {
        self.finish(cursor)
    }

    /// Whether the state may be kept now: everything that was put is in files
    /// that can be read.
    fn is_whole(&self) -> bool {
        true
    }
}

/// Streams and writes.
///
/// # Errors
/// The service cannot be reached or refuses, or a file cannot be written.
pub async fn run(args: Changes) -> anyhow::Result<ExitCode> {
    let kinds = args.kinds.iter().map(|name| kind(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let state = StateFile(args.state.clone());
    let before = state.load()?;
    let begin = match args.cursor.as_str() {
        "now" => String::new(),
        cursor => cursor.to_owned(),
    };
    let progress = before.clone().unwrap_or(Progress { cursor: begin, ..Progress::default() });
    let sink = open(&args, before.as_ref())?;
    let request = SubscribeRequest {
        cursor: String::new(),
        kinds,
        types: args.types.clone(),
        until_now: args.until_now || !args.follow,
    };
    let mut export = Export { target: args.target, follow: args.follow, request, state, progress, sink, rows: 0 };
    match export.run().await {
        // a reader that has gone needs no more
        Err(error) if is_broken_pipe(&error) => {}
        done => done?,
    }
    eprintln!("{} changes exported; the cursor is now `{}`", export.rows, export.progress.cursor);
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn kind(name: &str) -> anyhow::Result<i32> {
    let kind = ChangeKind::from_str_name(&format!("CHANGE_KIND_{}", name.to_uppercase()));
    let kind = kind.filter(|kind| *kind != ChangeKind::Unspecified);
    Ok(kind.with_context(|| format!("`{name}` is no kind of change; `rapport export --help` names them"))? as i32)
}

/// The name of a kind in files.
#[cfg(feature = "parquet")]
pub fn kind_name(kind: ChangeKind) -> String {
    let name = kind.as_str_name();
    name.strip_prefix("CHANGE_KIND_").unwrap_or(name).to_lowercase()
}

fn open(args: &Changes, before: Option<&Progress>) -> anyhow::Result<Box<dyn Sink>> {
    let is_parquet = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "parquet");
    let by_name = if args.out.as_ref().is_some_and(is_parquet) { Format::Parquet } else { Format::Ndjson };
    match args.format.unwrap_or(by_name) {
        Format::Ndjson => Ok(Box::new(Lines::open(args.out.as_deref(), before)?)),
        Format::Parquet => {
            let path = args
                .out
                .as_deref()
                .context("Parquet cannot be written to standard output: name a file with `--out`")?;
            parquet(path, args.state.is_some() || args.follow)
        }
    }
}

#[cfg(feature = "parquet")]
fn parquet(path: &Path, in_parts: bool) -> anyhow::Result<Box<dyn Sink>> {
    ensure!(
        !in_parts || !path.is_file(),
        "`{}` is a file: with `--state` or `--follow` name a directory, for a Parquet file cannot grow",
        path.display()
    );
    Ok(Box::new(super::parquet::Files::new(path, in_parts)?))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Path, _: bool) -> anyhow::Result<Box<dyn Sink>> {
    ensure!(cfg!(feature = "parquet"), "this program was built without Parquet: build it with the feature `parquet`");
    Ok(Box::new(Lines::open(None, None)?))
}

/// An export under way.
struct Export {
    target: Target,
    follow: bool,
    request: SubscribeRequest,
    state: StateFile,
    progress: Progress,
    sink: Box<dyn Sink>,
    rows: u64,
}

/// How a stream ended.
enum Ended {
    /// Everything is told.
    Done,
    /// It broke; it may go on with another.
    Broken(anyhow::Error),
}

impl Export {
    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            let ended = self.stream().await?;
            let cursor = self.progress.cursor.clone();
            // what came is kept, however it ended; but one file that cannot grow
            // is whole or does not have its name
            let bytes = match ended {
                Ended::Broken(_) if !self.follow => self.sink.give_up(&cursor)?,
                _ => self.sink.finish(&cursor)?,
            };
            self.keep(bytes)?;
            match ended {
                Ended::Done if !self.follow => return Ok(()),
                Ended::Done => {}
                Ended::Broken(why) if self.follow => eprintln!("{why:#}; trying again"),
                Ended::Broken(why) if self.sink.is_whole() => {
                    bail!("{why:#}; everything up to the cursor `{cursor}` is written: go on there")
                }
                Ended::Broken(why) => bail!("{why:#}; the file is not whole: export again"),
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Takes one stream to its end.
    async fn stream(&mut self) -> anyhow::Result<Ended> {
        let connection = match self.target.connect().await {
            Ok(connection) => connection,
            Err(error) if self.rows > 0 || self.progress.rows > 0 => return Ok(Ended::Broken(error)),
            Err(error) => return Err(error),
        };
        let mut service = EventServiceClient::new(connection);
        let request = SubscribeRequest { cursor: self.progress.cursor.clone(), ..self.request.clone() };
        let mut stream = match service.subscribe(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return failed(&status),
        };
        let mut settled_at = Instant::now();
        loop {
            let message = tokio::time::timeout_at(settled_at + SETTLE_EVERY, stream.message()).await;
            match message {
                Ok(Ok(Some(message))) => self.take(message)?,
                Ok(Ok(None)) => return Ok(Ended::Done),
                Ok(Err(status)) => return failed(&status),
                Err(_) => {}
            }
            if settled_at.elapsed() >= SETTLE_EVERY {
                let cursor = self.progress.cursor.clone();
                let bytes = self.sink.settle(&cursor)?;
                self.keep(bytes)?;
                settled_at = Instant::now();
            }
        }
    }

    fn take(&mut self, message: SubscribeResponse) -> anyhow::Result<()> {
        if message.kind() != ChangeKind::Unspecified {
            self.sink.put(&message)?;
            self.rows += 1;
            self.progress.rows += 1;
        }
        self.progress.cursor = message.cursor;
        Ok(())
    }

    fn keep(&mut self, bytes: u64) -> anyhow::Result<()> {
        if !self.sink.is_whole() {
            return Ok(());
        }
        self.progress.bytes = bytes;
        self.state.save(&self.progress)
    }
}

/// What may be mended by trying again.
fn failed(status: &Status) -> anyhow::Result<Ended> {
    let error = client::refused("subscribing to what happens", status);
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange | Code::PermissionDenied | Code::Unauthenticated => Err(error),
        _ => Ok(Ended::Broken(error)),
    }
}
