//! What changes by offer and segment, within a bound.

use std::collections::HashMap;

/// Most pairs of an offer and a segment that are counted, about 50 MB; changes
/// of the pairs that come after them are left out.
pub const BY_SEGMENT_MAX: usize = 1_000_000;

/// (gained, lost) by (pairing, segment).
#[derive(Debug)]
pub(super) struct BySegment {
    counts: HashMap<(u32, u32), (usize, usize)>,
    len_max: usize,
    left_out: bool,
}

impl Default for BySegment {
    fn default() -> Self {
        Self::up_to(BY_SEGMENT_MAX)
    }
}

impl BySegment {
    /// Nothing counted, and never more than so many pairs.
    pub fn up_to(len_max: usize) -> Self {
        Self { counts: HashMap::new(), len_max, left_out: false }
    }

    /// Counts people of a segment who gain and lose an offer.
    pub fn add(&mut self, at: (u32, u32), (gained, lost): (usize, usize)) {
        if self.counts.len() >= self.len_max && !self.counts.contains_key(&at) {
            self.left_out = true;
            return;
        }
        let sum = self.counts.entry(at).or_default();
        *sum = (sum.0 + gained, sum.1 + lost);
    }

    /// Adds what another counted.
    pub fn unite(&mut self, other: Self) {
        self.left_out |= other.left_out;
        for (at, counts) in other.counts {
            self.add(at, counts);
        }
    }

    /// What was counted of a pair.
    pub fn get(&self, at: (u32, u32)) -> (usize, usize) {
        self.counts.get(&at).copied().unwrap_or_default()
    }

    /// What is to be told about what was left out.
    pub fn note(&self) -> Option<String> {
        let max = self.len_max;
        self.left_out.then(|| {
            format!(
                "the segments of single offers are not complete: more than {max} pairs of an offer and a segment change"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_beyond_the_bound_are_left_out_and_told() {
        let mut counted = BySegment::up_to(2);
        for at in [(0, 0), (0, 1), (0, 0)] {
            counted.add(at, (1, 0));
        }
        assert_eq!((counted.get((0, 0)), counted.note()), ((2, 0), None));
        let mut other = BySegment::default();
        other.add((7, 7), (0, 1));
        other.add((0, 1), (0, 1));
        counted.unite(other);
        assert_eq!((counted.get((7, 7)), counted.get((0, 1))), ((0, 0), (1, 1)));
        assert!(counted.note().is_some_and(|note| note.contains("more than 2 pairs")));
    }
}
