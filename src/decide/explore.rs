//! Randomness of one decision: a stream seeded by its id.

use crate::domain::DecisionId;

use super::holdout::{mix, unit};

/// SplitMix64 (Steele, Lea, Flood, 2014) over a decision id.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of a decision: equal ids give equal streams.
    pub fn of(decision: DecisionId) -> Self {
        let (high, low) = ((decision.0 >> 64) as u64, decision.0 as u64);
        Self { state: mix(high) ^ mix(low.rotate_left(17)) }
    }

    fn next(&mut self) -> u64 {
        let value = mix(self.state);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        value
    }

    /// True with this probability.
    pub fn chance(&mut self, share: f64) -> bool {
        unit(self.next()) < share
    }

    /// A number below `len`, each equally likely (Lemire's multiply-shift; the
    /// bias is below len / 2^64). 0 when `len` is 0.
    pub fn below(&mut self, len: usize) -> usize {
        ((u128::from(self.next()) * len as u128) >> 64) as usize
    }
}
