//! When offers run, as one column per moment.

use crate::domain::{BLOCK_BITS, OfferSet, OfferSlot, Timestamp};

use super::cells::{Cells, all_but};

/// The most offers that are looked at one by one: those whose schedule begins or
/// ends between the moment and the nearest whole column.
const SINGLE_MAX: usize = 512;

/// The schedules of all offers.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    /// The first and the last moment by slot; empty when all offers always run.
    times: Box<[(i64, i64)]>,
    cells: Cells,
}

impl Schedules {
    /// Of the offers in order of their slots.
    pub fn of(schedules: &[(Option<Timestamp>, Option<Timestamp>)]) -> Self {
        if schedules.iter().all(|s| *s == (None, None)) {
            return Self::default();
        }
        let mut flips = Vec::new();
        let mut closed_first = Vec::new();
        for (row, (from, until)) in (0_u32..).zip(schedules) {
            if from.zip(*until).is_some_and(|(from, until)| from >= until) {
                closed_first.push(row);
                continue;
            }
            if let Some(from) = from.filter(|from| from.0 > i64::MIN) {
                closed_first.push(row);
                flips.push((from.0, row));
            }
            match until {
                Some(until) if until.0 == i64::MIN => closed_first.push(row),
                Some(until) => flips.push((until.0, row)),
                None => {}
            }
        }
        let blocks = schedules.len().div_ceil(BLOCK_BITS);
        let spacing = (schedules.len() / 64).min(2 * SINGLE_MAX);
        let time =
            |(from, until): &(Option<Timestamp>, Option<Timestamp>)| match until.map(|until| until.0.checked_sub(1)) {
                Some(None) => (i64::MAX, i64::MIN),
                last => (from.map_or(i64::MIN, |t| t.0), last.flatten().unwrap_or(i64::MAX)),
            };
        Self {
            cells: Cells::of(all_but(blocks, closed_first.into_iter()), flips, spacing),
            times: schedules.iter().map(time).collect(),
        }
    }

    /// Keeps the offers that run at a moment.
    pub fn keep(&self, now: Timestamp, set: &mut OfferSet) {
        if self.times.is_empty() {
            return;
        }
        // INVARIANT: the whole column differs in at most half of the spacing.
        let (column, differing) = self.cells.at(now.0);
        let mut kept = [0_u32; SINGLE_MAX];
        let mut count = 0;
        for offer in differing {
            let (first, last) = self.times[*offer as usize];
            let runs = first <= now.0 && now.0 <= last;
            if runs && set.contains(OfferSlot(*offer)) && count < SINGLE_MAX {
                kept[count] = *offer;
                count += 1;
            } else if !runs {
                set.remove(OfferSlot(*offer));
            }
        }
        for (block, column) in set.blocks_mut().iter_mut().zip(column) {
            for (word, bits) in block.iter_mut().zip(column) {
                *word &= bits;
            }
        }
        kept[..count].iter().for_each(|offer| set.insert(OfferSlot(*offer)));
    }

    /// Memory it owns, bytes.
    pub fn bytes(&self) -> usize {
        self.times.len() * size_of::<(i64, i64)>() + self.cells.bytes()
    }
}
