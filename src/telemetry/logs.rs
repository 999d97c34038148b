//! Logs on standard error, as text or JSON. The level is a name (`info`) or a
//! filter (`info,rapport=debug`).

use tracing_subscriber::EnvFilter;

/// Starts logging lines for people.
///
/// # Errors
/// The filter cannot be read, or logging was started before.
pub fn init_text_logs(level: &str) -> Result<(), String> {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(std::io::stderr);
    lines.with_ansi(false).try_init().map_err(|error| format!("starting the log: {error}"))
}

/// Starts logging an object a line.
///
/// # Errors
/// The filter cannot be read, or logging was started before.
pub fn init_json_logs(level: &str) -> Result<(), String> {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(std::io::stderr);
    lines.json().try_init().map_err(|error| format!("starting the log: {error}"))
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(level).map_err(|error| format!("reading the log level `{level}`: {error}"))
}
