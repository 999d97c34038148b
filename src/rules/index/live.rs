//! The rows that are still in: bits in blocks, of which only those are looked
//! at that still have one.

use crate::domain::{BLOCK_BITS, Block};

/// Bits of no row.
pub(super) const NONE: Block = [0; BLOCK_BITS / 64];

/// The rows that satisfied every column so far.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// A bit per row.
    pub rows: Vec<Block>,
    /// The blocks with rows in them, ascending.
    pub blocks: Vec<u32>,
    /// Where a column differs from the bits at hand. All 0 between columns.
    flipped: Vec<Block>,
}

impl Live {
    /// Starts with no rows in so many blocks. Allocates only when it grows.
    pub fn reset(&mut self, blocks: usize) {
        self.rows.clear();
        self.rows.resize(blocks, NONE);
        if self.flipped.len() < blocks {
            self.flipped.resize(blocks, NONE);
        }
        self.blocks.clear();
    }

    /// Finds the blocks that have rows.
    pub fn find_blocks(&mut self) {
        let filled = self.rows.iter().enumerate().filter(|(_, block)| **block != NONE);
        self.blocks.extend(filled.map(|(at, _)| at as u32));
    }

    /// Takes a row out.
    #[inline]
    pub fn remove(&mut self, row: u32) {
        self.rows.as_flattened_mut()[row as usize >> 6] &= !(1 << (row & 63));
    }

    /// Notes that the next column differs in these rows; twice is not at all.
    #[inline]
    pub fn flip(&mut self, rows: &[u32]) {
        let words = self.flipped.as_flattened_mut();
        for row in rows {
            words[*row as usize >> 6] ^= 1 << (row & 63);
        }
    }

    /// Forgets where the column differed.
    #[inline]
    pub fn forget(&mut self, rows: &[u32]) {
        let words = self.flipped.as_flattened_mut();
        for row in rows {
            words[*row as usize >> 6] = 0;
        }
    }

    /// Keeps the rows of a column of these bits, flipped where noted.
    pub fn meet_flipped(&mut self, bits: &[Block]) {
        let (rows, flipped) = (&mut self.rows, &self.flipped);
        self.blocks.retain(|block| {
            let at = *block as usize;
            let (row, bits, flipped) = (&mut rows[at], &bits[at], &flipped[at]);
            let mut any = 0;
            for word in 0..NONE.len() {
                row[word] &= bits[word] ^ flipped[word];
                any |= row[word];
            }
            any != 0
        });
    }

    /// Keeps the rows of a column of these bits.
    pub fn meet(&mut self, bits: &[Block]) {
        let rows = &mut self.rows;
        self.blocks.retain(|block| {
            let at = *block as usize;
            let (row, bits) = (&mut rows[at], &bits[at]);
            let mut any = 0;
            for word in 0..NONE.len() {
                row[word] &= bits[word];
                any |= row[word];
            }
            any != 0
        });
    }

    /// Keeps the rows of a column of these bits but for flips in these rows.
    pub fn meet_but(&mut self, bits: &[Block], flips: &[u32]) {
        if flips.is_empty() {
            return self.meet(bits);
        }
        self.flip(flips);
        self.meet_flipped(bits);
        self.forget(flips);
    }
}

/// Sets or clears a bit of some blocks.
pub(super) fn put(blocks: &mut [Block], row: u32, bit: bool) {
    let word = &mut blocks.as_flattened_mut()[row as usize >> 6];
    if bit {
        *word |= 1 << (row & 63);
    } else {
        *word &= !(1 << (row & 63));
    }
}
