//! What a service is connected to, in words: printed when it starts, logged when
//! it changes, and told by the readiness probe.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    app::App,
    store::{
        Remote,
        redis::{BreakerState, address::Layout},
    },
};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What a service is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Where Redis is, without passwords.
    address: String,
    layout: &'static str,
    /// What the keys begin with.
    namespace: String,
    replica: String,
    /// How many replicas live.
    members: u32,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Up { primary: Option<String>, run_id: Option<String>, generation: u64 },
    Down { outage: &'static str },
    Foreign,
}

impl Connected {
    /// How it is now; none without a shared store.
    pub fn of(app: &App) -> Option<Self> {
        let remote = app.store.remote()?;
        Some(Self {
            address: remote.client.address().to_string(),
            layout: match remote.client.address().layout {
                Layout::Single(_) => "one server",
                Layout::Unix(_) => "socket",
                Layout::Sentinel { .. } => "sentinel",
                Layout::Cluster(_) => "cluster",
            },
            namespace: remote.keys.namespace().to_owned(),
            replica: remote.replica.to_string(),
            members: app.store.members(),
            state: State::of(remote),
        })
    }
}

impl State {
    fn of(remote: &Remote) -> Self {
        if remote.is_foreign() {
            return State::Foreign;
        }
        let health = remote.client.health();
        match health.primary {
            Some(primary) if health.breaker == BreakerState::Closed => State::Up {
                primary: primary.node.map(|node| node.to_string()),
                run_id: primary.run_id,
                generation: health.generation.0,
            },
            _ => State::Down { outage: health.outage.map_or("not connected yet", crate::store::redis::Outage::name) },
        }
    }
}

impl fmt::Display for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, layout, namespace, replica, members, state } = self;
        write!(f, "redis {address} ({layout}): ")?;
        match state {
            State::Up { primary, run_id, generation } => {
                f.write_str("up")?;
                if let Some(primary) = primary {
                    write!(f, ", primary {primary}")?;
                }
                if let Some(run_id) = run_id {
                    write!(f, ", run id {run_id}")?;
                }
                write!(f, ", connection {generation}")?;
            }
            State::Down { outage } => write!(f, "down ({outage}), serving from memory")?,
            State::Foreign => f.write_str("holds other secrets than ours, serving from memory")?,
        }
        write!(f, "; namespace {namespace}, replica {replica}, members {members}")
    }
}

/// How long a service that starts waits for its first connection.
const FIRST_MAX: Duration = Duration::from_secs(1);
/// Between two looks meanwhile.
const FIRST_INTERVAL: Duration = Duration::from_millis(10);

/// How it is once it is connected, or when that takes too long; none without a
/// shared store. Blocking.
pub fn soon(app: &App) -> Option<Connected> {
    let begun = std::time::Instant::now();
    loop {
        let now = Connected::of(app)?;
        if matches!(now.state, State::Up { .. }) || begun.elapsed() >= FIRST_MAX {
            return Some(now);
        }
        std::thread::sleep(FIRST_INTERVAL);
    }
}

/// Logs what the service is connected to whenever that changes. Never ends:
/// run it as a background task.
pub(super) async fn tell(app: Arc<App>) {
    let mut told = None;
    loop {
        let now = Connected::of(&app);
        if now != told {
            if let Some(now) = &now {
                tracing::info!("{now}");
            }
            told = now;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
