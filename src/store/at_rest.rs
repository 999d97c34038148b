//! Customers at rest, for who looks at some of them.

use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

use crate::domain::CustomerKey;

use super::{
    HotProfile, Store, StoreError,
    embedded::{DATA_KEYS, Embedded, PROFILES},
};

/// Some customers at rest.
#[derive(Clone, Debug, Default)]
pub struct AtRest {
    /// Those with the smallest keys.
    pub profiles: Vec<Arc<HotProfile>>,
    /// How many there are.
    pub customers: u64,
}

impl Store {
    /// At most so many customers of the embedded store, in order of their
    /// keys. A key is a keyed hash: its order has nothing to do with the
    /// person, and the same people come each time. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn some_at_rest(&self, most: usize) -> Result<AtRest, StoreError> {
        self.shared.mended(self.shared.embedded.some_profiles(most))
    }
}

impl Embedded {
    fn some_profiles(&self, most: usize) -> Result<AtRest, StoreError> {
        let (rows, customers) = self.with("reading some profiles", |database| {
            let transaction = database.begin_read()?;
            let (table, slots) = (transaction.open_table(PROFILES)?, transaction.open_table(DATA_KEYS)?);
            let mut rows = Vec::new();
            for row in table.iter()?.take(most) {
                let (key, value) = row?;
                let slot = slots.get(key.value())?.map(|slot| slot.value());
                rows.extend(slot.map(|slot| (CustomerKey(key.value()), slot, value.value().to_vec())));
            }
            Ok((rows, table.len()?))
        })?;
        let mut profiles = Vec::with_capacity(rows.len());
        for (key, slot, row) in rows {
            profiles.extend(self.open_profile(key, slot, &row)?.map(Arc::new));
        }
        Ok(AtRest { profiles, customers })
    }
}
