//! What is counted of the analyses of all customers.

use std::{fmt::Write, sync::Arc};

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, Label};

use crate::domain::Timestamp;

use super::{Metrics, Recorder, names};

/// How an analysis ended; labels of [`names::SWEEPS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepResult {
    /// It looked at everybody.
    Done,
    /// The service stopped.
    Stopped,
    /// The store or the log failed.
    Failed,
}

impl SweepResult {
    const NAMES: [&'static str; 3] = ["done", "stopped", "failed"];
}

/// What an analysis found, as far as it is told.
#[derive(Clone, Debug, Default)]
pub struct Swept<'a> {
    /// How long it took, microseconds.
    pub elapsed_us: u64,
    /// Customers that were looked at.
    pub customers: u64,
    /// When it ended.
    pub at: Timestamp,
    /// Times a customer entered a segment, and left one.
    pub changes: [u64; 2],
    /// Segments and their customers.
    pub segments: Vec<(&'a str, u64)>,
}

/// The handles.
pub(super) struct SweepMetrics {
    ended: Vec<Counter>,
    seconds: Gauge,
    customers: Gauge,
    ended_at: Gauge,
    changes: [Counter; 2],
    /// The lines that tell the sizes of segments. A label would stay for every
    /// segment that ever was, so they are written by hand.
    pub segments: ArcSwap<String>,
}

impl SweepMetrics {
    pub fn new(recorder: &Recorder) -> Self {
        let changes = |direction| recorder.counter(names::SEGMENT_CHANGES, vec![Label::new("direction", direction)]);
        Self {
            ended: recorder.counters(names::SWEEPS, "result", SweepResult::NAMES.into_iter()),
            seconds: recorder.gauge(names::SWEEP_SECONDS),
            customers: recorder.gauge(names::SWEEP_CUSTOMERS),
            ended_at: recorder.gauge(names::SWEEP_ENDED),
            changes: [changes("entered"), changes("left")],
            segments: ArcSwap::default(),
        }
    }
}

impl Metrics {
    /// Counts an analysis.
    pub fn sweep_ended(&self, result: SweepResult) {
        if let Some(counter) = self.sweep.ended.get(result as usize) {
            counter.increment(1);
        }
    }

    /// Tells what an analysis found.
    pub fn swept(&self, found: &Swept<'_>) {
        self.sweep.seconds.set(found.elapsed_us as f64 / 1e6);
        self.sweep.customers.set(found.customers as f64);
        self.sweep.ended_at.set(found.at.0 as f64 / 1e6);
        self.sweep.changes.iter().zip(found.changes).for_each(|(counter, times)| counter.increment(times));
        let name = names::SEGMENT_CUSTOMERS;
        let mut lines = String::new();
        for (at, (segment, customers)) in found.segments.iter().take(names::SEGMENTS_TOLD_MAX).enumerate() {
            if at == 0 {
                let help = "Customers in a segment at the last analysis";
                lines.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
            }
            // writing to a string does not fail
            let _ = writeln!(lines, "{name}{{segment=\"{}\"}} {customers}", segment.escape_default());
        }
        self.sweep.segments.store(Arc::new(lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_are_no_more_have_no_gauge_and_their_number_is_bounded() {
        let metrics = Metrics::new();
        let old = Swept { segments: vec![("old", 7)], changes: [2, 1], ..Swept::default() };
        metrics.swept(&old);
        let names: Vec<String> = (0..names::SEGMENTS_TOLD_MAX + 5).map(|n| format!("s{n}")).collect();
        let segments = names.iter().map(|name| (name.as_str(), 7)).collect();
        metrics.swept(&Swept { segments, changes: [4, 3], ..Swept::default() });
        metrics.sweep_ended(SweepResult::Failed);
        let text = metrics.render();
        let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(lines("rapport_segment_customers{"), names::SEGMENTS_TOLD_MAX);
        assert!(!text.contains("segment=\"old\"") && text.contains("rapport_segment_customers{segment=\"s0\"} 7"));
        assert!(text.contains("rapport_sweeps_total{result=\"failed\"} 1"));
        assert!(text.contains("rapport_segment_changes_total{direction=\"left\"} 4"), "{text}");
    }
}
