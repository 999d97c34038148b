//! `rapport serve`: the service.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context;

use crate::{
    app::App,
    config::{LogFormat, ServeArgs, ServeConfig},
    rules,
    server::{self, Started},
    store::{Store, StoreConfig},
    telemetry,
};

/// Options of `serve`.
pub type Args = ServeArgs;

/// Opens and serves until it is told to stop.
///
/// # Errors
/// The settings or rules are wrong, the data directory cannot be opened, an
/// address cannot be bound.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = ServeConfig::resolve(args)?;
    let app = open(&config)?;
    run_open(&config, app, |_| ())
}

/// Opens the data directory and the rules.
///
/// # Errors
/// As [`run`], but for the addresses.
pub fn open(config: &ServeConfig) -> anyhow::Result<Arc<App>> {
    match config.log_format {
        LogFormat::Text => telemetry::init_text_logs(&config.log_level),
        LogFormat::Json => telemetry::init_json_logs(&config.log_level),
    }
    .map_err(anyhow::Error::msg)?;
    let files = read_rules(&config.rules)?;
    // mistakes in the rules are told by the service, after the store is open
    let compiled = rules::compile(&files).ok();
    let reserves = compiled.iter().flat_map(|ruleset| &ruleset.channels).map(|channel| channel.reserve_us);
    let defaults = StoreConfig::new(&config.data_dir);
    let store = Store::open(StoreConfig {
        hot_bytes_max: config.hot_bytes_max,
        log_bytes_max: config.log_bytes_max,
        reserve_us_max: reserves.max().unwrap_or(defaults.reserve_us_max),
        ..defaults
    })
    .with_context(|| format!("opening the data directory `{}`", config.data_dir.display()))?;
    Ok(Arc::new(App::open(store, &files, &config.public_url)?))
}

fn read_rules(dir: &Path) -> anyhow::Result<Vec<rules::SourceFile>> {
    rules::read_dir(dir).map_err(|e| {
        let lines: Vec<String> = e.errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the rules cannot be read:\n{}", lines.join("\n"))
    })
}

/// Serves an opened service until it is told to stop; `told` hears where it
/// listens.
///
/// # Errors
/// An address cannot be bound.
pub fn run_open(config: &ServeConfig, app: Arc<App>, told: impl FnOnce(&Started)) -> anyhow::Result<ExitCode> {
    server::serve(config, app, |started, _| {
        told(&started);
        // read by whoever started the process on port 0
        say!("listening on {} (private {})", started.public, started.private);
    })?;
    Ok(ExitCode::SUCCESS)
}
