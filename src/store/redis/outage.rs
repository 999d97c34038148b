//! What can go wrong between us and Redis: outages, which pass and are
//! survived, and mistakes, which are ours and do not pass by waiting.

use std::{error::Error, io, sync::Arc};

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

/// Why Redis did not do what was asked, although nothing was wrong with the
/// asking. Every one of them passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Outage {
    /// No answer before the deadline, or no connection before it.
    #[error("redis did not answer in time")]
    Timeout,
    /// Nobody listens, or the server takes no more clients.
    #[error("redis refused the connection")]
    Refused,
    /// The connection broke, or what came over it made no sense.
    #[error("the connection to redis broke")]
    Broken,
    /// The host has no address, or no sentinel knows the primary.
    #[error("the primary of redis could not be found")]
    Unresolved,
    /// The user, the password, the certificate or a permission was refused.
    #[error("redis did not let us in: check the user, its password and its permissions")]
    Denied,
    /// The breaker is open: Redis was not asked.
    #[error("redis is out of reach and is not asked until a probe succeeds")]
    Open,
    /// Too many calls are on their way: Redis was not asked.
    #[error("too many calls to redis are on their way")]
    Busy,
    /// `READONLY`: a replica, or a primary that is one no more.
    #[error("redis is a replica and cannot write")]
    ReadOnly,
    /// `LOADING`: it reads its data from disk.
    #[error("redis is loading its data")]
    Loading,
    /// `OOM`: its memory is full.
    #[error("the memory of redis is full")]
    OutOfMemory,
    /// `MISCONF`: it cannot write to its disk and refuses to change anything.
    #[error("redis cannot write to its disk")]
    Unsaved,
    /// `NOSCRIPT`: it lost its scripts between two calls.
    #[error("redis does not keep its scripts")]
    NoScript,
    /// `BUSY`: a script runs for too long.
    #[error("redis is busy with a script")]
    ScriptBusy,
    /// `MASTERDOWN`: a replica without its primary.
    #[error("the primary of redis is down")]
    MasterDown,
    /// `CLUSTERDOWN`: slots are without a server.
    #[error("the redis cluster is down")]
    ClusterDown,
    /// `MOVED` or `ASK`: the slot is elsewhere.
    #[error("the slot is on another server of the redis cluster")]
    Moved,
    /// `TRYAGAIN`: the slot is on its way to another server.
    #[error("the slot is on its way to another server of the redis cluster")]
    TryAgain,
    /// `NOREPLICAS`: too few replicas follow to accept a write.
    #[error("too few replicas of redis follow")]
    NoReplicas,
}

/// What an outage says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: Redis answered, or was not asked.
    None,
    /// It counts towards opening the breaker.
    Count,
    /// The connection is of no more use.
    Replace,
}

impl Outage {
    /// Every one.
    pub const ALL: [Outage; 18] = [
        Outage::Timeout,
        Outage::Refused,
        Outage::Broken,
        Outage::Unresolved,
        Outage::Denied,
        Outage::Open,
        Outage::Busy,
        Outage::ReadOnly,
        Outage::Loading,
        Outage::OutOfMemory,
        Outage::Unsaved,
        Outage::NoScript,
        Outage::ScriptBusy,
        Outage::MasterDown,
        Outage::ClusterDown,
        Outage::Moved,
        Outage::TryAgain,
        Outage::NoReplicas,
    ];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Outage::Timeout => "timeout",
            Outage::Refused => "refused",
            Outage::Broken => "broken",
            Outage::Unresolved => "unresolved",
            Outage::Denied => "denied",
            Outage::Open => "open",
            Outage::Busy => "busy",
            Outage::ReadOnly => "read_only",
            Outage::Loading => "loading",
            Outage::OutOfMemory => "out_of_memory",
            Outage::Unsaved => "unsaved",
            Outage::NoScript => "no_script",
            Outage::ScriptBusy => "script_busy",
            Outage::MasterDown => "master_down",
            Outage::ClusterDown => "cluster_down",
            Outage::Moved => "moved",
            Outage::TryAgain => "try_again",
            Outage::NoReplicas => "no_replicas",
        }
    }

    /// What it says about the connection.
    pub fn effect(self) -> Effect {
        match self {
            Outage::Timeout | Outage::Loading | Outage::ScriptBusy => Effect::Count,
            Outage::MasterDown | Outage::ClusterDown => Effect::Count,
            Outage::Refused | Outage::Broken | Outage::Unresolved | Outage::Denied => Effect::Replace,
            Outage::ReadOnly | Outage::Moved => Effect::Replace,
            Outage::Open | Outage::Busy | Outage::OutOfMemory | Outage::Unsaved => Effect::None,
            Outage::NoScript | Outage::TryAgain | Outage::NoReplicas => Effect::None,
        }
    }

    /// Whether Redis may have done all the same what was asked. Ask again with
    /// the same id only.
    pub fn may_have_run(self) -> bool {
        matches!(self, Outage::Timeout | Outage::Broken)
    }

    /// The outage an error reply tells of, by its first word.
    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "READONLY" | "UNBLOCKED" => Outage::ReadOnly,
            "LOADING" => Outage::Loading,
            "OOM" => Outage::OutOfMemory,
            "MISCONF" => Outage::Unsaved,
            "NOSCRIPT" => Outage::NoScript,
            "BUSY" => Outage::ScriptBusy,
            "MASTERDOWN" => Outage::MasterDown,
            "CLUSTERDOWN" => Outage::ClusterDown,
            "MOVED" | "ASK" => Outage::Moved,
            "TRYAGAIN" => Outage::TryAgain,
            "NOREPLICAS" => Outage::NoReplicas,
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => Outage::Denied,
            _ => return None,
        })
    }

    /// The outage of an error of the network.
    fn of_io(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outage::Timeout,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Outage::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Outage::Unresolved,
            io::ErrorKind::PermissionDenied => Outage::Denied,
            _ => Outage::Broken,
        }
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It passes; survive it.
    #[error("{0}")]
    Outage(#[from] Outage),
    /// It does not pass: the command, the script or the data is wrong.
    #[error("redis answered `{code}`: {text}")]
    Mistake {
        /// The first word of the reply, or what was wrong with its shape.
        code: String,
        /// The rest of it.
        text: String,
    },
}

impl Failure {
    /// The outage, if it is one.
    pub fn outage(&self) -> Option<Outage> {
        match self {
            Failure::Outage(outage) => Some(*outage),
            Failure::Mistake { .. } => None,
        }
    }

    /// Its name in labels: that of the outage, or `mistake`.
    pub fn name(&self) -> &'static str {
        self.outage().map_or(Self::MISTAKE, Outage::name)
    }

    /// Name of mistakes in labels.
    pub const MISTAKE: &'static str = "mistake";

    /// A reply that has another shape than the command promises.
    pub fn shape(expected: &str) -> Self {
        Failure::Mistake { code: "shape".to_owned(), text: format!("the reply is not {expected}") }
    }

    /// Reads an error reply: its first word and the rest.
    pub fn of_reply(code: &str, text: &str) -> Self {
        if let Some(outage) = Outage::of_code(code).or_else(|| of_text(code, text)) {
            return Failure::Outage(outage);
        }
        Failure::Mistake { code: code.to_owned(), text: text.to_owned() }
    }

    /// Reads an error among the values of a reply.
    pub fn of_server(error: &ServerError) -> Self {
        Self::of_reply(error.code(), error.details().unwrap_or_default())
    }

    /// Reads an error of the library.
    pub fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ExecAbort) => {
                Failure::Mistake { code: "EXECABORT".to_owned(), text: error.to_string() }
            }
            ErrorKind::Server(_) | ErrorKind::Extension => {
                Self::of_reply(error.code().unwrap_or_default(), error.detail().unwrap_or_default())
            }
            ErrorKind::Io => Outage::of_io(io_kind(error)).into(),
            ErrorKind::Parse => Outage::Broken.into(),
            ErrorKind::AuthenticationFailed => Outage::Denied.into(),
            ErrorKind::ClusterConnectionNotFound => Outage::ClusterDown.into(),
            ErrorKind::MasterNameNotFoundBySentinel => Outage::Unresolved.into(),
            // what the library finds wrong with the set-up of a connection:
            // certificates among others
            ErrorKind::InvalidClientConfig | ErrorKind::Client if is_tls(error) => Outage::Denied.into(),
            _ => Failure::Mistake { code: error.category().to_owned(), text: error.to_string() },
        }
    }
}

/// The outage that stands inside the text of an `ERR`: too many clients, or the
/// error of a command within a script, as servers before version 7 tell it.
fn of_text(code: &str, text: &str) -> Option<Outage> {
    if code != "ERR" {
        return None;
    }
    if text.starts_with("max number of clients") {
        return Some(Outage::Refused);
    }
    let inner = text.starts_with("Error running script").then(|| text.rsplit_once(" -")).flatten()?.1;
    Outage::of_code(inner.split_whitespace().next()?)
}

fn io_kind(error: &RedisError) -> io::ErrorKind {
    match cause::<io::Error>(error) {
        // names that cannot be resolved come without a kind of their own
        Some(cause) if cause.to_string().contains("failed to lookup address") => io::ErrorKind::HostUnreachable,
        Some(cause) if cause.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            io::ErrorKind::PermissionDenied
        }
        Some(cause) => cause.kind(),
        None => io::ErrorKind::Other,
    }
}

fn is_tls(error: &RedisError) -> bool {
    cause::<rustls::Error>(error).is_some()
}

/// What an error of the library wraps, which it does behind an `Arc`.
fn cause<E: Error + 'static>(error: &RedisError) -> Option<&E> {
    let source = error.source()?;
    let shared = source.downcast_ref::<Arc<dyn Error + Send + Sync>>();
    source.downcast_ref().or_else(|| shared.and_then(|shared| shared.downcast_ref()))
}
