//! Sets of offers of one ruleset, as bits in blocks that processors like.

use super::OfferSlot;

/// Bits of a block: a cache line.
pub const BLOCK_BITS: usize = 512;
const WORDS: usize = BLOCK_BITS / 64;

/// A block of bits.
pub type Block = [u64; WORDS];

/// A set of offers of one ruleset. Bits beyond the last offer are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferSet {
    /// 512 offers each, by slot.
    blocks: Vec<Block>,
}

impl OfferSet {
    /// The empty set for so many offers.
    pub fn empty(offers: usize) -> Self {
        Self { blocks: vec![[0; WORDS]; offers.div_ceil(BLOCK_BITS)] }
    }

    /// All of so many offers.
    pub fn all(offers: usize) -> Self {
        let mut set = Self::empty(offers);
        for (at, word) in set.blocks.as_flattened_mut().iter_mut().enumerate() {
            let rest = offers.saturating_sub(at * 64);
            *word = if rest >= 64 { u64::MAX } else { (1 << rest) - 1 };
        }
        set
    }

    /// Makes it empty, for so many offers; allocates only when it grows.
    pub fn reset(&mut self, offers: usize) {
        self.blocks.clear();
        self.blocks.resize(offers.div_ceil(BLOCK_BITS), [0; WORDS]);
    }

    /// Makes it equal to another; allocates only when it grows.
    pub fn copy_from(&mut self, other: &Self) {
        self.blocks.clone_from(&other.blocks);
    }

    /// Its blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Its blocks, to change.
    // INVARIANT: who sets bits beyond the last offer breaks counts.
    pub fn blocks_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }

    /// Adds an offer; one outside of the set's size is left out.
    #[inline]
    pub fn insert(&mut self, offer: OfferSlot) {
        let at = offer.index();
        if let Some(block) = self.blocks.get_mut(at / BLOCK_BITS) {
            block[at % BLOCK_BITS / 64] |= 1 << (at % 64);
        }
    }

    /// Removes an offer.
    #[inline]
    pub fn remove(&mut self, offer: OfferSlot) {
        let at = offer.index();
        if let Some(block) = self.blocks.get_mut(at / BLOCK_BITS) {
            block[at % BLOCK_BITS / 64] &= !(1 << (at % 64));
        }
    }

    /// Whether it holds an offer.
    #[inline]
    pub fn contains(&self, offer: OfferSlot) -> bool {
        let at = offer.index();
        self.blocks.get(at / BLOCK_BITS).is_some_and(|block| block[at % BLOCK_BITS / 64] >> (at % 64) & 1 == 1)
    }

    /// How many offers it holds.
    pub fn len(&self) -> usize {
        self.blocks.as_flattened().iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.blocks.as_flattened().iter().all(|word| *word == 0)
    }

    /// Keeps what both hold.
    pub fn intersect(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine & theirs);
    }

    /// Adds what the other holds.
    pub fn unite(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine | theirs);
    }

    /// Removes what the other holds.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine & !theirs);
    }

    // INVARIANT: both are of one ruleset, so equally long.
    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (mine, theirs) in self.blocks.as_flattened_mut().iter_mut().zip(other.blocks.as_flattened()) {
            *mine = with(*mine, *theirs);
        }
    }

    /// The offers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = OfferSlot> + '_ {
        self.blocks.as_flattened().iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let at = index * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(OfferSlot(at as u32))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(offers: usize, members: &[u32]) -> OfferSet {
        let mut set = OfferSet::empty(offers);
        members.iter().for_each(|slot| set.insert(OfferSlot(*slot)));
        set
    }

    #[test]
    fn holds_what_was_put_in() {
        let mut set = of(1_000, &[0, 63, 64, 511, 512, 999]);
        assert_eq!(set.len(), 6);
        assert!(set.contains(OfferSlot(511)) && !set.contains(OfferSlot(510)) && !set.contains(OfferSlot(5_000)));
        set.remove(OfferSlot(64));
        assert_eq!(set.iter().map(|s| s.0).collect::<Vec<_>>(), [0, 63, 511, 512, 999]);
        assert!(!set.is_empty() && OfferSet::empty(1_000).is_empty());
    }

    #[test]
    fn all_ends_with_the_last_offer() {
        for offers in [0, 1, 63, 64, 65, 511, 512, 513, 1_024] {
            assert_eq!(
                OfferSet::all(offers).iter().map(|s| s.index()).collect::<Vec<_>>(),
                (0..offers).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn combines_like_sets() {
        let (a, b) = (of(600, &[1, 2, 599]), of(600, &[2, 3, 599]));
        let with = |f: fn(&mut OfferSet, &OfferSet)| {
            let mut set = a.clone();
            f(&mut set, &b);
            set
        };
        assert_eq!(with(OfferSet::intersect), of(600, &[2, 599]));
        assert_eq!(with(OfferSet::unite), of(600, &[1, 2, 3, 599]));
        assert_eq!(with(OfferSet::subtract), of(600, &[1]));
    }
}
