//! The breaker: after failures in a row calls are refused at once, and one
//! probe at a time asks whether Redis is back. A state machine that is told the
//! time.

use std::time::{Duration, Instant};

/// What the breaker lets through; the value of its gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Every call.
    Closed = 0,
    /// Nothing but one probe that is on its way.
    HalfOpen = 1,
    /// Nothing.
    Open = 2,
}

/// When to open and when to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// Between a probe that failed and the next.
    pub probe_interval: Duration,
    /// A probe that has not ended after this long is taken for lost.
    pub probe_max: Duration,
}

/// The breaker of one connection.
#[derive(Clone, Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { lost_at: Instant },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, phase: Phase::Closed { failures: 0 } }
    }

    /// What it lets through.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether it is closed and nothing has failed since the last success.
    pub fn is_quiet(&self) -> bool {
        self.phase == Phase::Closed { failures: 0 }
    }

    /// A call succeeded. A success that was still on its way when the breaker
    /// opened does not close it: the probe decides.
    pub fn succeeded(&mut self) {
        if let Phase::Closed { failures } = &mut self.phase {
            *failures = 0;
        }
    }

    /// A call failed; true when that opened the breaker. The first probe is due
    /// at once.
    pub fn failed(&mut self, now: Instant) -> bool {
        let Phase::Closed { failures } = &mut self.phase else { return false };
        *failures += 1;
        let opens = *failures >= self.limits.failures_max;
        if opens {
            self.phase = Phase::Open { until: now };
        }
        opens
    }

    /// Opens it until a probe at `until` or later.
    pub fn open(&mut self, until: Instant) {
        self.phase = Phase::Open { until };
    }

    /// When a probe is due; none while it is closed.
    pub fn probe_due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } => Some(until),
            Phase::HalfOpen { lost_at } => Some(lost_at),
        }
    }

    /// Takes the one probe there is to make now; false when none is due or
    /// another is on its way.
    pub fn begin_probe(&mut self, now: Instant) -> bool {
        let due = self.probe_due().is_some_and(|due| due <= now);
        if due {
            self.phase = Phase::HalfOpen { lost_at: now + self.limits.probe_max };
        }
        due
    }

    /// Redis answered as it should.
    pub fn probe_succeeded(&mut self) {
        self.phase = Phase::Closed { failures: 0 };
    }

    /// Redis did not answer as it should.
    pub fn probe_failed(&mut self, now: Instant) {
        self.phase = Phase::Open { until: now + self.limits.probe_interval };
    }
}
