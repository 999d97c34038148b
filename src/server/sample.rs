//! What is sampled rather than counted: the state of the store, and the age of
//! the rules.

use std::time::Duration;

use metrics::{Counter, Gauge, Label};

use crate::{
    store::StoreStats,
    telemetry::{Metrics, names},
};

/// Handles of what is sampled.
pub struct Sampled {
    ruleset_age: Gauge,
    hot_profiles: Gauge,
    hot_bytes: Gauge,
    hot_hits: Counter,
    hot_misses: Counter,
    evictions: Counter,
    log_bytes: Gauge,
    log_records: Counter,
    fsyncs: Counter,
    fsync_seconds: Gauge,
    fsync_seconds_max: Gauge,
    decisions_dropped: Counter,
    exhausted: Counter,
    holders_dropped: Counter,
    watchers: Gauge,
    watches_behind: Counter,
    queue: Gauge,
    unmaterialised: Gauge,
}

impl Sampled {
    /// Handles in a set of metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let lookups = |result| metrics.counter(names::HOT_LOOKUPS, vec![Label::new("result", result)]);
        let counter = |name| metrics.counter(name, Vec::new());
        Self {
            ruleset_age: metrics.gauge(names::RULESET_AGE_SECONDS),
            hot_profiles: metrics.gauge(names::HOT_PROFILES),
            hot_bytes: metrics.gauge(names::HOT_BYTES),
            hot_hits: lookups("hit"),
            hot_misses: lookups("miss"),
            evictions: counter(names::HOT_EVICTIONS),
            log_bytes: metrics.gauge(names::LOG_BYTES),
            log_records: counter(names::LOG_RECORDS),
            fsyncs: counter(names::FSYNCS),
            fsync_seconds: metrics.gauge(names::FSYNC_SECONDS),
            fsync_seconds_max: metrics.gauge(names::FSYNC_SECONDS_MAX),
            decisions_dropped: counter(names::DECISIONS_DROPPED),
            exhausted: counter(names::LOG_EXHAUSTED),
            holders_dropped: counter(names::HOLDERS_DROPPED),
            watchers: metrics.gauge(names::WATCHERS),
            watches_behind: counter(names::WATCHES_BEHIND),
            queue: metrics.gauge(names::LOG_QUEUE),
            unmaterialised: metrics.gauge(names::STORE_UNMATERIALISED),
        }
    }

    /// Sets everything to what the store and the rules are now.
    pub fn set(&self, stats: &StoreStats, ruleset_age: Duration) {
        self.ruleset_age.set(ruleset_age.as_secs_f64());
        self.hot_profiles.set(stats.hot_profiles as f64);
        self.hot_bytes.set(stats.hot_bytes as f64);
        self.hot_hits.absolute(stats.hot_hits);
        self.hot_misses.absolute(stats.hot_misses);
        self.evictions.absolute(stats.evictions);
        self.log_bytes.set(stats.log_bytes as f64);
        self.log_records.absolute(stats.log_records);
        self.fsyncs.absolute(stats.fsyncs);
        self.fsync_seconds.set(stats.fsync_us_total as f64 / 1e6);
        self.fsync_seconds_max.set(stats.fsync_us_max as f64 / 1e6);
        self.decisions_dropped.absolute(stats.decisions_dropped);
        self.exhausted.absolute(stats.exhausted);
        self.holders_dropped.absolute(stats.holders_dropped);
        self.watchers.set(stats.watchers as f64);
        self.watches_behind.absolute(stats.watches_behind);
        self.queue.set(stats.queue_len as f64);
        self.unmaterialised.set(stats.unmaterialised as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sampled_is_rendered() {
        let metrics = Metrics::new();
        let stats = StoreStats { hot_hits: 7, fsync_us_total: 1_500_000, ..StoreStats::default() };
        Sampled::new(&metrics).set(&stats, Duration::from_secs(5));
        let text = metrics.render();
        for line in [
            "rapport_hot_lookups_total{result=\"hit\"} 7",
            "rapport_log_fsync_busy_seconds 1.5",
            "rapport_ruleset_age_seconds 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
