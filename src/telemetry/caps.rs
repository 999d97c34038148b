//! What is counted of exact caps and budgets.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label};

use super::{Metrics, names};

/// How a claim ended; labels of [`names::CAP_CLAIMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimResult {
    /// Every place is held.
    Granted,
    /// There was no room for one.
    Refused,
    /// Redis did not say in time.
    Unknown,
}

impl ClaimResult {
    const NAMES: [&'static str; 3] = ["granted", "refused", "unknown"];
}

/// The handles, made once per store.
pub struct CapMetrics {
    claims: [Counter; 3],
    retried: Counter,
    seconds: Histogram,
    unknown: [Counter; 3],
    late: Counter,
    over_granted: Counter,
    waiting: Gauge,
    dropped: Counter,
    leases: [Counter; 3],
    leases_held: Gauge,
    units_leased: Gauge,
    units_returned: Counter,
}

impl Metrics {
    /// Handles for exact caps and budgets.
    pub fn caps(&self) -> CapMetrics {
        let recorder = &self.recorder;
        let label = |name, label, value| recorder.counter(name, vec![Label::new(label, value)]);
        let plain = |name| recorder.counter(name, Vec::new());
        CapMetrics {
            claims: ClaimResult::NAMES.map(|result| label(names::CAP_CLAIMS, "result", result)),
            retried: plain(names::CAP_RETRIES),
            seconds: metrics::with_local_recorder(&recorder.recorder, || metrics::histogram!(names::CAP_SECONDS)),
            unknown: names::UNKNOWN_POLICIES.map(|policy| label(names::CAP_UNKNOWN, "policy", policy)),
            late: plain(names::CAP_LATE),
            over_granted: plain(names::CAP_OVER_GRANTED),
            waiting: recorder.gauge(names::CAP_WAITING),
            dropped: plain(names::CAP_DROPPED),
            leases: names::LEASE_RESULTS.map(|result| label(names::LEASES, "result", result)),
            leases_held: recorder.gauge(names::LEASES_HELD),
            units_leased: recorder.gauge(names::UNITS_LEASED),
            units_returned: plain(names::UNITS_RETURNED),
        }
    }
}

impl CapMetrics {
    /// Counts a claim that ended.
    pub fn claimed(&self, result: ClaimResult, elapsed: Duration) {
        self.claims[result as usize].increment(1);
        self.seconds.record(elapsed.as_secs_f64());
    }

    /// Counts a claim that is sent again.
    pub fn retried(&self) {
        self.retried.increment(1);
    }

    /// Counts a place or unit that nobody could say of whether there is room, by
    /// what its rules say then.
    pub fn unknown(&self, policy: &str) {
        if let Some(at) = names::UNKNOWN_POLICIES.iter().position(|known| *known == policy) {
            self.unknown[at].increment(1);
        }
    }

    /// Counts presentations that were seen after their reservation lapsed.
    pub fn late(&self, places: u64) {
        self.late.increment(places);
    }

    /// Counts what is held beyond caps.
    pub fn over_granted(&self, places: u64) {
        self.over_granted.increment(places);
    }

    /// Counts what could not be queued, or was forgotten before its time.
    pub fn dropped(&self) {
        self.dropped.increment(1);
    }

    /// Sets how much waits to be told to Redis.
    pub fn waiting(&self, tasks: usize) {
        self.waiting.set(tasks as f64);
    }

    /// Counts a call for a lease: with units, without, or failed.
    pub fn lease(&self, result: usize) {
        if let Some(counter) = self.leases.get(result) {
            counter.increment(1);
        }
    }

    /// Sets the leases and units held now.
    pub fn leased(&self, leases: usize, units: u64) {
        self.leases_held.set(leases as f64);
        self.units_leased.set(units as f64);
    }

    /// Counts units given back.
    pub fn returned(&self, units: u64) {
        self.units_returned.increment(units);
    }
}
