//! When a customer was one with another one that lives on: what was decided
//! meanwhile was decided for both, and is the other one's.

use std::sync::Arc;

use redb::ReadableDatabase;

use crate::domain::{CustomerKey, Timestamp};

use super::{
    Store, StoreError, blocking,
    embedded::Embedded,
    shared::Shared,
    unions::{HOPS_MAX, PARTED},
};

/// A time in which somebody was one with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meanwhile {
    /// Who lived on, and lives on.
    pub survivor: CustomerKey,
    /// When they became one.
    pub from: Timestamp,
    /// When they were two again.
    pub until: Timestamp,
}

impl Embedded {
    fn parted_from(&self, key: CustomerKey) -> Result<Vec<CustomerKey>, StoreError> {
        self.with("reading who was parted", |database| {
            let table = database.begin_read()?.open_table(PARTED)?;
            let others = table.range((key.0, 0)..=(key.0, u128::MAX))?;
            others.map(|row| Ok(CustomerKey(row?.0.value().1))).collect()
        })
    }
}

impl Shared {
    /// The merges by which somebody was taken in, and that were taken back, as
    /// far as they are kept and touch a time. Blocking.
    fn merged_meanwhile(
        &self,
        absorbed: CustomerKey,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Vec<Meanwhile>, StoreError> {
        // what leaves the overlay meanwhile is found twice, never not at all
        let mut others = self.overlay.parted_from(absorbed);
        others.extend(self.mended(self.embedded.parted_from(absorbed))?);
        others.sort_unstable();
        others.dedup();
        let merges = self.merges(&others)?;
        let ended = merges.iter().filter(|merge| merge.absorbed.key == absorbed);
        let spans = ended.filter_map(|merge| {
            let (survivor, from, until) = (merge.survivor.key, merge.at.max(from), merge.undone?.min(until));
            (from <= until).then_some(Meanwhile { survivor, from, until })
        });
        Ok(spans.collect())
    }
}

impl Store {
    /// When customers were one with others that live on: directly, or because
    /// those were taken in by others meanwhile. As far back as merges are kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn meanwhile(&self, customers: Vec<CustomerKey>) -> Result<Vec<Meanwhile>, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let always = (Timestamp(i64::MIN), Timestamp(i64::MAX));
            let mut found: Vec<Meanwhile> = Vec::new();
            for key in &customers {
                found.extend(shared.merged_meanwhile(*key, always)?);
            }
            let mut at = 0;
            while at < found.len() && at < HOPS_MAX {
                let Meanwhile { survivor, from, until } = found[at];
                let further = shared.merged_meanwhile(survivor, (from, until))?;
                found.extend(further.into_iter().filter(|one| !found.contains(one)).collect::<Vec<_>>());
                at += 1;
            }
            found.retain(|one| !customers.contains(&one.survivor));
            Ok(found)
        })
        .await
    }
}
