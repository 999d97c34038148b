//! The clock of Redis, read so that it can be compared with ours.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::{client::Client, outage::Failure};

/// A time of Redis beside the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSample {
    /// What the clock of Redis said, microseconds since 1970.
    pub redis_us: i64,
    /// What ours said in the middle of the round trip, microseconds since 1970.
    pub system_us: i64,
    /// How long the round trip took, microseconds: the two times may differ by
    /// half of it.
    pub round_trip_us: i64,
}

impl Client {
    /// Asks for the time.
    ///
    /// # Errors
    /// An outage.
    pub async fn time(&self, deadline: Instant) -> Result<TimeSample, Failure> {
        let (begun_us, begun) = (system_us(), Instant::now());
        let answer = self.call(&redis::cmd("TIME"), deadline).await?;
        let round_trip_us = i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        let redis_us = microseconds(&answer).ok_or_else(|| Failure::shape("a time"))?;
        Ok(TimeSample { redis_us, system_us: begun_us.saturating_add(round_trip_us / 2), round_trip_us })
    }
}

fn microseconds(answer: &Value) -> Option<i64> {
    let Value::Array(parts) = answer else { return None };
    let number = |value: &Value| match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse::<i64>().ok(),
        _ => None,
    };
    let [seconds, micros] = parts.as_slice() else { return None };
    number(seconds)?.checked_mul(1_000_000)?.checked_add(number(micros)?)
}

/// The system's time, microseconds since 1970.
pub fn system_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
