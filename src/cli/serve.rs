//! `rapport serve`: the service.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context;
use axum::Router;
use tokio::sync::watch;

use crate::{
    app::{App, ClockStart, Opening, Refusal, RevisionInfo},
    config::{EMBEDDED, LogFormat, ServeArgs, ServeConfig},
    http::web,
    rules,
    server::{self, Listeners, Running, Started},
    store::{
        RemoteConfig, Store, StoreConfig, StoreSecret,
        joining::{self, Meeting, Standing, WAITING_DIR},
        redis::{Address, Keys, Outage, Settings},
    },
    telemetry,
};

/// Options of `serve`.
pub type Args = ServeArgs;

/// Opens and serves until it is told to stop.
///
/// # Errors
/// The settings or rules are wrong, the data directory cannot be opened or not be
/// joined to the others, an address cannot be bound.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = ServeConfig::resolve(args)?;
    start_logs(&config)?;
    if config.store != EMBEDDED && config.store_secret.is_none() {
        tracing::warn!(
            "no `--store-secret`: the keys that seal what is kept and sign tokens lie open in redis; give every replica \
             the same file of 32 random bytes or more"
        );
    }
    let listeners = Listeners::bind(&config)?;
    let told = server::signals::told()?;
    let met = match Outset::of(&config)? {
        Outset::Ready(met) => met,
        Outset::Waiting { remote, outage } => {
            say!(
                "redis {} is out of reach ({}): this replica has not met the shared store yet, answers from the rules and \
                 keeps nothing until it has",
                remote.address,
                outage.name()
            );
            let waiting = server::start_on(&config, open_waiting(&config)?, Router::new(), listeners.try_clone()?)?;
            tell(&config, &waiting.started);
            if !joining::wait(&config.data_dir, &remote, told.clone())? {
                waiting.stop();
                return Ok(ExitCode::SUCCESS);
            }
            let app = open_as(&config, Outset::of(&config)?.ready()?)?;
            let running = server::start_on(&config, app, Router::new(), listeners)?;
            say!("this replica has met the shared store: it keeps what is recorded from now on");
            waiting.hand_over();
            let dir = config.data_dir.join(WAITING_DIR);
            let drained = std::thread::spawn(move || {
                waiting.stop();
                clear(&dir)
            });
            finish(running, &config, told);
            // a thread that panicked has nothing left to answer; what it left goes at the next start
            let _ = drained.join();
            return Ok(ExitCode::SUCCESS);
        }
    };
    clear(&config.data_dir.join(WAITING_DIR))?;
    let app = open_as(&config, met)?;
    let running = server::start_on(&config, app, Router::new(), listeners)?;
    tell(&config, &running.started);
    finish(running, &config, told);
    Ok(ExitCode::SUCCESS)
}

/// Tells what it is connected to and serves until the process is told to stop.
fn finish(running: Running, config: &ServeConfig, told: watch::Receiver<bool>) {
    if config.store != EMBEDDED
        && let Some(connected) = server::connected::soon(running.app())
    {
        say!("{connected}");
    }
    let stop = server::signals::stop(told, running.shutdown());
    running.control().spawn(stop);
    running.wait();
}

/// Read by whoever started the process on port 0.
fn tell(config: &ServeConfig, started: &Started) {
    say!("listening on {} (private {})", started.public, started.private);
    say!("for web pages: {}", web::script_tag(&config.public_url));
}

/// How a service begins.
enum Outset {
    /// It may keep what is recorded.
    Ready(Met),
    /// It must meet the shared store first.
    Waiting { remote: RemoteConfig, outage: Outage },
}

/// What a service knows of the others before it opens its data directory.
#[derive(Default)]
struct Met {
    remote: Option<RemoteConfig>,
    meeting: Option<Box<Meeting>>,
}

/// The Redis that replicas share; none for the embedded store.
fn remote_of(config: &ServeConfig) -> anyhow::Result<Option<RemoteConfig>> {
    if config.store == EMBEDDED {
        return Ok(None);
    }
    let address = Address::parse(&config.store)?;
    let keys = Keys::new(&config.store_namespace)?;
    let secret = config.store_secret.as_deref().map(StoreSecret::read).transpose()?;
    Ok(Some(RemoteConfig { address, keys, settings: Settings::default(), secret }))
}

impl Outset {
    fn of(config: &ServeConfig) -> anyhow::Result<Self> {
        let Some(remote) = remote_of(config)? else { return Ok(Outset::Ready(Met::default())) };
        // said before anything is made in it
        std::fs::create_dir_all(&config.data_dir).with_context(|| opening_dir(config))?;
        match joining::join(&config.data_dir, &remote).with_context(|| opening_dir(config))? {
            Standing::Stranger(outage) => Ok(Outset::Waiting { remote, outage }),
            Standing::Kept(outage) => {
                tracing::warn!(
                    outage = outage.name(),
                    "redis is out of reach: serving from what this replica has kept"
                );
                Ok(Outset::Ready(Met { remote: Some(remote), meeting: None }))
            }
            Standing::Met(meeting) => Ok(Outset::Ready(Met { remote: Some(remote), meeting: Some(meeting) })),
        }
    }

    /// What it may keep by now.
    ///
    /// # Errors
    /// It has not met the shared store.
    fn ready(self) -> anyhow::Result<Met> {
        match self {
            Outset::Ready(met) => Ok(met),
            Outset::Waiting { remote, outage } => anyhow::bail!(
                "joining the shared store: redis {} is out of reach ({}): start it, or use the embedded store",
                remote.address,
                outage.name()
            ),
        }
    }
}

fn opening_dir(config: &ServeConfig) -> String {
    format!("opening the data directory `{}`", config.data_dir.display())
}

/// How wrong the system time is, in a rehearsal, microseconds.
fn skew_us(config: &ServeConfig) -> i64 {
    config.rehearse_clock_skew_ms.saturating_mul(1_000)
}

fn start_logs(config: &ServeConfig) -> anyhow::Result<()> {
    match config.log_format {
        LogFormat::Text => telemetry::init_text_logs(&config.log_level),
        LogFormat::Json => telemetry::init_json_logs(&config.log_level),
    }
    .map_err(anyhow::Error::msg)
}

/// Opens the data directory and the rules.
///
/// # Errors
/// As [`run`], but for the addresses; and a data directory that has not met the
/// shared store, while that is out of reach.
pub fn open(config: &ServeConfig) -> anyhow::Result<Arc<App>> {
    start_logs(config)?;
    open_as(config, Outset::of(config)?.ready()?)
}

/// What a replica answers from until it has met the others: the rules, and
/// nothing of anybody.
fn open_waiting(config: &ServeConfig) -> anyhow::Result<Arc<App>> {
    let dir = config.data_dir.join(WAITING_DIR);
    clear(&dir)?;
    let store =
        Store::open(StoreConfig { waiting: true, ..StoreConfig::new(&dir) }).with_context(|| opening_dir(config))?;
    let found = rules::read_dir(&config.rules).map_err(Refusal::from);
    let clock = ClockStart { sample: None, skew_us: skew_us(config) };
    Ok(Arc::new(App::open_with(store, &found, &config.public_url, Opening { clock, rules: None })?))
}

/// Throws away what a replica answered from before it had met the others.
fn clear(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("clearing `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}

fn open_as(config: &ServeConfig, met: Met) -> anyhow::Result<Arc<App>> {
    // mistakes in the rules are told by the service, after the store is open
    let found = rules::read_dir(&config.rules).map_err(Refusal::from);
    let defaults = StoreConfig::new(&config.data_dir);
    let store = Store::open(StoreConfig {
        hot_bytes_max: config.hot_bytes_max,
        log_bytes_max: config.log_bytes_max,
        timeline_kept_us: i64::from(config.timeline_days) * crate::domain::time::DAY_US,
        remote: met.remote,
        ..defaults
    })
    .with_context(|| opening_dir(config))?;
    let (time, rules) = met.meeting.map_or((None, None), |meeting| (meeting.time, meeting.rules));
    let clock = ClockStart { sample: time, skew_us: skew_us(config) };
    let app = App::open_with(store, &found, &config.public_url, Opening { clock, rules })?;
    let RevisionInfo { activation, refused, .. } = app.revision();
    if !refused.is_empty() {
        eprintln!(
            "WARNING: the rules in `{}` are refused ({} mistakes, in the log): revision {} serves on",
            config.rules.display(),
            refused.len(),
            activation.hash
        );
    }
    Ok(Arc::new(app))
}

/// Serves an opened service, with pages beside its routes, until it is told to
/// stop; `told` hears where it listens.
///
/// # Errors
/// An address cannot be bound.
pub fn run_with(
    config: &ServeConfig,
    app: Arc<App>,
    pages: Router,
    told: impl FnOnce(&Started),
) -> anyhow::Result<ExitCode> {
    server::serve_with(config, app, pages, |started, _| {
        told(&started);
        tell(config, &started);
    })?;
    Ok(ExitCode::SUCCESS)
}
