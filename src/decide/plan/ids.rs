//! Slots by id.

use crate::domain::{OfferId, OfferSlot};

/// Slots by id in an open-addressed table. The ids are hashes already, so that
/// their low bits serve as they are.
#[derive(Debug, Default)]
pub(super) struct IdTable {
    mask: usize,
    entries: Vec<Option<(OfferId, OfferSlot)>>,
}

impl IdTable {
    /// The table of ids that stand in slot order.
    pub fn of(ids: impl ExactSizeIterator<Item = OfferId>) -> Self {
        // INVARIANT: at most half full, so that a search always ends.
        let len = (ids.len() * 2 + 1).next_power_of_two();
        let mut table = Self { mask: len - 1, entries: vec![None; len] };
        for (slot, id) in ids.enumerate() {
            let mut at = id.0 as usize & table.mask;
            while table.entries[at].is_some() {
                at = (at + 1) & table.mask;
            }
            table.entries[at] = Some((id, OfferSlot(slot as u32)));
        }
        table
    }

    /// The slot of an id.
    pub fn get(&self, id: OfferId) -> Option<OfferSlot> {
        let mut at = id.0 as usize & self.mask;
        while let Some((found, slot)) = self.entries.get(at).copied().flatten() {
            if found == id {
                return Some(slot);
            }
            at = (at + 1) & self.mask;
        }
        None
    }
}
