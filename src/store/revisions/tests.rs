//! Damage done on purpose: rows that are lost or cannot be read.

use std::sync::atomic::Ordering;

use super::{ACTIVE, CONTROL, REVISIONS, ReadableTable, RulesetHash, Store};

impl Store {
    /// Whether every access of the embedded store fails from now on.
    pub(crate) fn set_failing(&self, failing: bool) {
        self.shared.embedded.failing.store(failing, Ordering::SeqCst);
    }

    /// As a data directory from before revisions were kept.
    pub(crate) fn forget_revisions(&self) {
        let forgotten = self.shared.embedded.with("forgetting", |database| {
            let transaction = database.begin_write()?;
            transaction.open_table(CONTROL)?.remove(ACTIVE)?;
            transaction.open_table(REVISIONS)?.retain(|_, _| false)?;
            Ok(transaction.commit()?)
        });
        forgotten.unwrap();
    }

    /// Writes over the row of a revision, and that of the active one.
    pub(crate) fn damage_revision(&self, hash: RulesetHash) {
        let damaged = self.shared.embedded.with("damaging", |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(REVISIONS)?;
                assert!(table.get(hash.0)?.is_some());
                table.insert(hash.0, &b"damaged"[..])?;
                transaction.open_table(CONTROL)?.insert(ACTIVE, &b"damaged"[..])?;
            }
            Ok(transaction.commit()?)
        });
        damaged.unwrap();
    }
}
