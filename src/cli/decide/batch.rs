//! Many questions: a file in, a file out, over streams.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
};

use crate::cli::client::Target;

use super::{
    answers::{Counts, Writer},
    defaults::Defaults,
    exchange::{self, Exchange, Others},
    questions::Questions,
    seen::Seen,
    sink::{OtherRun, Sink},
};

/// Packs of questions that wait for a stream with room.
const PACKS_MAX: usize = 8;
/// What waits to be written, in bunches of one piece from the wire.
const TOLD_MAX: usize = 64;
/// Most streams of one run.
const STREAMS_MAX: usize = 8;

/// Options of `decide --batch`.
#[derive(Clone, Debug, clap::Args)]
pub struct BatchArgs {
    /// Ask every question of a file: one question a line in the JSON of the API
    /// (`DecideRequest`). Options such as `--channel` count for lines that do not
    /// say otherwise. A line without `requestId` gets one made from the content
    /// of the file, the options and its number.
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with_all = ["identities", "context", "trace", "json"])]
    pub batch: Option<PathBuf>,
    /// Where the answers go, one JSON line each: `{"requestId": ..., "answer":
    /// {...}}` or `"problem"`, in the order they come; `-` for standard output. A
    /// file that is there is continued: what it answers is not asked again, so
    /// that a run that was interrupted goes on when it is started again.
    #[arg(long, value_name = "FILE", requires = "batch")]
    pub out: Option<PathBuf>,
    /// Go on in an output that a run with other questions or other options began.
    #[arg(long, requires = "batch")]
    pub force: bool,
    /// Streams to the service, each over a connection of its own, which the
    /// service spreads over its cores [default: one per core, at most 8]
    #[arg(long, value_name = "N", requires = "batch", value_parser = clap::value_parser!(u16).range(1..=STREAMS_MAX as i64))]
    pub streams: Option<u16>,
}

/// One run.
pub struct Batch {
    /// The questions.
    pub questions: PathBuf,
    /// The answers.
    pub answers: PathBuf,
    /// What is done with the answers of a run that asked something else.
    pub other: OtherRun,
    /// How many streams.
    pub streams: usize,
    /// What questions take over.
    pub defaults: Defaults,
    /// The service.
    pub target: Target,
}

impl BatchArgs {
    /// How many streams to open.
    pub fn streams(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from).min(STREAMS_MAX);
        self.streams.map_or_else(cores, usize::from)
    }
}

impl Batch {
    /// Asks every question and writes every answer.
    ///
    /// # Errors
    /// The service cannot be reached or refuses, or a file cannot be read or
    /// written. What was answered stays in the output.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        exchange::try_out(&self.target).await?;
        let mut seen = Seen::of_file(&self.questions, &self.defaults.fingerprint())?;
        let sink = Sink::open(&self.answers, &self.questions, (&mut seen, self.other))?;
        let aside = matches!(sink, Sink::Standard);
        let bar = bar(&self.questions)?;
        let started = Instant::now();
        let (packs, packed) = mpsc::channel(PACKS_MAX);
        let (told, heard) = mpsc::channel(TOLD_MAX);
        let questions = Questions { defaults: self.defaults, seen, packs, told: told.clone() };
        let path = self.questions.clone();
        let reading = spawn("questions", move || questions.read(&path))?;
        let writer = Writer::new(sink, bar.clone());
        let writing = spawn("answers", move || writer.run(heard))?;
        let exchanged = exchange_all(&self.target, (packed, told), (self.streams, &bar)).await;
        // both end when the streams have gone
        let written = writing.await.context("the thread of the answers panicked")?;
        let read = reading.await.context("the thread of the questions panicked")?;
        bar.finish_and_clear();
        // the first cause comes first: without answers written streams end, without questions too
        let counts = written?;
        let seen = read?;
        exchanged?;
        tell(&counts, &seen, (started.elapsed(), aside));
        Ok(if counts.problems + seen.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn exchange_all(
    target: &Target,
    (packed, told): (mpsc::Receiver<super::questions::Pack>, mpsc::Sender<super::Told>),
    (streams, bar): (usize, &ProgressBar),
) -> anyhow::Result<()> {
    let packs = Arc::new(Mutex::new(packed));
    let bar = bar.clone();
    let broke: Arc<dyn Fn(String) + Send + Sync> =
        Arc::new(move |why| bar.suspend(|| eprintln!("a stream is opened again: {why}")));
    let others = Arc::new(Others::default());
    let mut exchanges = JoinSet::new();
    for _ in 0..streams {
        let (target, packs, told) = (target.clone(), Arc::clone(&packs), told.clone());
        exchanges.spawn(Exchange { target, packs, told, broke: Arc::clone(&broke), others: Arc::clone(&others) }.run());
    }
    drop((packs, told));
    while let Some(done) = exchanges.join_next().await {
        // the others end with the set
        done.context("a stream was interrupted")??;
    }
    Ok(())
}

/// Runs work on a thread of its own.
fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<T>> {
    let (sender, done) = oneshot::channel();
    let run = move || {
        // nobody waits any more when the command ends
        let _ = sender.send(work());
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .with_context(|| format!("starting the thread of the {name}"))?;
    Ok(done)
}

fn bar(path: &Path) -> anyhow::Result<ProgressBar> {
    let bytes = std::fs::metadata(path).with_context(|| format!("opening `{}`", path.display()))?.len();
    let style = ProgressStyle::with_template("{msg} [{bar:32}] {bytes}/{total_bytes} {eta}")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ProgressBar::new(bytes).with_style(style).with_message(name))
}

fn tell(counts: &Counts, seen: &Seen, (took, aside): (Duration, bool)) {
    let Counts { answered, silent, problems, passed } = counts;
    let asked = answered + silent + problems;
    let seconds = took.as_secs_f64();
    let rate = asked as f64 / seconds.max(1e-9);
    let mut said = format!(
        "{asked} questions: {answered} answered, {silent} silent, {problems} problems; {seconds:.1} s, {rate:.0} per second"
    );
    if *passed > 0 {
        said.push_str(&format!("; {passed} answered before"));
    }
    if seen.found > seen.met {
        let others = seen.found - seen.met;
        said.push_str(&format!("; the output holds {others} answers to other questions"));
    }
    if seen.problems > 0 {
        let before = seen.problems;
        said.push_str(&format!(
            "; {before} problems of earlier runs stand in the output and are not asked again: to ask them again, take \
             the lines with `\"problem\"` out of it and run the command again"
        ));
    }
    match aside {
        true => eprintln!("{said}"),
        false => say!("{said}"),
    }
}
