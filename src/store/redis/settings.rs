//! What a client of Redis may take, and the kinds of calls.

use std::time::Duration;

use super::{breaker::BreakerLimits, link::LinkLimits};

/// What a client may take, and when it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most a call may take, whatever its deadline says.
    pub call_max: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Failures in a row after which the breaker opens; time-outs in a row after
    /// which the connection is replaced.
    pub failures_max: u32,
    /// A call that timed out after less says nothing about the connection.
    pub timeout_counts_from: Duration,
    /// Between two attempts to reach Redis.
    pub retry_interval: Duration,
    /// Between two looks at a connection that works.
    pub heartbeat_interval: Duration,
    /// How long such a look may take.
    pub heartbeat_timeout: Duration,
    /// Between two questions to the sentinels.
    pub sentinel_interval: Duration,
    /// Most calls on their way at once.
    pub in_flight_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            call_max: Duration::from_secs(1),
            connect_timeout: Duration::from_millis(500),
            failures_max: 5,
            timeout_counts_from: Duration::from_millis(2),
            retry_interval: Duration::from_millis(250),
            heartbeat_interval: Duration::from_millis(500),
            heartbeat_timeout: Duration::from_millis(250),
            sentinel_interval: Duration::from_secs(2),
            in_flight_max: 1_024,
        }
    }
}

impl Settings {
    pub(super) fn breaker(&self) -> BreakerLimits {
        // connecting asks the sentinels first, and looks at the server after
        let probe_max = 3 * self.connect_timeout + self.heartbeat_timeout;
        BreakerLimits { failures_max: self.failures_max, probe_interval: self.retry_interval, probe_max }
    }

    pub(super) fn link(&self) -> LinkLimits {
        let queue_len_max = self.in_flight_max.max(1);
        LinkLimits { queue_len_max, connect_timeout: self.connect_timeout, call_max: self.call_max }
    }
}

/// What a call does; labels of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    Get,
    /// Several values.
    Mget,
    /// A script.
    Script,
    /// Commands in one go.
    Pipeline,
    /// An entry to a stream.
    Xadd,
    /// Entries of a stream.
    Xread,
    /// Another command.
    Other,
    /// Whether Redis is there.
    Probe,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 8] =
        [Kind::Get, Kind::Mget, Kind::Script, Kind::Pipeline, Kind::Xadd, Kind::Xread, Kind::Other, Kind::Probe];
    /// Their names in labels.
    pub const NAMES: [&'static str; 8] = ["get", "mget", "script", "pipeline", "xadd", "xread", "other", "probe"];
}
