//! The sticky holdout: who is never sent marketing, so that lift can be shown.

use crate::{domain::ArmKey, domain::stable_hash64, rules::Ruleset};

/// Whether a known customer is held out of marketing. Depends on the arm key,
/// the salt and the share only; raising the share keeps everybody who was in.
/// Visitors without a profile have no arm and are never held out.
pub fn in_holdout(ruleset: &Ruleset, arm_key: ArmKey) -> bool {
    if ruleset.holdout_share <= 0.0 {
        return false;
    }
    let folded = (arm_key.0 as u64) ^ ((arm_key.0 >> 64) as u64).rotate_left(32);
    let hash = mix(mix(folded).wrapping_add(stable_hash64(&ruleset.holdout_salt)));
    unit(hash) < ruleset.holdout_share
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014): a bijection in which
/// every input bit reaches every output bit.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 53 bits as a number in [0, 1).
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
