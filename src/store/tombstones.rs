//! What stays of erased customers: keyed hashes of their identities and their
//! keys, so that nothing that happened before brings them back. Kept for ever; in
//! memory about 50 bytes each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::domain::{CustomerKey, IdentityHash, Timestamp};

use super::erase::Erasure;

/// Identity to (when it was erased last, how often).
const TOMBSTONES: TableDefinition<u128, (i64, u32)> = TableDefinition::new("tombstones");
/// An identity that somebody else had as well, to when one of those who had it was
/// erased last.
const SPARED: TableDefinition<u128, i64> = TableDefinition::new("spared");
/// Customer to when it was erased.
const ERASED: TableDefinition<u128, i64> = TableDefinition::new("erased");

/// Every tombstone.
#[derive(Debug)]
pub(super) struct Tombstones {
    kept: RwLock<Kept>,
    /// Of the latest erasure: what happened later needs no look.
    latest_us: AtomicI64,
}

/// Tombstones as they are at rest.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub identities: HashMap<IdentityHash, Tombstone>,
    pub spared: HashMap<IdentityHash, Timestamp>,
    pub customers: HashMap<CustomerKey, Timestamp>,
}

/// What is known of an erased identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// When it was erased last.
    pub at: Timestamp,
    /// How often it was erased.
    pub times: u32,
}

impl Tombstones {
    pub fn new(kept: Kept) -> Self {
        let latest = kept.customers.values().map(|at| at.0).max().unwrap_or(i64::MIN);
        Self { kept: RwLock::new(kept), latest_us: AtomicI64::new(latest) }
    }

    /// Adds those of an erasure.
    pub fn add(&self, erasure: &Erasure) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        for hash in &erasure.identities {
            let known = kept.identities.get(hash).copied();
            kept.identities.insert(*hash, erasure.tombstone(known));
        }
        for hash in &erasure.shared {
            let at = kept.spared.entry(*hash).or_insert(erasure.at);
            *at = erasure.at.max(*at);
        }
        kept.customers.extend(erasure.customers.iter().map(|key| (*key, erasure.at)));
        self.latest_us.fetch_max(erasure.at.0, Relaxed);
    }

    /// Whether something that happened then may be of somebody erased.
    pub fn matter(&self, happened: Timestamp) -> bool {
        happened.0 <= self.latest_us.load(Relaxed)
    }

    pub fn of(&self, hash: IdentityHash) -> Option<Tombstone> {
        if self.latest_us.load(Relaxed) == i64::MIN {
            return None;
        }
        self.kept.read().unwrap_or_else(PoisonError::into_inner).identities.get(&hash).copied()
    }

    /// When somebody who shared an identity with others was erased last: what
    /// happened before, and names nobody else, may be of who was.
    pub fn spared(&self, hash: IdentityHash) -> Option<Timestamp> {
        if self.latest_us.load(Relaxed) == i64::MIN {
            return None;
        }
        self.kept.read().unwrap_or_else(PoisonError::into_inner).spared.get(&hash).copied()
    }

    /// When a customer was erased.
    pub fn erased(&self, key: CustomerKey) -> Option<Timestamp> {
        if self.latest_us.load(Relaxed) == i64::MIN {
            return None;
        }
        self.kept.read().unwrap_or_else(PoisonError::into_inner).customers.get(&key).copied()
    }

    /// Erased customers.
    pub fn len(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).customers.len()
    }
}

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(TOMBSTONES)?;
    transaction.open_table(SPARED)?;
    transaction.open_table(ERASED)?;
    Ok(())
}

pub(super) fn read(database: &Database) -> Result<Kept, redb::Error> {
    let transaction = database.begin_read()?;
    let mut kept = Kept::default();
    for row in transaction.open_table(TOMBSTONES)?.iter()? {
        let (hash, value) = row?;
        let (at, times) = value.value();
        kept.identities.insert(IdentityHash(hash.value()), Tombstone { at: Timestamp(at), times });
    }
    for row in transaction.open_table(SPARED)?.iter()? {
        let (hash, at) = row?;
        kept.spared.insert(IdentityHash(hash.value()), Timestamp(at.value()));
    }
    for row in transaction.open_table(ERASED)?.iter()? {
        let (key, at) = row?;
        kept.customers.insert(CustomerKey(key.value()), Timestamp(at.value()));
    }
    Ok(kept)
}

/// Stores those of an erasure; storing them again changes nothing.
pub(super) fn write(transaction: &WriteTransaction, erasure: &Erasure) -> Result<(), redb::Error> {
    let mut tombstones = transaction.open_table(TOMBSTONES)?;
    for hash in &erasure.identities {
        let known = tombstones.get(hash.0)?.map(|value| value.value());
        let known = known.map(|(at, times)| Tombstone { at: Timestamp(at), times });
        let next = erasure.tombstone(known);
        tombstones.insert(hash.0, (next.at.0, next.times))?;
    }
    let mut spared = transaction.open_table(SPARED)?;
    for hash in &erasure.shared {
        let known = spared.get(hash.0)?.map_or(i64::MIN, |at| at.value());
        spared.insert(hash.0, known.max(erasure.at.0))?;
    }
    let mut erased = transaction.open_table(ERASED)?;
    for key in &erasure.customers {
        erased.insert(key.0, erasure.at.0)?;
    }
    Ok(())
}
