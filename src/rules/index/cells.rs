//! A column of bits per cell of an ordered subject, in memory that is linear in
//! the number of literals: whole columns at intervals, and between them the rows
//! that flip from cell to cell.

use crate::domain::Block;

use super::live::{NONE, put};

/// Bounds between two that are searched first: what is searched then is in a
/// few cache lines.
const BOUNDS_APART: usize = 32;
/// The least flips from one whole column to the next.
const FLIPS_MIN: usize = 8;

/// The cells of one subject in one space of rows.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// The first key of every cell but the first, ascending.
    bounds: Box<[i64]>,
    /// The bounds to search first: the first and every 32nd after it.
    marks: Box<[i64]>,
    /// How many flips come before each cell's column, one more than bounds.
    starts: Box<[u32]>,
    /// The rows that flip, from the first cell to the last.
    flips: Box<[u32]>,
    /// Whole columns at every so many flips and after the last.
    columns: Box<[Block]>,
    /// Flips from one whole column to the next.
    spacing: usize,
    /// Blocks of a column.
    blocks: usize,
}

impl Cells {
    /// From the column of the least key and the rows that flip at each key.
    pub fn of(mut first: Vec<Block>, mut flips: Vec<(i64, u32)>, spacing: usize) -> Self {
        flips.sort_unstable();
        let (blocks, spacing) = (first.len(), spacing.max(FLIPS_MIN));
        let (mut bounds, mut starts) = (Vec::new(), vec![0]);
        let mut columns = Vec::with_capacity(blocks * (flips.len().div_ceil(spacing) + 1));
        for (at, (key, row)) in flips.iter().enumerate() {
            if bounds.last() != Some(key) {
                bounds.push(*key);
                starts.push(at as u32);
            }
            if at % spacing == 0 {
                columns.extend_from_slice(&first);
            }
            if let Some(start) = starts.last_mut() {
                *start = at as u32 + 1;
            }
            let word = &mut first.as_flattened_mut()[*row as usize >> 6];
            *word ^= 1 << (row & 63);
        }
        columns.extend_from_slice(&first);
        Self {
            marks: bounds.iter().copied().step_by(BOUNDS_APART).collect(),
            bounds: bounds.into(),
            starts: starts.into(),
            flips: flips.into_iter().map(|(_, row)| row).collect(),
            columns: columns.into(),
            spacing,
            blocks,
        }
    }

    /// The whole column nearest to a key's, and the rows in which they differ.
    #[inline]
    pub fn at(&self, key: i64) -> (&[Block], &[u32]) {
        let cell = self.cell(key);
        let wanted = self.starts[cell] as usize;
        let place = |column: usize| (column * self.spacing).min(self.flips.len());
        let before = wanted / self.spacing;
        let nearer_after = wanted - place(before) > place(before + 1) - wanted;
        let column = before + usize::from(nearer_after);
        let from = place(column);
        let flips = if from <= wanted { &self.flips[from..wanted] } else { &self.flips[wanted..from] };
        (&self.columns[column * self.blocks..(column + 1) * self.blocks], flips)
    }

    /// How many bounds a key has reached.
    #[inline]
    fn cell(&self, key: i64) -> usize {
        let Some(mark) = self.marks.partition_point(|bound| *bound <= key).checked_sub(1) else { return 0 };
        let from = mark * BOUNDS_APART;
        let near = &self.bounds[from..(from + BOUNDS_APART).min(self.bounds.len())];
        from + near.partition_point(|bound| *bound <= key)
    }

    /// Memory it owns, bytes.
    pub fn bytes(&self) -> usize {
        (self.bounds.len() + self.marks.len()) * size_of::<i64>()
            + (self.starts.len() + self.flips.len()) * size_of::<u32>()
            + self.columns.len() * size_of::<Block>()
    }
}

/// A column in which every row is in but these.
pub(super) fn all_but(blocks: usize, rows: impl Iterator<Item = u32>) -> Vec<Block> {
    let mut column = vec![NONE.map(|_| u64::MAX); blocks];
    rows.for_each(|row| put(&mut column, row, false));
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_the_flips_up_to_it() {
        let blocks = 3;
        for spacing in [1, 40, 5_000] {
            let flips: Vec<(i64, u32)> =
                (0..1_000_u32).map(|n| (i64::from(n * 7_919 % 300) - 150, n * 31 % 1_536)).collect();
            let cells = Cells::of(all_but(blocks, 0..100), flips.clone(), spacing);
            for key in (-160..160).chain([i64::MIN, i64::MAX]) {
                let mut wanted = all_but(blocks, 0..100);
                for (_, row) in flips.iter().filter(|(at, _)| *at <= key) {
                    wanted.as_flattened_mut()[*row as usize >> 6] ^= 1 << (row & 63);
                }
                let (column, differing) = cells.at(key);
                assert!(differing.len() <= spacing.max(FLIPS_MIN) / 2, "{} rows differ", differing.len());
                let mut got = column.to_vec();
                for row in differing {
                    got.as_flattened_mut()[*row as usize >> 6] ^= 1 << (row & 63);
                }
                assert_eq!(got, wanted, "key {key}, spacing {spacing}");
            }
        }
    }
}
