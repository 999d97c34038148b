//! The service under load, against an empty tonic service in the same run.
//! `benches/README.md` says how to run it and what the numbers mean.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::{Args, Parser, Subcommand, ValueEnum};
use rapport::proto::{DecideResponse, Message, PlacementAnswer, Presentation};
use serde_json::json;

mod echo;
mod generator;
mod loadgen;

use loadgen::{
    batch::Shop,
    client,
    closed::{Load, Shape},
    ingest,
    open::{self, Arrivals, Open, Plan},
    overload,
    paired::{self, CYCLES_DROPPED, Pair, Sliced},
    process::{Pinning, cores, rss_kib},
    report::{Report, latency, quartiles, us},
    statistics::Quartiles,
    swap,
    target::{Layout, Scenario, Target},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The control ratio must be in here.
const CONTROL_RANGE: std::ops::RangeInclusive<f64> = 0.95..=1.05;
const PLAIN: generator::Rules = generator::Rules::Plain { span_years: generator::ANY_AGE_YEARS };
/// From so many offers on they are selective, as those of a large catalogue are.
const SELECTIVE_OFFERS: usize = 1_000;
/// The most that p99 may grow while the rules are rebuilt.
const SWAP_P99_MAX: f64 = 1.5;
/// Least runs whose median counts.
const OPEN_RUNS_MIN: usize = 5;

/// The service under load.
#[derive(Parser)]
#[command(name = "service", bin_name = "service")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
    /// Ignored: `cargo bench` gives it.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Args, Clone)]
struct Options {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    /// Offers of the generated rules.
    #[arg(long, global = true, default_value_t = 100)]
    offers: usize,
    /// What the offers are like; selective from 1,000 offers on unless said.
    #[arg(long, global = true, value_enum)]
    rules: Option<RulesKind>,
    /// The `rapport` to measure, for comparing two builds.
    #[arg(long, global = true, default_value = env!("CARGO_BIN_EXE_rapport"))]
    program: PathBuf,
    /// Customers that ask in turn.
    #[arg(long, global = true, default_value_t = 2_000)]
    customers: usize,
    /// Connections.
    #[arg(long, global = true, default_value_t = 8)]
    connections: usize,
    /// Calls under way on each connection.
    #[arg(long, global = true, default_value_t = 8)]
    streams: usize,
    /// Cycles of paired slices.
    #[arg(long, global = true, default_value_t = 40)]
    cycles: usize,
    /// Seconds of each open or closed run.
    #[arg(long, global = true, default_value_t = 5)]
    seconds: u64,
    /// Runs whose median counts.
    #[arg(long, global = true, default_value_t = OPEN_RUNS_MIN)]
    runs: usize,
    /// Calls per second of open runs; 0 for half of the echo's maximum.
    #[arg(long, global = true, default_value_t = 0.0)]
    rate: f64,
    /// When calls of open runs are due.
    #[arg(long, global = true, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// Runtime layout of the servers.
    #[arg(long, global = true, value_enum, default_value = "per-core")]
    layout: Layout,
    /// Where processes run.
    #[arg(long, global = true, value_enum, default_value = "split")]
    pin: Pin,
    /// A further argument of `rapport serve`; may be given more than once.
    #[arg(long = "serve-arg", global = true, allow_hyphen_values = true)]
    serve_args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pin {
    /// Servers on the first core, the generator on the second.
    Split,
    /// Everything everywhere.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RulesKind {
    /// Four predicates an offer, a third of the offers eligible.
    Plain,
    /// Three to six predicates an offer, a twentieth of the offers eligible.
    Selective,
}

#[derive(Subcommand, Clone)]
enum Command {
    /// Echo, echo again (the control) and Rapport in alternating slices.
    Paired,
    /// Echo against echo alone: whether this machine can measure at all.
    Control,
    /// Latency at half of the echo's maximum, echo and Rapport in turn.
    Open,
    /// Requests/s and latency with so many calls always under way.
    Closed,
    /// Requests/s with 2 connections over that with 32.
    Connections,
    /// One runtime per core against one multi-thread runtime.
    Layouts,
    /// p99 with a metrics scrape each second over that without.
    Scrape,
    /// Memory of the service under load over time.
    Rss,
    /// Open load while every offer is rebuilt.
    Swap,
    /// `decide --batch` over the sample shop against the pure pipeline over the
    /// same questions on as many cores, in turn.
    Batch {
        /// Open questions of each run.
        #[arg(long, default_value_t = 50_000)]
        questions: usize,
        /// An option of `decide --batch`; may be given more than once.
        #[arg(long = "option", allow_hyphen_values = true)]
        batch_options: Vec<String>,
    },
    /// Durable events over a stream against raw appends of the same bytes with as
    /// many syncs, in turn; then memory over many events.
    Ingest {
        /// Events of each run.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Events of the run that looks at memory; 0 for none.
        #[arg(long, default_value_t = 5_000_000)]
        memory_events: u64,
    },
    /// More calls than can be answered, of an agent's desk and of pages; then
    /// fewer again.
    Overload {
        /// Decisions that cost milliseconds, ten times as many as can be made.
        #[arg(long)]
        heavy: bool,
        /// Ordinary decisions, three times as many as can be made; this is the
        /// default.
        #[arg(long, conflicts_with = "heavy")]
        ordinary: bool,
        /// Times of what can be answered.
        #[arg(long)]
        times: Option<f64>,
    },
    /// Runs the echo; started by the others.
    #[command(hide = true)]
    Server {
        /// The stored response.
        #[arg(long)]
        response: PathBuf,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let Cli { command, options, .. } = Cli::parse();
    let command = command.unwrap_or(Command::Paired);
    if let Command::Server { response } = command {
        echo::serve(options.layout, &response)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Batch { questions, batch_options } = command {
        // nothing is pinned: the cores are shared by all that takes part
        let report = batch(&options, questions, &batch_options)?;
        return Ok(if report.print(options.json) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    loadgen::histogram::self_check();
    let pinning = if options.pin == Pin::Split { Pinning::split() } else { Pinning::NONE };
    let rules = match command {
        Command::Overload { heavy: true, .. } => generator::Rules::Heavy,
        Command::Overload { .. } => generator::Rules::Desk,
        _ => options.rules(),
    };
    let scenario = Scenario {
        offers: options.offers,
        rules,
        program: options.program.clone(),
        customers: options.customers,
        pinning,
        serve_args: match command {
            // calls take turns
            Command::Overload { .. } => {
                options.serve_args.iter().cloned().chain(["--queue-age-max-ms=50".to_owned()]).collect()
            }
            _ => options.serve_args.clone(),
        },
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    if matches!(command, Command::Open | Command::Scrape | Command::Swap | Command::Overload { .. }) {
        // the driver is polled at each tick: a reply waits for no batch of other tasks
        builder.event_interval(1);
    }
    let runtime = builder.enable_all().build()?;
    let bench = Bench { options, scenario };
    let report = runtime.block_on(async {
        match command {
            Command::Paired => bench.paired().await,
            Command::Control => bench.control().await,
            Command::Open => bench.open().await,
            Command::Closed => bench.closed().await,
            Command::Connections => bench.connections().await,
            Command::Layouts => bench.layouts().await,
            Command::Scrape => bench.scrape().await,
            Command::Rss => bench.rss().await,
            Command::Overload { heavy, times, .. } => bench.overload(heavy, times).await,
            Command::Swap => bench.swap().await,
            Command::Ingest { events, memory_events } => bench.ingest(events, memory_events).await,
            Command::Batch { .. } | Command::Server { .. } => anyhow::bail!("this needs no generated rules"),
        }
    })?;
    Ok(if report.print(bench.options.json) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn rules(&self) -> generator::Rules {
        match self.rules {
            Some(RulesKind::Plain) => PLAIN,
            Some(RulesKind::Selective) => generator::Rules::Selective,
            None if self.offers >= SELECTIVE_OFFERS => generator::Rules::Selective,
            None => PLAIN,
        }
    }
}

struct Bench {
    options: Options,
    scenario: Scenario,
}

impl Bench {
    fn title(&self, what: &str) -> String {
        let Options { offers, customers, connections, streams, .. } = self.options;
        let pinned = if self.scenario.pinning.server.is_some() { "pinned" } else { "not pinned" };
        format!("{what}: {offers} offers, {customers} customers, {connections} connections x {streams}, {pinned}")
    }

    fn frames(&self) -> anyhow::Result<Rc<[Bytes]>> {
        Ok(self.scenario.questions()?.iter().map(client::frame).collect())
    }

    fn shape(&self) -> Shape {
        Shape { connections: self.options.connections, streams: self.options.streams }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    async fn pair(&self, target: Target, shape: Shape) -> anyhow::Result<Pair> {
        let load = Load::open(&target, self.frames()?, shape).await?;
        Ok(Pair { target, load })
    }

    async fn paired(&self) -> anyhow::Result<Report> {
        let layout = self.options.layout;
        let rapport = self.scenario.rapport(layout).await?;
        let echo = self.scenario.echo(layout, &rapport).await?;
        let control = self.scenario.echo(layout, &rapport).await?;
        let mut pairs = Vec::new();
        for (target, name) in [(echo, "echo"), (control, "echo (control)"), (rapport, "rapport")] {
            let mut pair = self.pair(target, self.shape()).await?;
            pair.target.name = name.to_owned();
            pairs.push(pair);
        }
        let sliced = paired::run(&pairs, self.options.cycles).await?;
        let mut report = paired_report(self.title("paired slices"), &sliced);
        judge_control(&mut report, &sliced[1]);
        Ok(report)
    }

    async fn control(&self) -> anyhow::Result<Report> {
        let layout = self.options.layout;
        let mut pairs = Vec::new();
        for name in ["echo", "echo (control)"] {
            let target = self.scenario.echo_of(layout, &stand_in()).await?;
            let mut pair = self.pair(target, self.shape()).await?;
            pair.target.name = name.to_owned();
            pairs.push(pair);
        }
        let sliced = paired::run(&pairs, self.options.cycles).await?;
        let mut report = paired_report(self.title("control"), &sliced);
        judge_control(&mut report, &sliced[1]);
        let rate = self.open_rate(&pairs[0].target).await?;
        let open = open::run(&pairs[0].target, &self.frames()?, self.plan(rate, 0)).await?;
        for why in &open.invalid {
            report.invalid(format!("open at {rate:.0}/s: {why}"));
        }
        report.note(
            format!(
                "open at {rate:.0}/s: p50 {:.0} us, p99 {:.0} us, lag p99 {:.0} us",
                us(open.latency.quantile_ns(0.5)),
                us(open.latency.quantile_ns(0.99)),
                us(open.lag.quantile_ns(0.99)),
            ),
            json!({"rate": open.rate, "latency": latency(&open.latency), "lag": latency(&open.lag)}),
        );
        Ok(report)
    }

    async fn layouts(&self) -> anyhow::Result<Report> {
        let rapport = self.scenario.rapport(Layout::MultiThread).await?;
        let echoes = [
            self.scenario.echo(Layout::MultiThread, &rapport).await?,
            self.scenario.echo(Layout::PerCore, &rapport).await?,
        ];
        let per_core = self.scenario.rapport(Layout::PerCore).await?;
        let mut pairs = Vec::new();
        for target in [rapport, per_core].into_iter().chain(echoes) {
            pairs.push(self.pair(target, self.shape()).await?);
        }
        let sliced = paired::run(&pairs, self.options.cycles).await?;
        Ok(paired_report(self.title("runtime layouts"), &sliced))
    }

    /// One server, loaded over 32 and over 2 connections with as many calls under way.
    async fn connections(&self) -> anyhow::Result<Report> {
        const CALLS: usize = 64;
        let target = self.scenario.rapport(self.options.layout).await?;
        let mut loads = Vec::new();
        for connections in [32, 2] {
            let shape = Shape { connections, streams: CALLS / connections };
            loads.push((connections, Load::open(&target, self.frames()?, shape).await?));
        }
        let mut rates: [Vec<f64>; 2] = Default::default();
        for cycle in 0..self.options.cycles + CYCLES_DROPPED {
            for at in [cycle % 2, 1 - cycle % 2] {
                let rate = loads[at].1.run(paired::SLICE).await?.rate();
                if cycle >= CYCLES_DROPPED {
                    rates[at].push(rate);
                }
            }
        }
        let mut report =
            Report::new(self.title("connections"), vec!["connections", "requests/s", "over 32 connections"]);
        for (at, (connections, _)) in loads.iter().enumerate() {
            let rate = Quartiles::of(rates[at].iter().copied());
            let ratio = Quartiles::of(rates[at].iter().zip(&rates[0]).map(|(a, b)| a / b));
            report.row(
                vec![connections.to_string(), quartiles(rate, 0), quartiles(ratio, 3)],
                json!({"connections": connections, "rate": rate, "ratio": ratio}),
            );
        }
        Ok(report)
    }

    async fn closed(&self) -> anyhow::Result<Report> {
        let rapport = self.scenario.rapport(self.options.layout).await?;
        let echo = self.scenario.echo(self.options.layout, &rapport).await?;
        let mut report = Report::new(self.title("closed"), vec!["server", "requests/s", "p50 us", "p99 us", "max us"]);
        for target in [&echo, &rapport] {
            let load = Load::open(target, self.frames()?, self.shape()).await?;
            load.run(Duration::from_secs(1)).await?;
            let closed = load.run(self.time()).await?;
            let service = &closed.service;
            report.row(
                vec![
                    target.name.clone(),
                    format!("{:.0}", closed.rate()),
                    format!("{:.0}", us(service.quantile_ns(0.5))),
                    format!("{:.0}", us(service.quantile_ns(0.99))),
                    format!("{:.0}", us(service.max_ns())),
                ],
                json!({"server": target.name, "rate": closed.rate(), "service": latency(service)}),
            );
        }
        Ok(report)
    }

    /// Half of the most an echo answers, or the rate asked for.
    async fn open_rate(&self, echo: &Target) -> anyhow::Result<f64> {
        if self.options.rate > 0.0 {
            return Ok(self.options.rate);
        }
        let load = Load::open(echo, self.frames()?, self.shape()).await?;
        load.run(Duration::from_secs(1)).await?;
        Ok(load.run(Duration::from_secs(2)).await?.rate() / 2.0)
    }

    fn plan(&self, rate: f64, run: usize) -> Plan {
        Plan {
            rate,
            time: self.time(),
            warm_up: Duration::from_secs(1),
            arrivals: self.options.arrivals,
            seed: generator::SEED + run as u64,
            connections: self.options.connections,
        }
    }

    async fn open(&self) -> anyhow::Result<Report> {
        ensure!(self.options.runs >= OPEN_RUNS_MIN, "at least {OPEN_RUNS_MIN} runs are needed");
        let rapport = self.scenario.rapport(self.options.layout).await?;
        let echo = self.scenario.echo(self.options.layout, &rapport).await?;
        let rate = self.open_rate(&echo).await?;
        let frames = self.frames()?;
        let mut report = open_report(self.title(&format!("open at {rate:.0}/s")));
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for run in 0..self.options.runs {
            let base = open::run(&echo, &frames, self.plan(rate, run)).await?;
            let own = open::run(&rapport, &frames, self.plan(rate, run)).await?;
            p50.push(own.latency.quantile_ns(0.5) as f64 / base.latency.quantile_ns(0.5) as f64);
            p99.push(own.latency.quantile_ns(0.99) as f64 / base.latency.quantile_ns(0.99) as f64);
            open_row(&mut report, format!("echo {run}"), &base);
            open_row(&mut report, format!("rapport {run}"), &own);
        }
        ratio_rows(&mut report, &[("p50 over the echo's", p50), ("p99 over the echo's", p99)]);
        Ok(report)
    }

    async fn overload(&self, heavy: bool, times: Option<f64>) -> anyhow::Result<Report> {
        let Options { offers, customers, connections, seconds, .. } = self.options;
        let what = if heavy { "heavy" } else { "ordinary" };
        let title = format!(
            "overload, {what} decisions: {offers} offers, {customers} customers, {connections} connections, {seconds} s"
        );
        let goals = overload::Goals::of(heavy, times);
        overload::run(&self.scenario, (title, self.time(), connections), goals).await
    }

    async fn scrape(&self) -> anyhow::Result<Report> {
        let rapport = self.scenario.rapport(self.options.layout).await?;
        let echo = self.scenario.echo(self.options.layout, &rapport).await?;
        let rate = self.open_rate(&echo).await?;
        let frames = self.frames()?;
        let mut report = open_report(self.title(&format!("scrapes at {rate:.0}/s")));
        let mut ratios = Vec::new();
        for run in 0..self.options.runs {
            let without = open::run(&rapport, &frames, self.plan(rate, run)).await?;
            let scraper = Scraper::start(rapport.private);
            let with = open::run(&rapport, &frames, self.plan(rate, run)).await?;
            let scrapes = scraper.stop()?;
            ensure!(scrapes > 0, "nothing was scraped");
            ratios.push(with.latency.quantile_ns(0.99) as f64 / without.latency.quantile_ns(0.99) as f64);
            open_row(&mut report, format!("without {run}"), &without);
            open_row(&mut report, format!("with {run}"), &with);
        }
        ratio_rows(&mut report, &[("p99 over that without", ratios)]);
        Ok(report)
    }

    /// Every offer edited under open load, by default half of what the service
    /// answers at most.
    async fn swap(&self) -> anyhow::Result<Report> {
        let rapport = self.scenario.rapport(self.options.layout).await?;
        let rate = self.open_rate(&rapport).await?;
        let files = generator::files(self.scenario.rules, self.options.offers, swap::MARK);
        let swapped = swap::run(&rapport, &self.frames()?, self.plan(rate, 0), &files).await?;
        let columns = vec!["window", "calls", "p50 us", "p99 us", "max us"];
        let mut report = Report::new(self.title(&format!("swap at {rate:.0}/s")), columns);
        let windows = [("before", &swapped.before), ("rebuilding", &swapped.rebuilding), ("after", &swapped.after)];
        for (name, window) in windows {
            let cell = |ns: u64| format!("{:.0}", us(ns));
            let quantiles = [window.quantile_ns(0.5), window.quantile_ns(0.99), window.max_ns()];
            let cells = [name.to_owned(), window.count().to_string()].into_iter().chain(quantiles.map(cell));
            report.row(cells.collect(), json!({"window": name, "latency": latency(window)}));
        }
        let ratio = swapped.rebuilding.quantile_ns(0.99) as f64 / swapped.before.quantile_ns(0.99) as f64;
        let rebuild_s = swapped.rebuild.as_secs_f64();
        report.note(
            format!(
                "p99 while rebuilding over before: {ratio:.2}; new rules served after {rebuild_s:.2} s; \
                 {} failed, {} mixed; lag p99 {:.0} us",
                swapped.failed,
                swapped.mixed,
                us(swapped.lag.quantile_ns(0.99)),
            ),
            json!({"p99_ratio": ratio, "rebuild_s": rebuild_s, "failed": swapped.failed, "mixed": swapped.mixed}),
        );
        if swapped.failed > 0 || swapped.mixed > 0 {
            let first = swapped.first_error.unwrap_or_default();
            report.invalid(format!("{} calls failed, {} answers were mixed: {first}", swapped.failed, swapped.mixed));
        }
        if ratio > SWAP_P99_MAX {
            report.invalid(format!("p99 grew to {ratio:.2} of what it was before, over {SWAP_P99_MAX}"));
        }
        Ok(report)
    }

    /// Streams and raw appends in turn; each stream over the mean of the raw runs
    /// beside it.
    async fn ingest(&self, events: u64, memory_events: u64) -> anyhow::Result<Report> {
        // nothing is pinned: the service's threads share the cores with the client
        let scenario = Scenario { pinning: Pinning::NONE, ..self.scenario.clone() };
        let rapport = scenario.rapport(self.options.layout).await?;
        let dir = rapport.dir().context("the service has a directory")?.to_owned();
        let customers = 10 * self.options.customers as u64;
        let columns =
            vec!["run", "events/s", "log B/event", "events/sync", "raw appends/s", "over raw", "over raw groups"];
        let mut report =
            Report::new(format!("ingest: {events} durable events of {customers} customers a run"), columns);
        let (mut from, mut ratios, mut grouped) = (0, Vec::new(), Vec::new());
        for run in 0..=self.options.runs {
            let streamed = ingest::stream(&rapport, (from, events), customers, |_| Ok(())).await?;
            from += events;
            let (raw, groups) = (ingest::raw(&dir, events, streamed)?, ingest::raw_groups(&dir, streamed)?);
            if run == 0 {
                // customers are made in it
                continue;
            }
            let took = streamed.took.as_secs_f64();
            ratios.push(raw.as_secs_f64() / took);
            grouped.push(groups.as_secs_f64() / took);
            let rate = |time: Duration| events as f64 / time.as_secs_f64();
            let (bytes, group) = (streamed.log_bytes / events, events / streamed.syncs.max(1));
            report.row(
                vec![
                    run.to_string(),
                    format!("{:.0}", rate(streamed.took)),
                    bytes.to_string(),
                    group.to_string(),
                    format!("{:.0}", rate(raw)),
                    format!("{:.3}", raw.as_secs_f64() / took),
                    format!("{:.3}", groups.as_secs_f64() / took),
                ],
                json!({
                    "run": run, "rate": rate(streamed.took), "log_bytes": bytes, "events_per_sync": group,
                    "raw": rate(raw), "ratio": raw.as_secs_f64() / took, "group_ratio": groups.as_secs_f64() / took,
                }),
            );
        }
        ratio_rows(&mut report, &[("over raw appends", ratios), ("over raw groups, a write each", grouped)]);
        if memory_events > 0 {
            self.ingest_memory(&mut report, &rapport, (from, memory_events, customers)).await?;
        }
        Ok(report)
    }

    /// Memory twenty times over a long stream.
    async fn ingest_memory(
        &self,
        report: &mut Report,
        rapport: &Target,
        (from, events, customers): (u64, u64, u64),
    ) -> anyhow::Result<()> {
        const LOOKS: u64 = 20;
        let mut looks: Vec<(u64, u64)> = Vec::new();
        let streamed = ingest::stream(rapport, (from, events), customers, |answered| {
            if answered * LOOKS >= (looks.len() as u64 + 1) * events {
                looks.push((answered, rss_kib(rapport.pid)?));
            }
            Ok(())
        })
        .await?;
        let told: Vec<String> =
            looks.iter().map(|(answered, kib)| format!("{:.1}M {} MiB", *answered as f64 / 1e6, kib >> 10)).collect();
        let rate = events as f64 / streamed.took.as_secs_f64();
        report.note(format!("{events} events at {rate:.0}/s, memory: {}", told.join(", ")), json!({"rss_kib": looks}));
        Ok(())
    }

    /// Memory twenty times over the run, at a quarter of the echo's maximum.
    async fn rss(&self) -> anyhow::Result<Report> {
        const LOOKS: u32 = 20;
        let rapport = self.scenario.rapport(self.options.layout).await?;
        let load = Load::open(&rapport, self.frames()?, self.shape()).await?;
        let step = self.time() / LOOKS;
        let mut report = Report::new(self.title("memory"), vec!["seconds", "requests", "RSS KiB", "over the first"]);
        let (started, mut calls, mut first) = (Instant::now(), 0, None);
        for _ in 0..LOOKS {
            calls += load.run(step).await?.calls;
            let rss = rss_kib(rapport.pid)?;
            let base = *first.get_or_insert(rss);
            let (seconds, ratio) = (started.elapsed().as_secs(), rss as f64 / base as f64);
            report.row(
                vec![seconds.to_string(), calls.to_string(), rss.to_string(), format!("{ratio:.3}")],
                json!({"seconds": seconds, "requests": calls, "rss_kib": rss, "ratio": ratio}),
            );
        }
        Ok(report)
    }
}

/// The least of the pure pipeline's rate that a batch must reach.
const BATCH_RATIO_MIN: f64 = 0.5;

/// The most that the command may grow while its questions double, KiB: nothing
/// it keeps grows with them.
const CLIENT_GROWTH_KIB_MAX: u64 = 16 << 10;
/// The most that the service may grow meanwhile, KiB.
const SERVICE_GROWTH_KIB_MAX: u64 = 64 << 10;
/// What it may grow besides by the request ids it remembers of decisions that
/// are presented, KiB; that is their bound.
const REQUEST_IDS_KIB_MAX: u64 = 200 << 10;

/// The pure pipeline and a batch in turn; each batch against the pure runs
/// before and after it.
fn batch(options: &Options, count: usize, batch_options: &[String]) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shop = runtime.block_on(Shop::import(&options.program))?;
    let service = shop.serve()?;
    let batch_options: Vec<&str> = batch_options.iter().map(String::as_str).collect();
    let columns = vec![
        "run",
        "pure/s",
        "batch/s",
        "over pure",
        "service CPU us",
        "client CPU us",
        "service KiB",
        "client KiB",
        "GB out",
    ];
    let cores = cores()?.len();
    let title = format!("batch: {count} open questions about 1000 sample customers, {cores} cores, {batch_options:?}");
    let mut report = Report::new(title, columns);
    // loads every profile and warms both up
    shop.ask(&service, &shop.questions(0, 1_000)?, &batch_options)?;
    let intent = match batch_options.contains(&"--present") {
        true => rapport::domain::Intent::Present,
        false => rapport::domain::Intent::Preview,
    };
    let mut before = shop.pure(count, intent)?;
    let (mut ratios, mut first) = (Vec::new(), None);
    let runs = options.runs;
    for run in 0..runs {
        let ran = shop.ask(&service, &shop.questions(run + 1, count)?, &batch_options)?;
        let after = shop.pure(count, intent)?;
        let pure = (before.rate + after.rate) / 2.0;
        let ratio = ran.rate / pure;
        ratios.push(ratio);
        let rss = rss_kib(service.pid)?;
        first.get_or_insert((ran.answered, after.answered));
        report.row(
            vec![
                run.to_string(),
                format!("{pure:.0}"),
                format!("{:.0}", ran.rate),
                format!("{ratio:.3}"),
                format!("{:.1}", ran.service_cpu_us),
                format!("{:.1}", ran.client_cpu_us),
                rss.to_string(),
                ran.client_rss_kib.to_string(),
                format!("{:.2}", ran.answer_bytes as f64 / 1e9),
            ],
            json!({
                "run": run, "pure": pure, "batch": ran.rate, "ratio": ratio, "service_cpu_us": ran.service_cpu_us,
                "client_cpu_us": ran.client_cpu_us, "service_rss_kib": rss, "client_rss_kib": ran.client_rss_kib,
            }),
        );
        before = after;
    }
    let ratio = Quartiles::of(ratios.iter().copied());
    let ([answered, silent], pure) = first.unwrap_or_default();
    report.note(
        format!(
            "over the pure pipeline (`rank` and `compose` with {intent:?} tokens, nothing reserved, recorded or sent; the \
             batch does all of that and reads and writes files): {}; {answered} answered, {silent} silent, {pure} answered by the pure pipeline",
            quartiles(ratio, 3)
        ),
        json!({"ratio": ratio, "answered": answered, "silent": silent, "pure_answered": pure}),
    );
    batch_memory(&mut report, (&shop, &service), (runs + 1, count, &batch_options))?;
    // single calls alone, then beside a batch
    let time = Duration::from_secs(options.seconds);
    let file = shop.questions(runs + 3, count)?;
    let alone = runtime.block_on(shop.single(&service, |passed| passed > time))?;
    let beside = thread::scope(|scope| {
        let asking = scope.spawn(|| shop.ask(&service, &file, &batch_options));
        runtime.block_on(shop.single(&service, |_| asking.is_finished()))
    })?;
    let told = |h: &loadgen::histogram::Histogram| {
        format!("p50 {:.0} us, p99 {:.0} us", us(h.quantile_ns(0.5)), us(h.quantile_ns(0.99)))
    };
    report.note(
        format!("single calls alone: {}; beside a batch: {} of {}", told(&alone), told(&beside), beside.count()),
        json!({"alone": latency(&alone), "beside": latency(&beside)}),
    );
    if ratio.median < BATCH_RATIO_MIN {
        report.invalid(format!("{:.3} of the pure pipeline's rate, under {BATCH_RATIO_MIN}", ratio.median));
    }
    Ok(report)
}

/// What the command and the service grow by while the questions double.
fn batch_memory(
    report: &mut Report,
    (shop, service): (&Shop, &loadgen::target::Target),
    (run, count, batch_options): (usize, usize, &[&str]),
) -> anyhow::Result<()> {
    let once = shop.ask(service, &shop.questions(run, count)?, batch_options)?;
    let service_once = rss_kib(service.pid)?;
    let twice = shop.ask(service, &shop.questions(run + 1, 2 * count)?, batch_options)?;
    let client = twice.client_rss_kib.saturating_sub(once.client_rss_kib);
    let grown = rss_kib(service.pid)?.saturating_sub(service_once);
    report.note(
        format!(
            "from {count} to {} questions the command grows by {client} KiB, the service by {grown} KiB",
            2 * count
        ),
        json!({"client_growth_kib": client, "service_growth_kib": grown}),
    );
    let presents = batch_options.contains(&"--present");
    let service_max = SERVICE_GROWTH_KIB_MAX + if presents { REQUEST_IDS_KIB_MAX } else { 0 };
    if client > CLIENT_GROWTH_KIB_MAX || grown > service_max {
        report.invalid(format!(
            "the command grows by {client} KiB, the service by {grown} KiB, over {CLIENT_GROWTH_KIB_MAX} or {service_max}"
        ));
    }
    Ok(())
}

/// A response about as large as a real one, where there is none to copy.
fn stand_in() -> DecideResponse {
    let text = |bytes: usize| "x".repeat(bytes);
    let presentation = Presentation {
        offer: text(10),
        treatment: text(20),
        link: text(150),
        presentation_token: text(120),
        message: Some(Message { text: text(80), ..Message::default() }),
        ..Presentation::default()
    };
    let answer = PlacementAnswer {
        placement: generator::PLACEMENT.to_owned(),
        presentations: vec![presentation],
        ..PlacementAnswer::default()
    };
    DecideResponse { decision_id: text(36), placements: vec![answer], ..DecideResponse::default() }
}

fn judge_control(report: &mut Report, control: &Sliced) {
    for (what, ratio) in [("requests/s", control.rate_ratio), ("CPU", control.cpu_ratio)] {
        if !CONTROL_RANGE.contains(&ratio.median) {
            report.invalid(format!("the control's {what} ratio is {:.3}, not 0.95-1.05", ratio.median));
        }
    }
}

fn paired_report(title: String, sliced: &[Sliced]) -> Report {
    let columns =
        vec!["server", "requests/s", "CPU us/request", "requests/s over the first", "CPU over the first", "CPUs used"];
    let mut report = Report::new(title, columns);
    for one in sliced {
        report.row(
            vec![
                one.name.clone(),
                quartiles(one.rate, 0),
                quartiles(one.cpu_us, 1),
                quartiles(one.rate_ratio, 3),
                quartiles(one.cpu_ratio, 3),
                format!("{:.2}", one.cpus.median),
            ],
            json!({
                "server": one.name, "rate": one.rate, "cpu_us": one.cpu_us,
                "rate_ratio": one.rate_ratio, "cpu_ratio": one.cpu_ratio, "cpus": one.cpus,
            }),
        );
    }
    report
}

fn open_report(title: String) -> Report {
    Report::new(title, vec!["run", "requests/s", "p50 us", "p99 us", "service p50", "service p99", "lag p99"])
}

fn open_row(report: &mut Report, name: String, open: &Open) {
    let cell = |ns: u64| format!("{:.0}", us(ns));
    report.row(
        vec![
            name.clone(),
            format!("{:.0}", open.rate),
            cell(open.latency.quantile_ns(0.5)),
            cell(open.latency.quantile_ns(0.99)),
            cell(open.service.quantile_ns(0.5)),
            cell(open.service.quantile_ns(0.99)),
            cell(open.lag.quantile_ns(0.99)),
        ],
        json!({
            "run": name, "rate": open.rate, "dropped": open.dropped, "invalid": open.invalid,
            "latency": latency(&open.latency), "service": latency(&open.service), "lag": latency(&open.lag),
        }),
    );
    for why in &open.invalid {
        report.invalid(format!("{name}: {why}"));
    }
}

fn ratio_rows(report: &mut Report, ratios: &[(&str, Vec<f64>)]) {
    for (name, ratios) in ratios {
        let ratio = Quartiles::of(ratios.iter().copied());
        report.note(format!("{name}: {}", quartiles(ratio, 3)), json!({"ratio": name, "value": ratio}));
    }
}

/// Scrapes each second from a thread of its own.
struct Scraper {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<anyhow::Result<usize>>,
}

impl Scraper {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut scrapes = 0;
            while !stopped.load(Ordering::Relaxed) {
                scrape(address)?;
                scrapes += 1;
                thread::sleep(Duration::from_secs(1));
            }
            Ok(scrapes)
        });
        Self { stop, thread }
    }

    fn stop(self) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the scraper panicked"))?
    }
}

fn scrape(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).context("connecting to scrape")?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    ensure!(reply.starts_with("HTTP/1.1 200") && reply.contains("rapport_"), "no metrics in the reply");
    Ok(())
}
