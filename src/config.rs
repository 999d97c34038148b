//! Settings of the service: flag, else environment, else file, else default.

pub mod origin;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// How serving threads are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeLayout {
    /// One single-threaded runtime a worker; a connection stays on its thread.
    #[default]
    PerCore,
    /// One runtime over all workers.
    MultiThread,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// Flags of `serve`; each may come from the environment instead.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// YAML file with settings, named as the flags with `_` for `-`
    #[arg(long, env = "RAPPORT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of gRPC and JSON [default: 127.0.0.1:7070]
    #[arg(long, env = "RAPPORT_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of /metrics, /livez, /readyz [default: 127.0.0.1:7071]
    #[arg(long, env = "RAPPORT_PRIVATE_LISTEN", value_name = "ADDRESS")]
    pub private_listen: Option<SocketAddr>,
    /// Directory of the event log and the store [default: ./data]
    #[arg(long, env = "RAPPORT_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where profiles are backed: `embedded`, or the Redis that replicas share, as
    /// `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://` [default: embedded]
    #[arg(long, env = "RAPPORT_STORE", value_name = "URL", hide_env_values = true)]
    pub store: Option<String>,
    /// What the keys in Redis begin with [default: rapport]
    #[arg(long, env = "RAPPORT_STORE_NAMESPACE", value_name = "NAME")]
    pub store_namespace: Option<String>,
    /// File of 32 bytes or more that seals the secrets in Redis; the same for
    /// every replica [default: they lie there as they are]
    #[arg(long, env = "RAPPORT_STORE_SECRET", value_name = "FILE")]
    pub store_secret: Option<PathBuf>,
    /// Milliseconds that this process's system time is wrong by, for rehearsals
    #[arg(long, env = "RAPPORT_REHEARSE_CLOCK_SKEW_MS", value_name = "MS", hide = true, allow_negative_numbers = true)]
    pub rehearse_clock_skew_ms: Option<i64>,
    /// Directory of the rules [default: ./rules]
    #[arg(long, env = "RAPPORT_RULES", value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// File of API keys, a `name role sha256hex` a line
    #[arg(long, env = "RAPPORT_API_KEYS", value_name = "FILE")]
    pub api_keys: Option<PathBuf>,
    /// Serve other hosts without API keys, whatever name they call by: only where
    /// no browser can reach
    #[arg(long, env = "RAPPORT_INSECURE", num_args = 0..=1, default_missing_value = "true")]
    pub insecure: Option<bool>,
    /// Serving threads [default: one per core]
    #[arg(long, env = "RAPPORT_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Layout of the serving threads [default: per-core]
    #[arg(long, env = "RAPPORT_RUNTIME", value_enum)]
    pub runtime: Option<RuntimeLayout>,
    /// Where people reach traceable links [default: http://LISTEN]
    #[arg(long, env = "RAPPORT_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Level or filter of the log [default: info]
    #[arg(long, env = "RAPPORT_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Format of the log [default: text]
    #[arg(long, env = "RAPPORT_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Most bytes of profiles in memory [default: 536870912]
    #[arg(long, env = "RAPPORT_HOT_BYTES_MAX", value_name = "BYTES")]
    pub hot_bytes_max: Option<u64>,
    /// Most bytes of the event log [default: 2147483648]
    #[arg(long, env = "RAPPORT_LOG_BYTES_MAX", value_name = "BYTES")]
    pub log_bytes_max: Option<u64>,
    /// Days that entries of timelines are kept after they came in [default: 400]
    #[arg(long, env = "RAPPORT_TIMELINE_DAYS", value_name = "DAYS")]
    pub timeline_days: Option<u32>,
    /// Milliseconds that requests may still take after a stop [default: 10000]
    #[arg(long, env = "RAPPORT_DRAIN_TIMEOUT_MS", value_name = "MS")]
    pub drain_timeout_ms: Option<u64>,
    /// Most requests answered at the same time [default: 4096]
    #[arg(long, env = "RAPPORT_MAX_IN_FLIGHT", value_name = "N")]
    pub max_in_flight: Option<usize>,
    /// Milliseconds that a call may wait for its turn in a burst; when there is
    /// always one waiting, a twentieth of it; 0 for no turns: calls are answered as
    /// they come [default: 0]
    #[arg(long, env = "RAPPORT_QUEUE_AGE_MAX_MS", value_name = "MS")]
    pub queue_age_max_ms: Option<u64>,
    /// Origin of pages that may call from a browser; may be given again
    #[arg(long, env = "RAPPORT_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,
    /// Requests per second of a browser key from one address [default: 20]
    #[arg(long, env = "RAPPORT_BROWSER_RATE", value_name = "N")]
    pub browser_rate: Option<u32>,
    /// Proxies in front whose `x-forwarded-for` is believed [default: 0]
    #[arg(long, env = "RAPPORT_TRUSTED_PROXIES", value_name = "N")]
    pub trusted_proxies: Option<usize>,
    /// Seconds from one analysis of all customers to the next; 0 for none but
    /// those asked for [default: 3600]
    #[arg(long, env = "RAPPORT_SWEEP_EVERY_S", value_name = "S")]
    pub sweep_every_s: Option<u64>,
}

/// The settings file. Unknown keys are errors.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServeFile {
    listen: Option<SocketAddr>,
    private_listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    store: Option<String>,
    store_namespace: Option<String>,
    store_secret: Option<PathBuf>,
    rules: Option<PathBuf>,
    api_keys: Option<PathBuf>,
    insecure: Option<bool>,
    workers: Option<usize>,
    runtime: Option<RuntimeLayout>,
    public_url: Option<String>,
    log_level: Option<String>,
    log_format: Option<LogFormat>,
    hot_bytes_max: Option<u64>,
    log_bytes_max: Option<u64>,
    timeline_days: Option<u32>,
    drain_timeout_ms: Option<u64>,
    max_in_flight: Option<usize>,
    queue_age_max_ms: Option<u64>,
    cors_origin: Vec<String>,
    browser_rate: Option<u32>,
    trusted_proxies: Option<usize>,
    sweep_every_s: Option<u64>,
}

/// The settings of the service, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// Address of gRPC and JSON; port 0 for any.
    pub listen: SocketAddr,
    /// Address of metrics and probes; port 0 for any.
    pub private_listen: SocketAddr,
    /// Directory of the event log and the store.
    pub data_dir: PathBuf,
    /// Where profiles are backed: `embedded` or a Redis, as given.
    pub store: String,
    /// What the keys in Redis begin with.
    pub store_namespace: String,
    /// File that seals the secrets in Redis.
    pub store_secret: Option<PathBuf>,
    /// Milliseconds that the system time is wrong by; for rehearsals only.
    pub rehearse_clock_skew_ms: i64,
    /// Directory of the rules.
    pub rules: PathBuf,
    /// File of API keys.
    pub api_keys: Option<PathBuf>,
    /// Whether other hosts are served without keys.
    pub insecure: bool,
    /// Serving threads, at least 1.
    pub workers: usize,
    /// How they are laid out.
    pub runtime: RuntimeLayout,
    /// Where people reach traceable links, without a slash at the end.
    pub public_url: String,
    /// Level or filter of the log.
    pub log_level: String,
    /// Format of the log.
    pub log_format: LogFormat,
    /// Most bytes of profiles in memory.
    pub hot_bytes_max: u64,
    /// Most bytes of the event log.
    pub log_bytes_max: u64,
    /// Days that entries of timelines are kept after they came in.
    pub timeline_days: u32,
    /// Milliseconds that requests may still take after a stop.
    pub drain_timeout_ms: u64,
    /// Most requests answered at the same time.
    pub max_in_flight: usize,
    /// Milliseconds that a call may wait for its turn in a burst; while calls
    /// always wait it is a twentieth of that.
    pub queue_age_max_ms: u64,
    /// Origins of pages that may call from a browser.
    pub cors_origins: Vec<String>,
    /// Requests per second of a browser key, or of an origin, from one address.
    pub browser_rate: u32,
    /// Proxies in front whose `x-forwarded-for` is believed.
    pub trusted_proxies: usize,
    /// Seconds from one analysis of all customers to the next; 0 for none but
    /// those asked for.
    pub sweep_every_s: u64,
}

impl Default for ServeConfig {
    fn default() -> Self {
        merge(ServeArgs::default(), ServeFile::default())
    }
}

/// The store that needs no other service.
pub const EMBEDDED: &str = "embedded";
/// The least that the event log may be limited to, bytes; the store refuses
/// less too.
const LOG_BYTES_MIN: u64 = 1 << 20;
/// The longest that calls may be let wait, milliseconds.
const QUEUE_AGE_MAX_MS: u64 = 60_000;
/// Most origins.
const CORS_ORIGINS_MAX: usize = 256;
/// The highest rate of browsers, requests per second.
const BROWSER_RATE_MAX: u32 = 100_000;
/// Most proxies in a row.
const TRUSTED_PROXIES_MAX: usize = 16;

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading the settings file `{path}`: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("reading the settings file `{path}`: {why}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// A value that cannot be.
    #[error("reading the settings: {0}")]
    Invalid(String),
}

impl ServeConfig {
    /// The settings from the flags (clap has read the environment into them)
    /// and the file they name.
    ///
    /// # Errors
    /// A file that cannot be read, unknown keys, values that cannot be.
    pub fn resolve(args: ServeArgs) -> Result<Self, ConfigError> {
        let file = args.config.as_deref().map_or_else(|| Ok(ServeFile::default()), read_file)?;
        let config = merge(args, file);
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |text: &str| Err(ConfigError::Invalid(text.to_owned()));
        if self.workers == 0 || self.workers > 1_024 {
            return wrong("`workers` must be 1 to 1024");
        }
        if self.max_in_flight == 0 {
            return wrong("`max_in_flight` must be at least 1");
        }
        if self.queue_age_max_ms > QUEUE_AGE_MAX_MS {
            return wrong("`queue_age_max_ms` must be at most 60000");
        }
        if self.log_bytes_max < LOG_BYTES_MIN {
            return wrong("`log_bytes_max` must be at least 1048576 (1 MiB)");
        }
        if !self.public_url.starts_with("http://") && !self.public_url.starts_with("https://") {
            return wrong("`public_url` must start with `http://` or `https://`");
        }
        self.check_browsers()
    }

    fn check_browsers(&self) -> Result<(), ConfigError> {
        let wrong = |text: String| Err(ConfigError::Invalid(text));
        if let Some(why) = self.cors_origins.iter().find_map(|origin| origin::check(origin).err()) {
            return wrong(why);
        }
        if self.cors_origins.len() > CORS_ORIGINS_MAX {
            return wrong(format!("`cors_origin` has {} entries: at most {CORS_ORIGINS_MAX}", self.cors_origins.len()));
        }
        if !(1..=BROWSER_RATE_MAX).contains(&self.browser_rate) {
            return wrong(format!("`browser_rate` must be 1 to {BROWSER_RATE_MAX}"));
        }
        if self.trusted_proxies > TRUSTED_PROXIES_MAX {
            return wrong(format!("`trusted_proxies` must be at most {TRUSTED_PROXIES_MAX}"));
        }
        Ok(())
    }
}

fn read_file(path: &Path) -> Result<ServeFile, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    if text.trim().is_empty() {
        return Ok(ServeFile::default());
    }
    serde_saphyr::from_str(&text)
        .map_err(|error| ConfigError::Malformed { path: path.to_owned(), why: error.to_string() })
}

fn merge(args: ServeArgs, file: ServeFile) -> ServeConfig {
    let listen = args.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7070)));
    let private = args.private_listen.or(file.private_listen);
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    // an empty variable names no origin
    let cors_origin: Vec<String> = args.cors_origin.into_iter().filter(|origin| !origin.is_empty()).collect();
    let public_url = args.public_url.or(file.public_url).unwrap_or_else(|| format!("http://{listen}"));
    ServeConfig {
        listen,
        private_listen: private.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7071))),
        data_dir: args.data_dir.or(file.data_dir).unwrap_or_else(|| PathBuf::from("./data")),
        store: args.store.or(file.store).unwrap_or_else(|| EMBEDDED.to_owned()),
        store_namespace: args.store_namespace.or(file.store_namespace).unwrap_or_else(|| "rapport".to_owned()),
        store_secret: args.store_secret.or(file.store_secret),
        rehearse_clock_skew_ms: args.rehearse_clock_skew_ms.unwrap_or(0),
        rules: args.rules.or(file.rules).unwrap_or_else(|| PathBuf::from("./rules")),
        api_keys: args.api_keys.or(file.api_keys),
        insecure: args.insecure.or(file.insecure).unwrap_or(false),
        workers: args.workers.or(file.workers).unwrap_or_else(cores),
        runtime: args.runtime.or(file.runtime).unwrap_or_default(),
        public_url: public_url.trim_end_matches('/').to_owned(),
        log_level: args.log_level.or(file.log_level).unwrap_or_else(|| "info".to_owned()),
        log_format: args.log_format.or(file.log_format).unwrap_or_default(),
        hot_bytes_max: args.hot_bytes_max.or(file.hot_bytes_max).unwrap_or(512 << 20),
        log_bytes_max: args.log_bytes_max.or(file.log_bytes_max).unwrap_or(2 << 30),
        timeline_days: args.timeline_days.or(file.timeline_days).unwrap_or(400),
        drain_timeout_ms: args.drain_timeout_ms.or(file.drain_timeout_ms).unwrap_or(10_000),
        max_in_flight: args.max_in_flight.or(file.max_in_flight).unwrap_or(4_096),
        queue_age_max_ms: args.queue_age_max_ms.or(file.queue_age_max_ms).unwrap_or(0),
        cors_origins: if cors_origin.is_empty() { file.cors_origin } else { cors_origin },
        browser_rate: args.browser_rate.or(file.browser_rate).unwrap_or(20),
        trusted_proxies: args.trusted_proxies.or(file.trusted_proxies).unwrap_or(0),
        sweep_every_s: args.sweep_every_s.or(file.sweep_every_s).unwrap_or(3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_comes_before_the_file_and_the_file_before_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rapport.yaml");
        std::fs::write(&path, "workers: 3\nlog_level: warn\nruntime: multi-thread\n").unwrap();
        let args = ServeArgs { config: Some(path.clone()), workers: Some(5), ..ServeArgs::default() };
        let config = ServeConfig::resolve(args).unwrap();
        assert_eq!((config.workers, config.log_level.as_str()), (5, "warn"));
        assert_eq!((config.runtime, config.listen.port()), (RuntimeLayout::MultiThread, 7070));
        assert_eq!(config.public_url, "http://127.0.0.1:7070");

        std::fs::write(&path, "worker: 3\n").unwrap();
        let refused = ServeConfig::resolve(ServeArgs { config: Some(path), ..ServeArgs::default() }).unwrap_err();
        assert!(refused.to_string().contains("worker"), "{refused}");
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let refused = |args: ServeArgs| ServeConfig::resolve(args).unwrap_err().to_string();
        assert!(refused(ServeArgs { workers: Some(0), ..ServeArgs::default() }).contains("`workers`"));
        assert!(refused(ServeArgs { max_in_flight: Some(0), ..ServeArgs::default() }).contains("`max_in_flight`"));
        assert!(
            refused(ServeArgs { log_bytes_max: Some(1_048_575), ..ServeArgs::default() }).contains("`log_bytes_max`")
        );
        let ftp = ServeArgs { public_url: Some("ftp://x".into()), ..ServeArgs::default() };
        assert!(refused(ftp).contains("`public_url`"));
        let any = ServeArgs { cors_origin: vec!["https://a.example".into(), "*".into()], ..ServeArgs::default() };
        assert!(refused(any).contains("`cors_origin` `*`"));
        assert!(refused(ServeArgs { browser_rate: Some(0), ..ServeArgs::default() }).contains("`browser_rate`"));
        assert!(refused(ServeArgs { trusted_proxies: Some(17), ..ServeArgs::default() }).contains("`trusted_proxies`"));
    }

    #[test]
    fn origins_come_from_the_file_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rapport.yaml");
        std::fs::write(&path, "cors_origin: [https://a.example, https://b.example]\nbrowser_rate: 7\n").unwrap();
        let config = ServeConfig::resolve(ServeArgs { config: Some(path), ..ServeArgs::default() }).unwrap();
        assert_eq!(config.cors_origins, ["https://a.example", "https://b.example"]);
        assert_eq!((config.browser_rate, config.trusted_proxies), (7, 0));
    }
}
