//! Open load: calls are sent on an absolute schedule, whether or not earlier
//! ones were answered. Latency counts from the moment a call was due.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::LocalSet;

use super::{client::Connection, histogram::Histogram, target::Target};
use crate::generator::SplitMix64;

/// Nearer to a deadline than this the generator yields instead of sleeping,
/// because the runtime's timers tick in milliseconds.
const SPIN_BEFORE: Duration = Duration::from_millis(2);
/// Most calls under way; more are dropped and make the run invalid.
pub const IN_FLIGHT_MAX: usize = 8_192;
/// A run is invalid when the generator's lag p99 is over this share of p50.
const LAG_SHARE_MAX: f64 = 0.25;
/// A run is invalid under this share of the rate asked for.
const RATE_SHARE_MIN: f64 = 0.99;

/// When calls are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Evenly spaced.
    Constant,
    /// Exponential gaps from a seed.
    Poisson,
}

/// An open run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Calls per second.
    pub rate: f64,
    /// How long calls are sent and counted.
    pub time: Duration,
    /// How long calls are sent before any is counted.
    pub warm_up: Duration,
    /// When calls are due.
    pub arrivals: Arrivals,
    /// Seed of the gaps.
    pub seed: u64,
    /// Connections, used in turn.
    pub connections: usize,
}

/// What an open run came to.
pub struct Open {
    /// From due to answered.
    pub latency: Histogram,
    /// From sent to answered.
    pub service: Histogram,
    /// From due to sent.
    pub lag: Histogram,
    /// Calls not sent because too many were under way.
    pub dropped: u64,
    /// Calls per second that were answered.
    pub rate: f64,
    /// Why the run says nothing; empty when it is valid.
    pub invalid: Vec<String>,
}

#[derive(Default)]
struct Counters {
    under_way: Cell<usize>,
    failed: RefCell<Option<String>>,
}

struct Histograms {
    latency: Histogram,
    service: Histogram,
    lag: Histogram,
}

/// Runs one plan against one server.
pub async fn run(target: &Target, frames: &Rc<[Bytes]>, plan: Plan) -> anyhow::Result<Open> {
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(Connection::open(target.address).await?);
    }
    let local = LocalSet::new();
    let measured = local.run_until(send(&connections, frames, plan)).await?;
    Ok(measured)
}

async fn send(connections: &[Connection], frames: &Rc<[Bytes]>, plan: Plan) -> anyhow::Result<Open> {
    let counters = Rc::new(Counters::default());
    let histograms = Rc::new(RefCell::new(Histograms {
        latency: Histogram::new(),
        service: Histogram::new(),
        lag: Histogram::new(),
    }));
    let mut rng = SplitMix64(plan.seed);
    let started = Instant::now();
    let counted_from = plan.warm_up;
    let (mut due, mut number, mut dropped, mut planned) = (Duration::ZERO, 0_usize, 0_u64, 0_u64);
    while due < plan.warm_up + plan.time {
        wait_until(started + due).await;
        let counted = due >= counted_from;
        planned += u64::from(counted);
        if counters.under_way.get() >= IN_FLIGHT_MAX {
            dropped += 1;
        } else {
            let connection = connections[number % connections.len()].clone();
            let frame = frames[number % frames.len()].clone();
            counters.under_way.set(counters.under_way.get() + 1);
            let (counters, histograms) = (Rc::clone(&counters), Rc::clone(&histograms));
            let due_at = started + due;
            tokio::task::spawn_local(async move {
                let sent = Instant::now();
                let outcome = connection.decide(frame).await;
                let answered = Instant::now();
                counters.under_way.set(counters.under_way.get() - 1);
                if let Err(error) = outcome {
                    counters.failed.borrow_mut().get_or_insert_with(|| format!("{error:#}"));
                } else if counted {
                    let mut all = histograms.borrow_mut();
                    all.latency.record((answered - due_at).as_nanos() as u64);
                    all.service.record((answered - sent).as_nanos() as u64);
                    all.lag.record((sent - due_at).as_nanos() as u64);
                }
            });
        }
        number += 1;
        due += gap(&mut rng, plan);
    }
    while counters.under_way.get() > 0 {
        tokio::task::yield_now().await;
    }
    let elapsed = started.elapsed().saturating_sub(plan.warm_up);
    if let Some(error) = counters.failed.take() {
        anyhow::bail!("a call failed: {error}");
    }
    let Histograms { latency, service, lag } =
        histograms.replace(Histograms { latency: Histogram::new(), service: Histogram::new(), lag: Histogram::new() });
    let rate = latency.count() as f64 / elapsed.as_secs_f64();
    let mut open = Open { latency, service, lag, dropped, rate, invalid: Vec::new() };
    open.judge(planned as f64 / plan.time.as_secs_f64());
    Ok(open)
}

impl Open {
    /// Notes why the run says nothing. `planned` is the rate of the schedule.
    fn judge(&mut self, planned: f64) {
        let (lag, p50) = (self.lag.quantile_ns(0.99) as f64, self.latency.quantile_ns(0.5) as f64);
        if lag > p50 * LAG_SHARE_MAX {
            self.invalid.push(format!(
                "the generator's lag p99 {:.0} us is over 25 % of p50 {:.0} us",
                lag / 1e3,
                p50 / 1e3
            ));
        }
        if self.dropped > 0 {
            self.invalid.push(format!("{} calls were dropped", self.dropped));
        }
        if self.rate < planned * RATE_SHARE_MIN {
            self.invalid.push(format!("the rate was {:.0}/s instead of {planned:.0}/s", self.rate));
        }
    }
}

/// The time to the next call.
pub fn gap(rng: &mut SplitMix64, plan: Plan) -> Duration {
    let mean = 1.0 / plan.rate;
    Duration::from_secs_f64(match plan.arrivals {
        Arrivals::Constant => mean,
        Arrivals::Poisson => -rng.unit().ln() * mean,
    })
}

/// Sleeps while the deadline is far, then yields, so that replies are read
/// while waiting and the deadline is met to microseconds.
pub async fn wait_until(deadline: Instant) {
    loop {
        let now = Instant::now();
        let Some(left) = deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else { return };
        if left > SPIN_BEFORE {
            tokio::time::sleep(left - SPIN_BEFORE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}
