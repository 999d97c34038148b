//! `rapport serve`: the service.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use axum::Router;

use crate::{
    app::{App, Refusal, RevisionInfo},
    config::{LogFormat, ServeArgs, ServeConfig},
    http::web,
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
    // mistakes in the rules are told by the service, after the store is open
    let found = rules::read_dir(&config.rules).map_err(Refusal::from);
    let defaults = StoreConfig::new(&config.data_dir);
    let store = Store::open(StoreConfig {
        hot_bytes_max: config.hot_bytes_max,
        log_bytes_max: config.log_bytes_max,
        timeline_kept_us: i64::from(config.timeline_days) * crate::domain::time::DAY_US,
        ..defaults
    })
    .with_context(|| format!("opening the data directory `{}`", config.data_dir.display()))?;
    let app = App::open(store, &found, &config.public_url)?;
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

/// Serves an opened service until it is told to stop; `told` hears where it
/// listens.
///
/// # Errors
/// An address cannot be bound.
pub fn run_open(config: &ServeConfig, app: Arc<App>, told: impl FnOnce(&Started)) -> anyhow::Result<ExitCode> {
    run_with(config, app, Router::new(), told)
}

/// As [`run_open`], with pages beside the routes of the service.
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
        // read by whoever started the process on port 0
        say!("listening on {} (private {})", started.public, started.private);
        say!("for web pages: {}", web::script_tag(&config.public_url));
    })?;
    Ok(ExitCode::SUCCESS)
}
