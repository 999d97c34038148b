//! Customers at rest, for who looks at some of them.

use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::{
    HotProfile, Store, StoreError, codec,
    embedded::{Embedded, PROFILES},
    seal::DataKey,
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
            let table = database.begin_read()?.open_table(PROFILES)?;
            let mut rows = Vec::new();
            for row in table.iter()?.take(most) {
                let (_, value) = row?;
                rows.push(value.value().to_vec());
            }
            Ok((rows, table.len()?))
        })?;
        let mut profiles = Vec::with_capacity(rows.len());
        for bytes in rows {
            let Some((data_key, encoded)) = bytes.split_first_chunk::<32>() else {
                return Err(StoreError::Corrupt("a profile in the embedded store has no key".to_owned()));
            };
            profiles.push(Arc::new(HotProfile::new(codec::decode_profile(encoded)?, DataKey(*data_key))));
        }
        Ok(AtRest { profiles, customers })
    }
}
