//! The one service clock, and the randomness of decision ids.
//!
//! Replicas share the clock of Redis: system time plus an offset to Redis `TIME`,
//! taken as in NTP (RFC 5905, section 10: of the last samples the one with the
//! shortest round trip counts) and approached slowly, so that time never goes
//! backwards. While Redis is away the last offset holds.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    domain::{
        DecisionId, Timestamp,
        time::{DAY_US, SECOND_US},
    },
    store::redis::{TimeSample, system_us},
    telemetry::{metrics, names},
};

use super::App;

/// A latest time further in the future than this is a mistake, microseconds.
const AHEAD_US_MAX: i64 = DAY_US;
/// The largest offset to the clock of Redis; a larger one is a mistake,
/// microseconds.
pub const OFFSET_US_MAX: i64 = DAY_US;
/// An offset that grows by more is taken at once: time may jump forward,
/// microseconds.
const STEP_US: i64 = SECOND_US;
/// Between two questions for the time.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);
/// How long one may take.
const SAMPLE_MAX: Duration = Duration::from_millis(250);
/// Samples of which the best counts.
const SAMPLES_MAX: usize = 8;
/// Samples in a row that contradict the others and are believed: a clock was set.
const CONTRADICTIONS_MAX: usize = 3;
/// Two samples may differ by so much more than their round trips explain,
/// microseconds.
const TOLERANCE_US: i64 = 10_000;
/// Between two steps towards the offset.
const SLEW_INTERVAL: Duration = Duration::from_millis(100);
/// How much slower time may run to get an offset smaller, in a hundred.
const SLOWER_PERCENT: i64 = 90;
/// How much faster to get it larger, in a hundred.
const FASTER_PERCENT: i64 = 50;

/// What a clock begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStart {
    /// What the clock of Redis said, if it was asked.
    pub sample: Option<TimeSample>,
    /// How wrong the system time is, microseconds; for rehearsals.
    pub skew_us: i64,
}

/// System time with an offset, that never goes backwards.
#[derive(Debug, Default)]
pub struct Clock {
    last_us: AtomicI64,
    offset_us: AtomicI64,
    /// How wrong the system time is, in a rehearsal.
    skew_us: i64,
}

impl Clock {
    /// A clock that is never before the latest time that was written down, so
    /// that times do not go backwards over a restart either.
    pub fn after(latest: Timestamp, start: ClockStart) -> Self {
        let clock = Self { skew_us: start.skew_us, ..Self::default() };
        if let Some(offset_us) = start.sample.and_then(|sample| clock.offset_of(&sample)) {
            clock.offset_us.store(offset_us, Relaxed);
        }
        let ahead_us = latest.since_us(clock.now());
        if ahead_us > AHEAD_US_MAX {
            tracing::error!(
                ahead_s = ahead_us / SECOND_US,
                "the log holds times of the future: set the system time right; it is used as it is"
            );
        } else {
            clock.last_us.fetch_max(latest.0, Relaxed);
        }
        clock
    }

    /// The moment now; never before an earlier answer.
    pub fn now(&self) -> Timestamp {
        let now_us = self.system_us().saturating_add(self.offset_us.load(Relaxed));
        let before = self.last_us.fetch_max(now_us, Relaxed);
        Timestamp(now_us.max(before))
    }

    fn system_us(&self) -> i64 {
        system_us().saturating_add(self.skew_us)
    }

    /// What is added to the system time, microseconds.
    pub fn offset_us(&self) -> i64 {
        self.offset_us.load(Relaxed)
    }

    /// The offset that a sample tells; none when that cannot be.
    fn offset_of(&self, sample: &TimeSample) -> Option<i64> {
        let offset_us = sample.redis_us.saturating_sub(sample.system_us.saturating_add(self.skew_us));
        (offset_us.abs() <= OFFSET_US_MAX).then_some(offset_us)
    }

    /// Goes a step towards an offset, for the time since the last one.
    fn approach(&self, target_us: i64, elapsed: Duration) {
        let elapsed_us = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        let now_us = self.offset_us();
        self.offset_us.store(approached(now_us, target_us, elapsed_us), Relaxed);
    }

    /// A fresh decision id for a moment.
    pub fn decision_id(&self, now: Timestamp) -> DecisionId {
        let unix_ms = u64::try_from(now.millis()).unwrap_or(0);
        DecisionId::new(unix_ms, (u128::from(random_u64()) << 64) | u128::from(random_u64()))
    }
}

/// The offset after a time on its way to another.
fn approached(now_us: i64, target_us: i64, elapsed_us: i64) -> i64 {
    let percent = |percent: i64| elapsed_us.saturating_mul(percent) / 100;
    match target_us.saturating_sub(now_us) {
        ahead if ahead > STEP_US => target_us,
        ahead if ahead >= 0 => now_us + ahead.min(percent(FASTER_PERCENT)),
        behind => now_us - (-behind).min(percent(SLOWER_PERCENT)),
    }
}

/// The last samples, of which the best tells the offset.
#[derive(Debug, Default)]
struct Samples {
    /// Offsets and round trips, microseconds.
    kept: VecDeque<(i64, i64)>,
    /// Those that contradict the kept ones.
    contradicting: Vec<(i64, i64)>,
}

impl Samples {
    /// Takes a sample; false when it is passed over as an outlier.
    fn take(&mut self, sample: (i64, i64)) -> bool {
        let fits = self.best().is_none_or(|best| {
            let differ_us = best.0.saturating_sub(sample.0).saturating_abs();
            differ_us <= (best.1 + sample.1) / 2 + TOLERANCE_US
        });
        if !fits {
            self.contradicting.push(sample);
            if self.contradicting.len() < CONTRADICTIONS_MAX {
                return false;
            }
            self.kept = std::mem::take(&mut self.contradicting).into();
            return true;
        }
        self.contradicting.clear();
        self.kept.push_back(sample);
        if self.kept.len() > SAMPLES_MAX {
            self.kept.pop_front();
        }
        true
    }

    fn best(&self) -> Option<(i64, i64)> {
        self.kept.iter().copied().min_by_key(|(_, round_trip_us)| *round_trip_us)
    }
}

impl App {
    /// Follows the clock of Redis. Never ends: run it as a background task of a
    /// service with a shared store.
    pub async fn follow_clock(self: Arc<Self>) {
        let Some(remote) = self.store.remote() else { return std::future::pending().await };
        let (offset, outliers) =
            (metrics().gauge(names::CLOCK_OFFSET), metrics().counter(names::CLOCK_OUTLIERS, Vec::new()));
        let mut samples = Samples::default();
        let mut asked_at: Option<Instant> = None;
        let mut stepped_at = Instant::now();
        let mut ticks = tokio::time::interval(SLEW_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if asked_at.is_none_or(|at| at.elapsed() >= SAMPLE_INTERVAL) {
                asked_at = Some(Instant::now());
                // while redis is away the last offset holds
                if let Ok(sample) = remote.client.time(Instant::now() + SAMPLE_MAX).await {
                    let told = self.clock.offset_of(&sample).map(|offset_us| (offset_us, sample.round_trip_us));
                    if !told.is_some_and(|told| samples.take(told)) {
                        outliers.increment(1);
                    }
                }
            }
            if let Some((target_us, _)) = samples.best() {
                self.clock.approach(target_us, stepped_at.elapsed());
            }
            stepped_at = Instant::now();
            offset.set(self.clock.offset_us() as f64 / 1e6);
        }
    }
}

thread_local! {
    static SEED: Cell<Option<[u64; 2]>> = const { Cell::new(None) };
}

/// The next number of this thread's stream (SplitMix64, Steele et al. 2014),
/// seeded by the operating system. Not for secrets.
fn random_u64() -> u64 {
    SEED.with(|seed| {
        let [state, salt] = seed
            .get()
            .unwrap_or_else(|| [getrandom::u64().unwrap_or(0x9e37_79b9), getrandom::u64().unwrap_or(0x85eb_ca6b)]);
        let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        seed.set(Some([state, salt]));
        let mut z = state ^ salt;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_after_what_was_written_unless_that_is_far_ahead() {
        let now = Clock::default().now();
        let written = now.plus_us(DAY_US / 2);
        let after = |latest| Clock::after(latest, ClockStart::default());
        assert_eq!(after(written).now(), written);
        assert!(after(now.plus_us(2 * DAY_US)).now() < written);
        assert!(after(Timestamp(i64::MIN)).now() >= now);
    }

    #[test]
    fn never_goes_backwards_and_ids_carry_the_time() {
        let clock = Clock::default();
        let future = Timestamp(clock.now().0 + 60_000_000);
        clock.last_us.store(future.0, Relaxed);
        assert_eq!(clock.now(), future);
        let id = clock.decision_id(future);
        assert_eq!(id.unix_ms() as i64, future.millis());
        assert_ne!(id, clock.decision_id(future));
        let uuid = uuid::Uuid::from_u128(id.0);
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
    }

    fn sample(redis_us: i64, round_trip_us: i64) -> TimeSample {
        TimeSample { redis_us, system_us: system_us(), round_trip_us }
    }

    #[test]
    fn clocks_an_hour_apart_agree_by_the_clock_of_redis() {
        let hour_us = 3_600 * SECOND_US;
        let redis_us = system_us() - 5 * hour_us;
        let of = |skew_us| {
            Clock::after(Timestamp(i64::MIN), ClockStart { sample: Some(sample(redis_us, 100)), skew_us }).now().0
        };
        for skew_us in [0, hour_us, -hour_us] {
            assert!((of(skew_us) - redis_us).abs() < 60 * SECOND_US, "{skew_us}");
        }
        // a clock of redis that cannot be is not followed
        let far = ClockStart { sample: Some(sample(system_us() + 2 * OFFSET_US_MAX, 100)), skew_us: 0 };
        assert_eq!(Clock::after(Timestamp(i64::MIN), far).offset_us(), 0);
    }

    #[test]
    fn an_offset_is_approached_and_time_goes_on() {
        // forward: slowly when it is near, at once when it is far
        assert_eq!(approached(0, 300_000, 100_000), 50_000);
        assert_eq!(approached(0, 20_000, 100_000), 20_000);
        assert_eq!(approached(0, 10 * STEP_US, 100_000), 10 * STEP_US);
        // backward: never faster than time itself
        assert_eq!(approached(0, -10 * STEP_US, 100_000), -90_000);
        assert_eq!(approached(0, -40_000, 100_000), -40_000);
        assert_eq!(approached(5, 5, 100_000), 5);
    }

    #[test]
    fn an_outlier_is_passed_over_and_a_clock_that_was_set_is_followed() {
        let mut samples = Samples::default();
        assert!(samples.take((1_000, 200)));
        // a slow one that its round trip explains is taken, and does not count
        assert!(samples.take((90_000, 200_000)));
        assert_eq!(samples.best(), Some((1_000, 200)));
        assert!(!samples.take((5_000_000, 200)));
        assert!(samples.take((1_100, 100)));
        assert_eq!(samples.best(), Some((1_100, 100)));
        for (place, taken) in [false, false, true].into_iter().enumerate() {
            assert_eq!(samples.take((5_000_000, 300)), taken, "{place}");
        }
        assert_eq!(samples.best(), Some((5_000_000, 300)));
        for _ in 0..2 * SAMPLES_MAX {
            assert!(samples.take((5_000_000, 400)));
        }
        assert_eq!(samples.kept.len(), SAMPLES_MAX);
    }
}
