//! The merges that are kept for a while in the embedded store, found by who lives
//! on, by who was taken in, and by time.

use std::collections::HashMap;
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::domain::{CustomerKey, MergeId, Timestamp};

use super::{
    Merge, StoreError,
    embedded::Embedded,
    layer_rows,
    merges::{opened_row, plain_row},
    row_seal::{Nonces, RowKey, Table},
};

/// (survivor, merge) to who was taken in and when, and the merge with both
/// customers as they were, sealed under the key of who lives on.
const MERGES: TableDefinition<(u128, u128), &[u8]> = TableDefinition::new("merges");
/// (who was taken in, survivor, merge), to find what is kept of who is erased.
/// INVARIANT: one for each row of [`MERGES`], written and removed with it.
const ABSORBED: TableDefinition<(u128, u128, u128), ()> = TableDefinition::new("merges_by_absorbed");
/// (time, survivor, merge), to forget the oldest.
const MERGES_BY_TIME: TableDefinition<(i64, u128, u128), ()> = TableDefinition::new("merges_by_time");

/// Bytes before a sealed merge: the key of who was taken in, and the time.
const HEAD_BYTES: usize = 16 + 8;
/// How long a merge is kept, microseconds: a day longer than it can be taken
/// back, so that a recovery finds what the log takes back.
pub const MERGES_KEPT_US: i64 = 31 * crate::domain::time::DAY_US;
/// Most merges forgotten in one transaction.
const FORGET_LEN_MAX: usize = 10_000;

impl Embedded {
    /// The merges kept under these keys.
    pub fn merges(&self, keys: &[CustomerKey]) -> Result<Vec<Merge>, StoreError> {
        let rows = self.with("reading merges", |database| {
            let table = database.begin_read()?.open_table(MERGES)?;
            let mut rows = Vec::new();
            for key in keys {
                for row in table.range((key.0, 0)..=(key.0, u128::MAX))? {
                    let (at, row) = row?;
                    rows.push((at.value(), row.value().to_vec()));
                }
            }
            Ok(rows)
        })?;
        let mut merges = Vec::with_capacity(rows.len());
        for (at, row) in rows {
            // without a key it was erased meanwhile
            let Some(key) = self.data_key(CustomerKey(at.0))? else { continue };
            let sealed = row.get(HEAD_BYTES..).unwrap_or_default();
            merges.push(opened_row(&RowKey::of(&key).open((Table::Merges, &place(at)), sealed)?)?);
        }
        Ok(merges)
    }

    /// Rows of kept merges: themselves, by who was taken in, and by time.
    #[cfg(test)]
    pub fn merge_rows(&self) -> Result<[u64; 3], StoreError> {
        use redb::ReadableTableMetadata;
        self.with("counting merges", |database| {
            let read = database.begin_read()?;
            Ok([
                read.open_table(MERGES)?.len()?,
                read.open_table(ABSORBED)?.len()?,
                read.open_table(MERGES_BY_TIME)?.len()?,
            ])
        })
    }
}

/// Makes the tables.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(MERGES)?;
    transaction.open_table(ABSORBED)?;
    transaction.open_table(MERGES_BY_TIME)?;
    Ok(())
}

/// What the row of a merge is bound to.
fn place((survivor, id): (u128, u128)) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&survivor.to_le_bytes());
    bytes[16..].copy_from_slice(&id.to_le_bytes());
    bytes
}

/// Who was taken in and when, as it stands before a sealed merge.
fn head_of(row: &[u8]) -> Option<(u128, i64)> {
    let (absorbed, rest) = row.split_first_chunk::<16>()?;
    let (at, _) = rest.split_first_chunk::<8>()?;
    Some((u128::from_le_bytes(*absorbed), i64::from_le_bytes(*at)))
}

/// Removes every merge in which an erased customer was one of the two, whoever
/// lived on.
pub(super) fn erase(transaction: &WriteTransaction, key: CustomerKey) -> Result<(), redb::Error> {
    let mut doomed = Vec::new();
    for row in transaction.open_table(MERGES)?.range((key.0, 0)..=(key.0, u128::MAX))? {
        doomed.push(row?.0.value());
    }
    for row in transaction.open_table(ABSORBED)?.range((key.0, 0, 0)..=(key.0, u128::MAX, u128::MAX))? {
        let (_, survivor, id) = row?.0.value();
        doomed.push((survivor, id));
    }
    remove(transaction, &doomed)
}

fn remove(transaction: &WriteTransaction, doomed: &[(u128, u128)]) -> Result<(), redb::Error> {
    let mut merges = transaction.open_table(MERGES)?;
    let mut absorbed = transaction.open_table(ABSORBED)?;
    let mut by_time = transaction.open_table(MERGES_BY_TIME)?;
    for (survivor, id) in doomed.iter().copied() {
        let head = merges.remove((survivor, id))?.and_then(|row| head_of(row.value()));
        if let Some((who, at)) = head {
            absorbed.remove((who, survivor, id))?;
            by_time.remove((at, survivor, id))?;
        }
    }
    Ok(())
}

/// Writes merges. Of who was erased nothing is written.
pub(super) fn write(
    transaction: &WriteTransaction,
    kept: &HashMap<(CustomerKey, MergeId), Arc<Merge>>,
    nonces: &mut Nonces,
    key_of: &dyn Fn(CustomerKey) -> Result<Option<RowKey>, redb::Error>,
) -> Result<(), redb::Error> {
    let mut merges = transaction.open_table(MERGES)?;
    let mut absorbed = transaction.open_table(ABSORBED)?;
    let mut by_time = transaction.open_table(MERGES_BY_TIME)?;
    let (mut sealed, mut row) = (Vec::new(), Vec::new());
    for ((survivor, id), merge) in kept {
        // without a key it was erased
        let Some(key) = key_of(*survivor)? else { continue };
        let at = (survivor.0, id.0);
        let plain = |into: &mut Vec<u8>| into.extend_from_slice(&plain_row(merge));
        key.seal(nonces, (Table::Merges, &place(at)), &mut sealed, plain).map_err(layer_rows::refused)?;
        row.clear();
        row.extend_from_slice(&merge.absorbed.key.0.to_le_bytes());
        row.extend_from_slice(&merge.at.0.to_le_bytes());
        row.extend_from_slice(&sealed);
        merges.insert(at, &row[..])?;
        absorbed.insert((merge.absorbed.key.0, survivor.0, id.0), ())?;
        by_time.insert((merge.at.0, survivor.0, id.0), ())?;
    }
    Ok(())
}

/// Forgets merges that cannot be taken back any more.
pub(super) fn forget(transaction: &WriteTransaction, now: Timestamp) -> Result<(), redb::Error> {
    let before = now.0.saturating_sub(MERGES_KEPT_US);
    let mut old = Vec::new();
    for row in transaction.open_table(MERGES_BY_TIME)?.range(..(before, 0, 0))?.take(FORGET_LEN_MAX) {
        let (_, survivor, id) = row?.0.value();
        old.push((survivor, id));
    }
    remove(transaction, &old)
}
