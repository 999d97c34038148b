//! What is sampled of replication.

use metrics::{Counter, Gauge, Label};

use crate::{
    store::{Presence, ReplicaStats},
    telemetry::{Metrics, names},
};

/// The handles, made once.
pub struct SampledReplicas {
    unshipped: Gauge,
    shipped: Counter,
    shipped_again: Counter,
    races_lost: Counter,
    received: Counter,
    received_again: Counter,
    unreadable: Counter,
    gaps: Counter,
    read_through: Counter,
    acknowledged_early: Counter,
    joining: Gauge,
}

impl SampledReplicas {
    /// Handles of a recorder.
    pub fn new(metrics: &Metrics) -> Self {
        let counter = |name| metrics.counter(name, Vec::new());
        let by = |name, result| metrics.counter(name, vec![Label::new("result", result)]);
        Self {
            unshipped: metrics.gauge(names::REPLICA_UNSHIPPED),
            shipped: by(names::REPLICA_SHIPPED, "new"),
            shipped_again: by(names::REPLICA_SHIPPED, "known"),
            races_lost: counter(names::REPLICA_RACES),
            received: by(names::REPLICA_RECEIVED, "new"),
            received_again: by(names::REPLICA_RECEIVED, "known"),
            unreadable: by(names::REPLICA_RECEIVED, "unreadable"),
            gaps: counter(names::REPLICA_GAPS),
            read_through: counter(names::REPLICA_READ),
            acknowledged_early: counter(names::REPLICA_EARLY),
            joining: metrics.gauge(names::REPLICA_JOINING),
        }
    }

    /// Sets everything to what it is now.
    pub fn set(&self, stats: &ReplicaStats) {
        self.unshipped.set(stats.unshipped as f64);
        self.shipped.absolute(stats.shipped);
        self.shipped_again.absolute(stats.shipped_again);
        self.races_lost.absolute(stats.races_lost);
        self.received.absolute(stats.received);
        self.received_again.absolute(stats.received_again);
        self.unreadable.absolute(stats.unreadable);
        self.gaps.absolute(stats.gaps);
        self.read_through.absolute(stats.read_through);
        self.acknowledged_early.absolute(stats.acknowledged_early);
        self.joining.set(f64::from(u8::from(stats.presence == Presence::Joining)));
    }
}
