//! How streams give way. A serving thread answers single calls and streams in
//! turn: a stream works in slices, lets everything else go first between two of
//! them, and pauses while much else is under way.

use std::time::{Duration, Instant};

use crate::app::App;

use super::super::traffic::{INTERACTIVE_MAX, Traffic};
use crate::telemetry::metrics;

/// How long a slice is while nobody else calls: so long may the first call wait.
const SLICE: Duration = Duration::from_micros(250);
/// After a single call slices are one question long for this time.
const BUSY_FOR: Duration = Duration::from_millis(50);
/// How long a stream gives way at most before it answers one slice, so that it
/// moves on under any load.
const GIVE_WAY_MAX: Duration = Duration::from_millis(20);
/// How long a stream waits for a log that does not keep up before it answers one
/// slice: one that is full may stay so, which has to be told.
const LOG_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often it looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The pace of one stream.
pub struct Pace {
    /// When the slice began.
    since: Instant,
    /// Single calls that had come by then.
    arrivals: u64,
    /// When the last of them was seen.
    busy: Option<Instant>,
}

impl Pace {
    /// At the beginning of a slice.
    pub fn new(traffic: &Traffic) -> Self {
        Self { since: Instant::now(), arrivals: traffic.arrivals(), busy: None }
    }

    /// Whether the slice is over.
    pub fn over(&mut self, traffic: &Traffic) -> bool {
        let (now, arrivals) = (Instant::now(), traffic.arrivals());
        if arrivals != self.arrivals {
            self.arrivals = arrivals;
            self.busy = Some(now);
        }
        let busy = self.busy.is_some_and(|at| now.duration_since(at) < BUSY_FOR);
        busy || now.duration_since(self.since) >= SLICE
    }

    /// Lets everything else go first, then begins a slice. `leaving` ends
    /// a wait: the service stops, or the caller has gone.
    pub async fn rest(&mut self, traffic: &Traffic, app: &App, leaving: impl Fn() -> bool) {
        tokio::task::yield_now().await;
        let mut began = Instant::now();
        let too_busy = |began: Instant| traffic.interactive() > INTERACTIVE_MAX && began.elapsed() < GIVE_WAY_MAX;
        let log_lags = |began: Instant| !app.log_keeps_up() && began.elapsed() < LOG_WAIT_MAX;
        if too_busy(began) || log_lags(began) {
            metrics().streams_gave_way.increment(1);
            while (too_busy(began) || log_lags(began)) && !leaving() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            began = Instant::now();
        }
        self.since = began;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_slice_ends_at_once_while_others_call() {
        let traffic = Arc::new(Traffic::default());
        let mut pace = Pace::new(&traffic);
        // as if it had just begun, however slow this machine is
        pace.since = Instant::now() + Duration::from_secs(3_600);
        assert!(!pace.over(&traffic));
        drop(traffic.call());
        assert!(pace.over(&traffic));
        pace.busy = pace.busy.and_then(|at| at.checked_sub(BUSY_FOR));
        assert!(!pace.over(&traffic));
        pace.since = Instant::now().checked_sub(SLICE).unwrap();
        assert!(pace.over(&traffic));
    }
}
