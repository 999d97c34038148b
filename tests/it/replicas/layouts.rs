//! Redis as it is run: a primary, a replica and three sentinels; a cluster of
//! three primaries and three replicas.

use std::{net::SocketAddr, time::Duration};

use super::{kills::APPEND_ONLY, replica::until};
use crate::redis::server::RedisServer;

/// How long servers may take to find each other.
const FORMED_WITHIN: Duration = Duration::from_secs(60);
/// A server that is silent so long is held to be down, milliseconds.
const DOWN_AFTER_MS: &str = "700";
/// Slots of a cluster.
const SLOTS: usize = 16_384;

/// Two servers and three sentinels.
pub struct Sentinels {
    /// The first is the primary to begin with.
    pub servers: [RedisServer; 2],
    sentinels: [RedisServer; 3],
}

impl Sentinels {
    /// Starts them, and waits until everybody knows everybody.
    pub fn start() -> Self {
        let servers = [RedisServer::start_with(&APPEND_ONLY), RedisServer::start_with(&APPEND_ONLY)];
        servers[1].follow(servers[0].address);
        until("the replica follows", FORMED_WITHIN, || servers[1].info("master_link_status").as_deref() == Some("up"));
        let sentinels = [(); 3].map(|()| RedisServer::start_with(&["--sentinel"]));
        for sentinel in &sentinels {
            let said = sentinel.say(&format!("SENTINEL MONITOR main 127.0.0.1 {} 2", servers[0].address.port()));
            assert!(said.starts_with("+OK"), "{said}");
            for (name, value) in [("down-after-milliseconds", DOWN_AFTER_MS), ("failover-timeout", "3000")] {
                assert!(sentinel.say(&format!("SENTINEL SET main {name} {value}")).starts_with("+OK"));
            }
        }
        let formed = Self { servers, sentinels };
        until("sentinels know each other", FORMED_WITHIN, || {
            formed.sentinels.iter().all(|sentinel| {
                let info = sentinel.say("INFO sentinel");
                info.contains("slaves=1") && info.contains("sentinels=3")
            })
        });
        formed
    }

    /// Where the primary is asked for.
    pub fn url(&self) -> String {
        let at: Vec<String> = self.sentinels.iter().map(|sentinel| sentinel.address.to_string()).collect();
        format!("redis+sentinel://{}/main", at.join(","))
    }

    /// Waits until most sentinels name a server as the primary.
    pub fn until_primary(&self, address: SocketAddr) -> Duration {
        until("sentinels name another primary", FORMED_WITHIN, || {
            let port = format!("\r\n{}\r\n", address.port());
            let name = |sentinel: &&RedisServer| sentinel.say("SENTINEL GET-MASTER-ADDR-BY-NAME main").contains(&port);
            self.sentinels.iter().filter(name).count() >= 2
        })
    }
}

/// Three primaries and a replica of each.
pub struct Cluster {
    /// The primaries first, then their replicas in the same order.
    pub servers: Vec<RedisServer>,
}

impl Cluster {
    /// Starts them, and waits until all slots are served.
    pub fn start() -> Self {
        let arguments: Vec<&str> =
            [&APPEND_ONLY[..], &["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]].concat();
        let servers: Vec<RedisServer> = (0..6).map(|_| RedisServer::start_with(&arguments)).collect();
        for (at, server) in servers.iter().take(3).enumerate() {
            let (from, to) = (SLOTS * at / 3, SLOTS * (at + 1) / 3 - 1);
            assert!(server.say(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")).starts_with("+OK"));
            // epochs that differ, for nobody has voted yet
            assert!(server.say(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1)).starts_with("+OK"));
        }
        for server in &servers[1..] {
            let said = server.say(&format!("CLUSTER MEET 127.0.0.1 {}", servers[0].address.port()));
            assert!(said.starts_with("+OK"), "{said}");
        }
        let cluster = Self { servers };
        cluster.until_ok(6);
        for at in 0..3 {
            let id = cluster.servers[at].say("CLUSTER MYID");
            let id = id.lines().nth(1).expect("an id").to_owned();
            until("a replica knows its primary", FORMED_WITHIN, || {
                cluster.servers[at + 3].say(&format!("CLUSTER REPLICATE {id}")).starts_with("+OK")
            });
        }
        until("replicas follow", FORMED_WITHIN, || {
            cluster.servers[3..].iter().all(|server| server.info("master_link_status").as_deref() == Some("up"))
        });
        cluster
    }

    fn until_ok(&self, known: usize) {
        until("the cluster is formed", FORMED_WITHIN, || {
            self.servers.iter().all(|server| {
                let info = server.say("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{known}"))
            })
        });
    }

    /// Waits until a server is a primary.
    pub fn until_primary(&self, at: usize) -> Duration {
        until("the replica takes over", FORMED_WITHIN, || self.servers[at].info("role").as_deref() == Some("master"))
    }

    /// Where it is asked for.
    pub fn url(&self) -> String {
        let at: Vec<String> = self.servers.iter().map(|server| server.address.to_string()).collect();
        format!("redis+cluster://{}", at.join(","))
    }
}
