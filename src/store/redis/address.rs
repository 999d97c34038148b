//! Where the shared store is: the value of `--store`, checked and typed.
//!
//! ```text
//! redis://[user[:password]@]host[:port][/db]
//! redis+unix:///path/to/socket[?db=1]
//! redis+sentinel://[user[:password]@]host[:port],host[:port]/primary[?db=1]
//! redis+cluster://[user[:password]@]host[:port],host[:port]
//! ```
//!
//! `rediss` in place of `redis` speaks TLS. The user and the password are those
//! of Redis; those of Sentinel are the options `sentinel_username` and
//! `sentinel_password`. Reserved characters are written as `%XX`.

use std::{fmt, path::PathBuf};

use super::address_text::{Parts, decoded};

/// Port of Redis when none is named.
pub const REDIS_PORT: u16 = 6379;
/// Port of Sentinel when none is named.
pub const SENTINEL_PORT: u16 = 26379;
/// Most hosts in an address.
pub const NODES_MAX: usize = 32;
/// Highest number of a database.
pub const DB_MAX: u32 = 65_535;

/// Where Redis is, and as whom to speak to it. Shown without passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// How its servers are laid out.
    pub layout: Layout,
    /// Whether to speak TLS.
    pub transport: Transport,
    /// The number of the database.
    pub db: u32,
    /// As whom, with Redis.
    pub login: Login,
}

/// How the servers of Redis are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One server, or a name that leads to the primary.
    Single(Node),
    /// One server on this host.
    Unix(PathBuf),
    /// Sentinels know which server is the primary.
    Sentinel {
        /// Where the sentinels are.
        sentinels: Vec<Node>,
        /// What the sentinels call the primary.
        primary: String,
        /// As whom, with the sentinels.
        login: Login,
    },
    /// Slots are spread over servers.
    Cluster(Vec<Node>),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Its name or IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Whether to speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In the clear.
    Plain,
    /// TLS, checked against the authorities this host trusts.
    Tls,
}

/// A user and a password; either may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The user of the access list; none is the default user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// A password. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a password.
    pub fn new(password: String) -> Self {
        Self(password)
    }

    /// The password itself, for the one who speaks to Redis.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is wrong with an address. Never quotes the whole of it, for it may hold
/// a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The scheme is none of ours.
    #[error(
        "reading the address of the store: `{0}` is no scheme: write `redis://host:6379`, `rediss://...`, `redis+unix://...`, `redis+sentinel://...` or `redis+cluster://...`"
    )]
    Scheme(String),
    /// No host, or an empty one in a list.
    #[error(
        "reading the address of the store: a host is missing: write `{0}://host:port`, several with commas between"
    )]
    Host(String),
    /// A port that is no port.
    #[error("reading the address of the store: `{0}` is no port: write a number from 1 to 65535")]
    Port(String),
    /// More hosts than the scheme takes.
    #[error(
        "reading the address of the store: `{scheme}` takes at most {most} hosts, not {given}: leave some out, or write `redis+sentinel://` or `redis+cluster://`"
    )]
    Hosts {
        /// The scheme.
        scheme: String,
        /// So many it takes.
        most: usize,
        /// So many there are.
        given: usize,
    },
    /// Sentinel without the name of a primary.
    #[error(
        "reading the address of the store: `{0}` needs the name that the sentinels give the primary: write `{0}://host:26379/name`"
    )]
    Primary(String),
    /// A database that is none.
    #[error("reading the address of the store: `{0}` is no database: write a number from 0 to {DB_MAX}")]
    Database(String),
    /// A cluster has one database.
    #[error("reading the address of the store: a cluster has database 0 only: leave `{0}` out")]
    ClusterDatabase(u32),
    /// A path where none belongs, or none where one does.
    #[error("reading the address of the store: the path `{path}` does not belong to `{scheme}`: {hint}")]
    Path {
        /// The scheme.
        scheme: String,
        /// The path.
        path: String,
        /// What to do.
        hint: &'static str,
    },
    /// An option nobody knows, or that does not belong here.
    #[error("reading the address of the store: the option `{0}` is not known for `{1}`: the options are {2}")]
    Option(String, String, &'static str),
    /// An `@` behind the hosts: then what looks like a host may be a password.
    #[error(
        "reading the address of the store: there is an `@` after the hosts: write `/`, `?`, `@`, `:` and `%` in a user, a password or an option as `%2F`, `%3F`, `%40`, `%3A` and `%25`"
    )]
    Reserved,
    /// A broken `%XX`.
    #[error(
        "reading the address of the store: {0} has a `%` that two hex digits of UTF-8 do not follow: write `%25` for `%`"
    )]
    Escape(&'static str),
}

impl Address {
    /// Reads the value of `--store`.
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let parts = Parts::split(text)?;
        let transport = match parts.secure {
            true => Transport::Tls,
            false => Transport::Plain,
        };
        let (layout, db) = match parts.kind.as_str() {
            "" => single(&parts)?,
            "unix" if transport == Transport::Plain => unix(&parts)?,
            "sentinel" => sentinel(&parts)?,
            "cluster" => cluster(&parts)?,
            _ => return Err(AddressError::Scheme(parts.scheme)),
        };
        Ok(Self { layout, transport, db, login: parts.login })
    }

    /// Whether keys are spread over several servers, so that one script or one
    /// `MGET` must keep to one slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self.layout, Layout::Cluster(_))
    }
}

fn single(parts: &Parts) -> Result<(Layout, u32), AddressError> {
    let nodes = parts.nodes(REDIS_PORT, 1)?;
    parts.refuse_options(&["db"], "`db`")?;
    let db = match parts.path.trim_matches('/') {
        "" => parts.db()?,
        text => database(text)?,
    };
    let node = nodes.into_iter().next().ok_or_else(|| AddressError::Host(parts.scheme.clone()))?;
    Ok((Layout::Single(node), db))
}

fn unix(parts: &Parts) -> Result<(Layout, u32), AddressError> {
    parts.refuse_options(&["db"], "`db`")?;
    if !parts.hosts.is_empty() || parts.path.len() < 2 {
        let hint = "write `redis+unix:///path/to/socket`, with three slashes";
        let path = format!("{}{}", parts.hosts, parts.path);
        return Err(AddressError::Path { scheme: parts.scheme.clone(), path, hint });
    }
    Ok((Layout::Unix(PathBuf::from(decoded(&parts.path, "the path")?)), parts.db()?))
}

fn sentinel(parts: &Parts) -> Result<(Layout, u32), AddressError> {
    parts.refuse_options(
        &["db", "sentinel_username", "sentinel_password"],
        "`db`, `sentinel_username` and `sentinel_password`",
    )?;
    let sentinels = parts.nodes(SENTINEL_PORT, NODES_MAX)?;
    let primary = decoded(parts.path.trim_matches('/'), "the name of the primary")?;
    if primary.is_empty() || primary.contains('/') {
        return Err(AddressError::Primary(parts.scheme.clone()));
    }
    let login = Login {
        username: parts.option("sentinel_username")?,
        password: parts.option("sentinel_password")?.map(Secret::new),
    };
    Ok((Layout::Sentinel { sentinels, primary, login }, parts.db()?))
}

fn cluster(parts: &Parts) -> Result<(Layout, u32), AddressError> {
    parts.refuse_options(&["db"], "none but `db=0`")?;
    let nodes = parts.nodes(REDIS_PORT, NODES_MAX)?;
    if !parts.path.trim_matches('/').is_empty() {
        let hint = "leave the path out, a cluster has one database";
        return Err(AddressError::Path { scheme: parts.scheme.clone(), path: parts.path.clone(), hint });
    }
    match parts.db()? {
        0 => Ok((Layout::Cluster(nodes), 0)),
        db => Err(AddressError::ClusterDatabase(db)),
    }
}

/// Reads the number of a database.
pub(super) fn database(text: &str) -> Result<u32, AddressError> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    number.filter(|db| *db <= DB_MAX).ok_or_else(|| AddressError::Database(text.to_owned()))
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Plain => "redis",
            Transport::Tls => "rediss",
        };
        let kind = match self.layout {
            Layout::Single(_) => "",
            Layout::Unix(_) => "+unix",
            Layout::Sentinel { .. } => "+sentinel",
            Layout::Cluster(_) => "+cluster",
        };
        let login = match (&self.login.username, &self.login.password) {
            (None, None) => String::new(),
            (name, None) => format!("{}@", name.as_deref().unwrap_or_default()),
            (name, Some(_)) => format!("{}:***@", name.as_deref().unwrap_or_default()),
        };
        write!(f, "{scheme}{kind}://{login}")?;
        let listed = |nodes: &[Node]| nodes.iter().map(Node::to_string).collect::<Vec<_>>().join(",");
        match &self.layout {
            Layout::Single(node) if self.db == 0 => return write!(f, "{node}"),
            Layout::Single(node) => return write!(f, "{node}/{}", self.db),
            Layout::Unix(path) => write!(f, "{}", path.display())?,
            Layout::Sentinel { sentinels, primary, .. } => write!(f, "{}/{primary}", listed(sentinels))?,
            Layout::Cluster(nodes) => write!(f, "{}", listed(nodes))?,
        }
        match self.db {
            0 => Ok(()),
            db => write!(f, "?db={db}"),
        }
    }
}
