//! What is counted of calls to Redis.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label};

use super::{Metrics, Recorder, names};

/// The handles, made once per client. Kinds and results are closed sets that the
/// store names.
pub struct RedisMetrics {
    results: Vec<&'static str>,
    /// By kind, then by result.
    calls: Vec<Vec<Counter>>,
    /// By kind.
    seconds: Vec<Histogram>,
    in_flight: Gauge,
    breaker: Gauge,
    rebuilds: [Counter; 2],
}

/// A call on its way.
pub struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Metrics {
    /// Handles for calls of these kinds with these results.
    pub fn redis(&self, kinds: &[&'static str], results: &[&'static str]) -> RedisMetrics {
        let recorder = &self.recorder;
        let calls = |kind: &'static str| {
            let labels = |result| vec![Label::new("kind", kind), Label::new("result", result)];
            results.iter().map(|result| recorder.counter(names::REDIS_CALLS, labels(*result))).collect()
        };
        let rebuilds = |result| recorder.counter(names::REDIS_CONNECTIONS, vec![Label::new("result", result)]);
        RedisMetrics {
            results: results.to_vec(),
            calls: kinds.iter().map(|kind| calls(kind)).collect(),
            seconds: kinds.iter().map(|kind| seconds(recorder, kind)).collect(),
            in_flight: recorder.gauge(names::REDIS_IN_FLIGHT),
            breaker: recorder.gauge(names::REDIS_BREAKER),
            rebuilds: [rebuilds("failed"), rebuilds("ok")],
        }
    }
}

fn seconds(recorder: &Recorder, kind: &'static str) -> Histogram {
    metrics::with_local_recorder(&recorder.recorder, || metrics::histogram!(names::REDIS_SECONDS, "kind" => kind))
}

impl RedisMetrics {
    /// Counts a call as on its way until what is answered is dropped.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.increment(1.0);
        InFlight(&self.in_flight)
    }

    /// Counts a call that ended, by the number of its kind and the name of its
    /// result.
    pub fn call(&self, kind: usize, result: &str, elapsed: Duration) {
        let result = self.results.iter().position(|known| *known == result);
        if let Some(counter) = self.calls.get(kind).zip(result).and_then(|(row, result)| row.get(result)) {
            counter.increment(1);
        }
        if let Some(seconds) = self.seconds.get(kind) {
            seconds.record(elapsed.as_secs_f64());
        }
    }

    /// Sets the state of the breaker: 0 closed, 1 half open, 2 open.
    pub fn breaker(&self, state: usize) {
        self.breaker.set(state as f64);
    }

    /// Counts an attempt to connect.
    pub fn rebuilt(&self, connected: bool) {
        self.rebuilds[usize::from(connected)].increment(1);
    }
}
