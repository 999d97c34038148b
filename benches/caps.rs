//! What an exact cap on the winner costs a decision: decisions whose winner has
//! none, one and four exact caps, one with an exact budget, and plain GETs over the
//! same client, in turn. `benches/README.md` says what the numbers mean.
//!
//! `cargo bench --bench caps -- [ROUNDS]`; needs a `redis-server`.

use std::{
    net::TcpListener,
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rapport::{
    app::{App, UpsertInput},
    decide::Snapshot,
    domain::{PlacementAsk, PlacementId, Request},
    rules::SourceFile,
    store::{
        RemoteConfig, Store, StoreConfig,
        redis::{Address, Client, Keys, Settings},
    },
};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 400;
/// Calls of each kind in a round, one after the other.
const CALLS: usize = 25;
/// Customers who ask in turn.
const CUSTOMERS: usize = 2_000;
/// The goal: what a cap adds over a plain GET.
const RATIO_MAX: f64 = 3.0;
const NAMES: [&str; 5] = ["no_cap", "local", "one_cap", "four_caps", "budget"];

/// An offer for each kind. `local` has a limit that this process counts.
const RULES: &str = r#"
settings: { currency: GBP }
channels: [ { id: web, kind: self_service, require: [text], counts_on: impression, reserve_for: 5s, valid_for: 1h } ]
placements: [ { id: no_cap, channel: web }, { id: local, channel: web }, { id: one_cap, channel: web }, { id: four_caps, channel: web }, { id: budget, channel: web } ]
issues: [ { id: grow } ]
groups: [ { id: all }, { id: four } ]
policies:
  limits:
    - { id: by_group, scope: group, group: four, max: 900000, window: 30d, exact: true }
    - { id: by_day, scope: all, group: four, max: 900000, window: day, exact: true }
    - { id: by_month, scope: all, group: four, max: 900000, window: month, exact: true }
offers:
  - { id: no_cap, purpose: service, issue: grow, group: all, value: 1, open: false, placements: [no_cap], treatments: { web: { en: { text: a } } } }
  - { id: local, purpose: service, issue: grow, group: all, value: 1, open: false, placements: [local],
      limits: [ { max: 900000, window: 30d } ], treatments: { web: { en: { text: a } } } }
  - { id: one_cap, purpose: service, issue: grow, group: all, value: 1, open: false, placements: [one_cap],
      limits: [ { max: 900000, window: 30d, exact: true } ], treatments: { web: { en: { text: a } } } }
  - { id: four_caps, purpose: service, issue: grow, group: four, value: 1, open: false, placements: [four_caps],
      limits: [ { max: 900000, window: 30d, exact: true } ], treatments: { web: { en: { text: a } } } }
  - { id: budget, purpose: service, issue: grow, group: all, value: 1, open: false, placements: [budget],
      budget: { max: 900000000, window: day, exact: true }, treatments: { web: { en: { text: a } } } }
"#;

fn main() -> anyhow::Result<ExitCode> {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let redis = Redis::start()?;
    let dir = tempfile::tempdir()?;
    let address = Address::parse(&format!("redis://127.0.0.1:{}", redis.port)).context("an address")?;
    let remote = Some(RemoteConfig { address, keys: Keys::default(), settings: Settings::default(), secret: None });
    let store = Store::open(StoreConfig { remote, ..StoreConfig::new(dir.path()) })?;
    let rules = vec![SourceFile { path: "all.yaml".into(), text: RULES.into() }];
    let app = Arc::new(App::open(store, &Ok(rules), "http://127.0.0.1:7070")?);
    // as the service: connections on one runtime, decisions on a thread of their own
    let control = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let client = app.store.remote().context("a client")?.client.clone();
    control.spawn(client.clone().keep());
    let keeping = Arc::clone(&app);
    control.spawn(async move {
        if let Some(caps) = keeping.store.caps() {
            caps.keep(|| 1).await;
        }
    });
    let worker = Builder::new_current_thread().enable_all().build()?;
    let met = Bench { app, client, worker }.run(rounds)?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Bench {
    app: Arc<App>,
    client: Client,
    worker: Runtime,
}

impl Bench {
    fn run(&self, rounds: usize) -> anyhow::Result<bool> {
        let snapshot = self.app.current();
        let people: Vec<String> = (0..CUSTOMERS).map(|n| format!("customer-{n}")).collect();
        for name in &people {
            self.worker.block_on(self.create(&snapshot, name))?;
        }
        let begun = Instant::now();
        while self.worker.block_on(self.get()).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(10), "redis does not answer");
        }
        let (mut gets, mut kinds) = (Vec::new(), NAMES.map(|_| Vec::new()));
        let mut asked = 0;
        for round in 0..rounds {
            let mut turn = |times: &mut Vec<u64>, kind: Option<usize>| -> anyhow::Result<()> {
                for _ in 0..CALLS {
                    asked += 1;
                    let request = kind.map(|kind| self.question(&snapshot, &people[asked % CUSTOMERS], NAMES[kind]));
                    let request = request.transpose()?;
                    let begun = Instant::now();
                    match request {
                        None => self.worker.block_on(self.get())?,
                        Some(request) => self.decide(&snapshot, request)?,
                    }
                    times.push(u64::try_from(begun.elapsed().as_nanos())?);
                }
                Ok(())
            };
            // every other round backwards
            let order: Vec<Option<usize>> = std::iter::once(None).chain((0..NAMES.len()).map(Some)).collect();
            let order: Vec<_> = if round % 2 == 0 { order } else { order.into_iter().rev().collect() };
            for kind in order {
                turn(kind.map_or(&mut gets, |kind| &mut kinds[kind]), kind)?;
            }
        }
        report(gets, kinds)
    }

    fn decide(&self, snapshot: &Arc<Snapshot>, request: Request) -> anyhow::Result<()> {
        let decision = self.worker.block_on(self.app.decide(Arc::clone(snapshot), request))?;
        ensure!(decision.placements[0].presentations.len() == 1, "nothing won: {decision:?}");
        Ok(())
    }

    async fn get(&self) -> anyhow::Result<()> {
        self.client.get(b"rapport:bench", Instant::now() + Duration::from_secs(1)).await?;
        Ok(())
    }

    async fn create(&self, snapshot: &Snapshot, name: &str) -> anyhow::Result<()> {
        let identity = self.app.identity(snapshot, "customer_id", name).map_err(anyhow::Error::msg)?;
        let input = UpsertInput {
            identities: vec![identity],
            attributes: Vec::new(),
            consents: Vec::new(),
            preferences: Vec::new(),
            records: Vec::new(),
            request_id: String::new(),
            at: None,
            validate_only: false,
        };
        self.app.upsert(input).await?;
        Ok(())
    }

    fn question(&self, snapshot: &Snapshot, name: &str, placement: &str) -> anyhow::Result<Request> {
        let identity = self.app.identity(snapshot, "customer_id", name).map_err(anyhow::Error::msg)?;
        let place = PlacementAsk { id: PlacementId::of(placement), name: placement.into(), count: 0 };
        // a machine that is busy is no outage
        let time_budget_ms = 5_000;
        Ok(Request { identities: vec![identity], placements: vec![place], time_budget_ms, ..Request::default() })
    }
}

/// Whether one exact cap on the winner adds no more than it may.
fn report(mut gets: Vec<u64>, mut kinds: [Vec<u64>; NAMES.len()]) -> anyhow::Result<bool> {
    let get = percentile(&mut gets, 50);
    println!("GET: p50 {:.1} us, p99 {:.1} us", us(get), us(percentile(&mut gets, 99)));
    let p50 = kinds.each_mut().map(|times| percentile(times, 50));
    for (at, name) in NAMES.iter().enumerate() {
        let added = p50[at] as f64 - p50[0] as f64;
        println!(
            "{name}: p50 {:.1} us, p99 {:.1} us; adds {:.1} us, {:.2} x a GET",
            us(p50[at]),
            us(percentile(&mut kinds[at], 99)),
            added / 1_000.0,
            added / get as f64,
        );
    }
    let ratio = (p50[2] as f64 - p50[0] as f64) / get as f64;
    println!("an exact cap on the winner adds {ratio:.2} x a GET at p50; at most {RATIO_MAX} is the goal");
    Ok(ratio <= RATIO_MAX)
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

fn percentile(times: &mut [u64], percent: usize) -> u64 {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or(0)
}

/// A server of its own. Killed when dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", &port.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("running `redis-server`")?;
        Ok(Self { child, port })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // nothing is left to do when it ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
