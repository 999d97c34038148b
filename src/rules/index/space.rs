//! The rows of one part of engagement policy: for every offer its first row at
//! its slot, and behind all offers the further rows of those that have some.

use std::sync::Arc;

use crate::{
    domain::{BLOCK_BITS, Block, Facts, OfferSet, OfferSlot},
    rules::Condition,
};

use super::{
    columns::{Column, Found},
    live::Live,
    residual::Residuals,
    subjects::{OddValue, Readings, Subjects},
};

/// Cells that are found before their rows are met: their reads from memory
/// overlap.
const FOUND_TOGETHER: usize = 8;

/// The rows of one policy and their literals.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// The condition of each offer; empty when no offer has one.
    pub conditions: Box<[Option<Arc<Condition>>]>,
    /// Rows of which something can come; empty for all.
    pub possible: Box<[Block]>,
    /// The offers of the rows behind the offers.
    pub owners: Box<[u32]>,
    /// What most rows ask comes first.
    pub columns: Box<[Column]>,
    pub residuals: Residuals,
}

/// What one policy's question needs beside its facts.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub readings: Readings,
    live: Live,
    members: Vec<u32>,
}

impl Space {
    /// Keeps the offers that have a row of which every literal is satisfied.
    /// Leaves the set as it is when a value is odd.
    pub fn keep(
        &self,
        (subjects, facts): (&Subjects, &Facts<'_>),
        buffers: &mut Buffers,
        set: &mut OfferSet,
    ) -> Result<(), OddValue> {
        let Buffers { readings, live, members } = buffers;
        self.start(live, set);
        for columns in self.columns.chunks(FOUND_TOGETHER) {
            if live.blocks.is_empty() {
                break;
            }
            let mut found = [Found::Cell(&[], &[]); FOUND_TOGETHER];
            for (column, found) in columns.iter().zip(&mut found) {
                *found = column.find((subjects, facts), readings)?;
            }
            for found in &found[..columns.len()] {
                match found {
                    Found::Cell(bits, flips) => live.meet_but(bits, flips),
                    Found::Members(set) => set.meet((subjects, facts), members, live),
                }
            }
        }
        self.look_closer((subjects, facts), readings, live)?;
        let first = set.blocks().len();
        set.blocks_mut().copy_from_slice(&live.rows[..first]);
        for block in live.blocks.iter().filter(|block| **block as usize >= first) {
            for row in rows_of(*block, &live.rows[*block as usize]) {
                set.insert(OfferSlot(self.owners[row as usize - first * BLOCK_BITS]));
            }
        }
        Ok(())
    }

    /// The rows of the offers in the set.
    fn start(&self, live: &mut Live, set: &OfferSet) {
        let first = set.blocks().len();
        live.reset(first + self.owners.len().div_ceil(BLOCK_BITS));
        live.rows[..first].copy_from_slice(set.blocks());
        let (offers, further) = live.rows.split_at_mut(first);
        let offers = offers.as_flattened();
        for (word, owners) in further.as_flattened_mut().iter_mut().zip(self.owners.chunks(64)) {
            for (bit, owner) in owners.iter().enumerate() {
                *word |= (offers[*owner as usize >> 6] >> (owner & 63) & 1) << bit;
            }
        }
        for (rows, possible) in live.rows.as_flattened_mut().iter_mut().zip(self.possible.as_flattened()) {
            *rows &= possible;
        }
        live.find_blocks();
    }

    /// Takes out the rows whose remaining literals are not satisfied.
    fn look_closer(
        &self,
        about: (&Subjects, &Facts<'_>),
        readings: &mut Readings,
        live: &mut Live,
    ) -> Result<(), OddValue> {
        for at in 0..live.blocks.len() {
            let block = live.blocks[at];
            let mut asking = live.rows[block as usize];
            asking.iter_mut().zip(self.residuals.rows(block)).for_each(|(row, having)| *row &= having);
            for row in rows_of(block, &asking) {
                if !self.residuals.hold(row, about, readings)? {
                    live.remove(row);
                }
            }
        }
        Ok(())
    }

    /// Keeps the offers whose condition is true by walking each.
    pub fn walk(&self, facts: &Facts<'_>, set: &mut OfferSet) {
        for (block, rows) in (0_u32..).zip(set.blocks_mut()) {
            for row in rows_of(block, &rows.clone()) {
                if let Some(Some(condition)) = self.conditions.get(row as usize)
                    && !condition.holds(facts)
                {
                    rows[row as usize / 64 % rows.len()] &= !(1 << (row % 64));
                }
            }
        }
    }

    /// How many offers it takes less time to walk than to look up.
    pub fn worth_walking_max(&self) -> usize {
        let blocks = (self.conditions.len() + self.owners.len()) / BLOCK_BITS;
        self.columns.len() * (16 + blocks) / 16
    }

    /// Memory it owns, bytes; the conditions are the offers' own.
    pub fn bytes(&self) -> usize {
        self.conditions.len() * size_of::<Option<Arc<Condition>>>()
            + self.possible.len() * size_of::<Block>()
            + self.owners.len() * size_of::<u32>()
            + self.columns.iter().map(|c| size_of::<Column>() + c.bytes()).sum::<usize>()
            + self.residuals.bytes()
    }
}

/// The rows of a block's bits, ascending.
fn rows_of(block: u32, bits: &Block) -> impl Iterator<Item = u32> + use<> {
    let bits = *bits;
    (0_u32..).zip(bits).flat_map(move |(at, word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (bit < 64).then_some(block * BLOCK_BITS as u32 + at * 64 + bit)
        })
    })
}
