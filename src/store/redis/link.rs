//! One connection to Redis: how it is made, and what it is connected to.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion,
    RedisConnectionInfo, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{
    address::{Address, Layout, Login, Node, Transport},
    keys,
    outage::{Failure, Outage},
    sentinel,
};

/// Silence after which the kernel asks whether the other side is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Questions without an answer after which the connection is gone.
const KEEPALIVE_RETRIES: u32 = 3;
/// What was sent and not acknowledged for so long breaks the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a redirected command follows within its own deadline. Only a
/// cluster redirects; a command that was redirected has not run.
const REDIRECTS_MAX: u32 = 2;

/// A connection that many calls share.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server.
    Single(MultiplexedConnection),
    /// To the servers of a cluster.
    Cluster(ClusterConnection),
}

/// What a connection leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primary {
    /// Where it is; none for a cluster or a socket of this host.
    pub node: Option<Node>,
    /// The id of the server's run: another one means another process, which may
    /// have forgotten what was acknowledged. None where the server does not tell
    /// or there are several.
    pub run_id: Option<String>,
}

/// Settings of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkLimits {
    /// Calls that may wait to be written.
    pub queue_len_max: usize,
    /// How long one server may take to take us in.
    pub connect_timeout: Duration,
    /// How long any answer may take.
    pub call_max: Duration,
}

impl Link {
    /// Connects and checks that a primary answers. The caller bounds the time.
    pub async fn connect(address: &Address, limits: LinkLimits) -> Result<(Self, Primary), Failure> {
        if let Layout::Cluster(nodes) = &address.layout {
            let link = cluster(address, nodes, limits).await?;
            link.check().await?;
            return Ok((link, Primary::default()));
        }
        let node = match &address.layout {
            Layout::Single(node) => Some(node.clone()),
            Layout::Sentinel { sentinels, primary, login } => {
                let asked = sentinel::Asked { sentinels, primary, login, transport: address.transport };
                Some(sentinel::primary_node(&asked, limits.connect_timeout).await?)
            }
            Layout::Unix(_) | Layout::Cluster(_) => None,
        };
        let to = match (&node, &address.layout) {
            (Some(node), _) => connection_addr(node, address.transport),
            (None, Layout::Unix(path)) => ConnectionAddr::Unix(path.clone()),
            (None, _) => return Err(Outage::Unresolved.into()),
        };
        let info = connection_info(to, &address.login, address.db)?;
        let connection = open(info, limits.queue_len_max).await?;
        let link = Link::Single(connection);
        link.check().await?;
        let run_id = link.run_id().await?;
        Ok((link, Primary { node, run_id }))
    }

    /// Sends one command. An error reply may come as a value.
    pub async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        match self.clone() {
            Link::Single(mut connection) => connection.send_packed_command(command).await,
            Link::Cluster(mut connection) => connection.req_packed_command(command).await,
        }
    }

    /// Sends commands in one go. Error replies come as values.
    pub async fn send_all(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        match self.clone() {
            Link::Single(mut connection) => connection.send_packed_commands(commands, 0, commands.len()).await,
            Link::Cluster(mut connection) => connection.req_packed_commands(commands, 0, commands.len()).await,
        }
    }

    /// Asks whether a primary is there. Servers that may not tell are believed.
    pub async fn check(&self) -> Result<(), Failure> {
        if matches!(self, Link::Cluster(_)) {
            // the server of its slot answers or says why not
            return match value(self.send(redis::cmd("EXISTS").arg(keys::PROBE)).await) {
                Ok(_) | Err(Failure::Mistake { .. } | Failure::Outage(Outage::Denied)) => Ok(()),
                Err(failure) => Err(failure),
            };
        }
        match value(self.send(&redis::cmd("ROLE")).await) {
            Ok(Value::Array(parts)) => match parts.first().and_then(text) {
                Some("slave" | "replica") => Err(Outage::ReadOnly.into()),
                Some("sentinel") => Err(Failure::shape("of a redis server but of a sentinel")),
                _ => Ok(()),
            },
            Ok(_) => Err(Failure::shape("a role")),
            Err(Failure::Mistake { .. } | Failure::Outage(Outage::Denied)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn run_id(&self) -> Result<Option<String>, Failure> {
        match value(self.send(redis::cmd("INFO").arg("server")).await) {
            Ok(answer) => {
                let lines = text(&answer).unwrap_or_default();
                let run_id = lines.lines().find_map(|line| line.strip_prefix("run_id:"));
                Ok(run_id.map(|id| id.trim().to_owned()))
            }
            Err(Failure::Mistake { .. } | Failure::Outage(Outage::Denied)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// The value of an answer, error replies apart.
pub(super) fn value(answer: RedisResult<Value>) -> Result<Value, Failure> {
    match answer {
        Ok(Value::ServerError(error)) => Err(Failure::of_server(&error)),
        Ok(value) => Ok(value),
        Err(error) => Err(Failure::of(&error)),
    }
}

/// The text of a value that has one.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// A connection that is sent over at once, watched by the kernel, with as many
/// calls waiting to be written as there may be. Its own time-outs are off: every
/// call has a deadline.
pub(super) async fn open(info: ConnectionInfo, queue_len_max: usize) -> Result<MultiplexedConnection, Failure> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(queue_len_max);
    let client = Client::open(info).map_err(|error| Failure::of(&error))?;
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| Failure::of(&error))
}

/// Where a node is, in the words of the library.
pub(super) fn connection_addr(node: &Node, transport: Transport) -> ConnectionAddr {
    match transport {
        Transport::Plain => ConnectionAddr::Tcp(node.host.clone(), node.port),
        Transport::Tls => {
            ConnectionAddr::TcpTls { host: node.host.clone(), port: node.port, insecure: false, tls_params: None }
        }
    }
}

/// How to connect, in the words of the library.
pub(super) fn connection_info(to: ConnectionAddr, login: &Login, db: u32) -> Result<ConnectionInfo, Failure> {
    let mut redis = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(i64::from(db))
        .set_lib_name("rapport", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &login.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &login.password {
        redis = redis.set_password(password.reveal());
    }
    let info = to.into_connection_info().map_err(|error| Failure::of(&error))?;
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp_settings()))
}

fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(USER_TIMEOUT)
}

async fn cluster(address: &Address, nodes: &[Node], limits: LinkLimits) -> Result<Link, Failure> {
    let infos = nodes.iter().map(|node| connection_addr(node, address.transport));
    let infos = infos.map(|to| connection_info(to, &address.login, 0)).collect::<Result<Vec<_>, _>>()?;
    let client = ClusterClientBuilder::new(infos)
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(tcp_settings())
        .retries(REDIRECTS_MAX)
        .min_retry_wait(1)
        .max_retry_wait(10)
        .connection_timeout(limits.connect_timeout)
        .response_timeout(limits.call_max)
        .build()
        .map_err(|error| Failure::of(&error))?;
    let connection = client.get_async_connection().await.map_err(|error| Failure::of(&error))?;
    Ok(Link::Cluster(connection))
}
