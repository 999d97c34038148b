//! Counts per (offer, channel) that gather between two publications.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::domain::{ChannelId, OfferId};

/// How often each pair was seen.
pub(super) type PairCounts = HashMap<(OfferId, ChannelId), u64, BuildHasherDefault<PairHasher>>;

/// The ids are hashes of names from the rules, or random, already: mixing them
/// is enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PairHasher(u64);

/// Odd, of evenly spread bits: 2^64 divided by the golden ratio (Knuth, The Art
/// of Computer Programming, volume 3, section 6.4).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64((value >> 64) as u64);
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(26) ^ value).wrapping_mul(MULTIPLIER);
    }
}
