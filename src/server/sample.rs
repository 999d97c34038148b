//! What is sampled rather than counted: the state of the store, and the age of
//! the rules.

use std::time::Duration;

use metrics::{Counter, Gauge, Label};

use crate::{
    store::{MergeCause, NotLinked, StoreStats},
    telemetry::{Metrics, names},
};

/// Handles of what is sampled.
pub struct Sampled {
    ruleset_age: Gauge,
    hot_profiles: Gauge,
    hot_bytes: Gauge,
    hot_hits: Counter,
    hot_misses: Counter,
    unpackings: Counter,
    evictions: Counter,
    unpacked_evictions: Counter,
    log_bytes: Gauge,
    log_records: Counter,
    fsyncs: Counter,
    fsync_seconds: Gauge,
    fsync_seconds_max: Gauge,
    decisions_dropped: Counter,
    exhausted: Counter,
    writes_waited: Counter,
    holders_dropped: Counter,
    timeline_swept: Counter,
    merges: [Counter; MergeCause::ALL.len()],
    merges_refused: [Counter; NotLinked::ALL.len()],
    merges_undone: Counter,
    watchers: Gauge,
    watches_behind: Counter,
    subscribers: Gauge,
    subscriber_lag: Gauge,
    subscribers_refused: Counter,
    queue: Gauge,
    unmaterialised: Gauge,
}

impl Sampled {
    /// Handles in a set of metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let lookups = |result| metrics.counter(names::HOT_LOOKUPS, vec![Label::new("result", result)]);
        let merges = |cause: MergeCause| metrics.counter(names::MERGES, vec![Label::new("cause", cause.name())]);
        let refused = |why: NotLinked| metrics.counter(names::MERGES_REFUSED, vec![Label::new("reason", why.name())]);
        let counter = |name| metrics.counter(name, Vec::new());
        Self {
            ruleset_age: metrics.gauge(names::RULESET_AGE_SECONDS),
            hot_profiles: metrics.gauge(names::HOT_PROFILES),
            hot_bytes: metrics.gauge(names::HOT_BYTES),
            hot_hits: lookups("hit"),
            hot_misses: lookups("miss"),
            unpackings: counter(names::HOT_UNPACKINGS),
            evictions: counter(names::HOT_EVICTIONS),
            unpacked_evictions: counter(names::HOT_UNPACKED_EVICTIONS),
            log_bytes: metrics.gauge(names::LOG_BYTES),
            log_records: counter(names::LOG_RECORDS),
            fsyncs: counter(names::FSYNCS),
            fsync_seconds: metrics.gauge(names::FSYNC_SECONDS),
            fsync_seconds_max: metrics.gauge(names::FSYNC_SECONDS_MAX),
            decisions_dropped: counter(names::DECISIONS_DROPPED),
            exhausted: counter(names::LOG_EXHAUSTED),
            writes_waited: counter(names::WRITES_WAITED),
            holders_dropped: counter(names::HOLDERS_DROPPED),
            timeline_swept: counter(names::TIMELINE_SWEPT),
            merges: MergeCause::ALL.map(merges),
            merges_refused: NotLinked::ALL.map(refused),
            merges_undone: counter(names::MERGES_UNDONE),
            watchers: metrics.gauge(names::WATCHERS),
            watches_behind: counter(names::WATCHES_BEHIND),
            subscribers: metrics.gauge(names::SUBSCRIBERS),
            subscriber_lag: metrics.gauge(names::SUBSCRIBER_LAG),
            subscribers_refused: counter(names::SUBSCRIBERS_REFUSED),
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
        self.unpackings.absolute(stats.hot_unpackings);
        self.evictions.absolute(stats.evictions);
        self.unpacked_evictions.absolute(stats.unpacked_evictions);
        self.log_bytes.set(stats.log_bytes as f64);
        self.log_records.absolute(stats.log_records);
        self.fsyncs.absolute(stats.fsyncs);
        self.fsync_seconds.set(stats.fsync_us_total as f64 / 1e6);
        self.fsync_seconds_max.set(stats.fsync_us_max as f64 / 1e6);
        self.decisions_dropped.absolute(stats.decisions_dropped);
        self.exhausted.absolute(stats.exhausted);
        self.writes_waited.absolute(stats.writes_waited);
        self.holders_dropped.absolute(stats.holders_dropped);
        self.timeline_swept.absolute(stats.timeline_swept);
        self.merges.iter().zip(stats.merges).for_each(|(counter, count)| counter.absolute(count));
        self.merges_refused.iter().zip(stats.merges_refused).for_each(|(counter, count)| counter.absolute(count));
        self.merges_undone.absolute(stats.merges_undone);
        self.watchers.set(stats.watchers as f64);
        self.watches_behind.absolute(stats.watches_behind);
        self.subscribers.set(stats.followers as f64);
        self.subscriber_lag.set(stats.followers_lag as f64);
        self.subscribers_refused.absolute(stats.followers_refused);
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
