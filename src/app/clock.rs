//! The one service clock, and the randomness of decision ids.

use std::{
    cell::Cell,
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::domain::{
    DecisionId, Timestamp,
    time::{DAY_US, SECOND_US},
};

/// A latest time further in the future than this is a mistake, microseconds.
const AHEAD_US_MAX: i64 = DAY_US;

/// System time that never goes backwards.
#[derive(Debug, Default)]
pub struct Clock {
    last_us: AtomicI64,
}

impl Clock {
    /// A clock that is never before the latest time that was written down, so
    /// that times do not go backwards over a restart either.
    pub fn after(latest: Timestamp) -> Self {
        let clock = Self::default();
        let ahead_us = latest.since_us(clock.now());
        if ahead_us > AHEAD_US_MAX {
            tracing::error!(
                ahead_s = ahead_us / SECOND_US,
                "the log holds times of the future: set the system time right; it is used as it is"
            );
        } else {
            clock.last_us.fetch_max(latest.0, Ordering::Relaxed);
        }
        clock
    }

    /// The moment now; never before an earlier answer.
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let before = self.last_us.fetch_max(now_us, Ordering::Relaxed);
        Timestamp(now_us.max(before))
    }

    /// A fresh decision id for a moment.
    pub fn decision_id(&self, now: Timestamp) -> DecisionId {
        let unix_ms = u64::try_from(now.millis()).unwrap_or(0);
        DecisionId::new(unix_ms, (u128::from(random_u64()) << 64) | u128::from(random_u64()))
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
        assert_eq!(Clock::after(written).now(), written);
        assert!(Clock::after(now.plus_us(2 * DAY_US)).now() < written);
        assert!(Clock::after(Timestamp(i64::MIN)).now() >= now);
    }

    #[test]
    fn never_goes_backwards_and_ids_carry_the_time() {
        let clock = Clock::default();
        let future = Timestamp(clock.now().0 + 60_000_000);
        clock.last_us.store(future.0, Ordering::Relaxed);
        assert_eq!(clock.now(), future);
        let id = clock.decision_id(future);
        assert_eq!(id.unix_ms() as i64, future.millis());
        assert_ne!(id, clock.decision_id(future));
        let uuid = uuid::Uuid::from_u128(id.0);
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
    }
}
