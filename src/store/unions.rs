//! What merging customers leaves behind: where those went who were taken in,
//! the merges that can be taken back, who was parted, and how many people an
//! identity has joined.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::SeqCst};

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::domain::{CustomerKey, IdentityHash, MergeId, profile::ABSORBED_MAX};

use super::{
    HotProfile, Merge, StoreError,
    embedded::{Embedded, PROFILES},
    kept_merges,
    row_seal::{Nonces, RowKey},
    sampled::SampledMap,
    seal::DataKey,
    shared::Shared,
};

/// Where a customer went.
const REDIRECTS: TableDefinition<u128, u128> = TableDefinition::new("redirects");
/// Two customers who do not become one by themselves; in both orders.
pub(super) const PARTED: TableDefinition<(u128, u128), ()> = TableDefinition::new("parted");
/// Identity to how many people it joined.
const LINKED: TableDefinition<u128, u32> = TableDefinition::new("linked");

/// Most customers that were taken in kept in memory with where they went.
pub const REDIRECTS_MAX: u64 = 200_000;
/// Most customers on the way from one that was taken in to who lives on.
pub(super) const HOPS_MAX: usize = 2 * ABSORBED_MAX;

/// Where a customer went who was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub to: CustomerKey,
    /// What seals its records of before.
    pub data_key: DataKey,
}

/// A customer looked for.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Profile(Arc<HotProfile>),
    Moved(Redirect),
}

/// What merges changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Unions {
    /// `None` for who was taken in and is a customer again.
    pub redirects: HashMap<CustomerKey, Option<Redirect>>,
    pub merges: HashMap<(CustomerKey, MergeId), Arc<Merge>>,
    /// The smaller key first; false when the two may become one again.
    pub parted: HashMap<(CustomerKey, CustomerKey), bool>,
    pub linked: HashMap<IdentityHash, u32>,
    /// Identities that were taken from who had them.
    pub moved: HashSet<IdentityHash>,
}

impl Unions {
    /// Adds newer changes.
    pub fn extend(&mut self, newer: Self) {
        self.redirects.extend(newer.redirects);
        self.merges.extend(newer.merges);
        self.parted.extend(newer.parted);
        self.linked.extend(newer.linked);
        self.moved.extend(newer.moved);
    }

    pub fn parted(&self, a: CustomerKey, b: CustomerKey) -> Option<bool> {
        self.parted.get(&(a.min(b), a.max(b))).copied()
    }
}

/// Where customers went who were taken in, as far as memory knows.
pub(super) struct Redirects {
    known: SampledMap<CustomerKey, CustomerKey>,
    /// Counts those taken back: a search that began before one must not be kept.
    taken_back: AtomicU64,
}

impl Default for Redirects {
    fn default() -> Self {
        // one byte each: the bound is a count
        Self { known: SampledMap::new(REDIRECTS_MAX), taken_back: AtomicU64::new(0) }
    }
}

impl Redirects {
    /// Who lives on for a customer; the same one where memory knows of no other.
    pub fn live(&self, mut key: CustomerKey) -> CustomerKey {
        for _ in 0..HOPS_MAX {
            match self.known.get(&key) {
                Some(to) => key = to,
                None => break,
            }
        }
        key
    }

    pub fn put(&self, from: CustomerKey, to: CustomerKey) {
        self.known.put(from, to, 1);
    }

    pub fn take_back(&self, from: CustomerKey) {
        self.known.remove_after(&from, || {
            self.taken_back.fetch_add(1, SeqCst);
        });
    }

    fn ticket(&self) -> u64 {
        self.taken_back.load(SeqCst)
    }

    fn found(&self, from: CustomerKey, to: CustomerKey, ticket: u64) {
        self.known.put_new(from, to, 1, || self.taken_back.load(SeqCst) == ticket);
    }
}

impl Shared {
    /// A customer who is not in memory. INVARIANT: the overlay first. What leaves
    /// it is in the embedded store by then. Blocking.
    pub fn find(&self, key: CustomerKey) -> Result<Option<Found>, StoreError> {
        if let Some(known) = self.overlay.customer(key) {
            return Ok(known);
        }
        let ticket = self.redirects.ticket();
        let found = self.mended(self.embedded.customer(key))?;
        if let Some(Found::Moved(redirect)) = &found {
            self.redirects.found(key, redirect.to, ticket);
        }
        Ok(found)
    }

    /// The merges behind customers, in no order. Blocking.
    pub fn merges(&self, keys: &[CustomerKey]) -> Result<Vec<Arc<Merge>>, StoreError> {
        // what leaves the overlay meanwhile is found twice, never not at all
        let newer = self.overlay.merges(keys);
        let stored = self.mended(self.embedded.merges(keys))?;
        let mut all: HashMap<MergeId, Arc<Merge>> = stored.into_iter().map(|one| (one.id, Arc::new(one))).collect();
        all.extend(newer.into_iter().map(|one| (one.id, one)));
        // of who was erased the embedded store may have some for a moment yet
        let erased = |key| self.tombstones.erased(key).is_some();
        let left = all.into_values().filter(|one| !erased(one.survivor.key) && !erased(one.absorbed.key));
        Ok(left.collect())
    }

    /// Whether two customers were parted. Blocking.
    pub fn parted(&self, a: CustomerKey, b: CustomerKey) -> Result<bool, StoreError> {
        match self.overlay.parted(a, b) {
            Some(parted) => Ok(parted),
            None => self.mended(self.embedded.parted(a, b)),
        }
    }

    /// How many people an identity joined; 0 when it joined none yet. Blocking.
    pub fn linked(&self, hash: IdentityHash) -> Result<u32, StoreError> {
        match self.overlay.linked(hash) {
            Some(people) => Ok(people),
            None => self.mended(self.embedded.linked(hash)),
        }
    }
}

impl Embedded {
    /// A customer, or where it went.
    fn customer(&self, key: CustomerKey) -> Result<Option<Found>, StoreError> {
        if let Some(hot) = self.profile(key)? {
            return Ok(Some(Found::Profile(Arc::new(hot))));
        }
        let row = self.with("reading where a customer went", |database| {
            let table = database.begin_read()?.open_table(REDIRECTS)?;
            Ok(table.get(key.0)?.map(|to| CustomerKey(to.value())))
        })?;
        match row {
            // without a key it was erased meanwhile
            Some(to) => Ok(self.data_key(key)?.map(|data_key| Found::Moved(Redirect { to, data_key }))),
            // it may have become a customer again between the two
            None => Ok(self.profile(key)?.map(|hot| Found::Profile(Arc::new(hot)))),
        }
    }

    fn parted(&self, a: CustomerKey, b: CustomerKey) -> Result<bool, StoreError> {
        self.with("reading who was parted", |database| {
            let table = database.begin_read()?.open_table(PARTED)?;
            Ok(table.get((a.0, b.0))?.is_some())
        })
    }

    fn linked(&self, hash: IdentityHash) -> Result<u32, StoreError> {
        self.with("reading whom an identity joined", |database| {
            let table = database.begin_read()?.open_table(LINKED)?;
            Ok(table.get(hash.0)?.map_or(0, |people| people.value()))
        })
    }
}

/// Makes the tables.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(REDIRECTS)?;
    transaction.open_table(PARTED)?;
    transaction.open_table(LINKED)?;
    kept_merges::prepare(transaction)
}

/// Removes what merges left of an erased customer.
pub(super) fn erase(transaction: &WriteTransaction, key: CustomerKey) -> Result<(), redb::Error> {
    transaction.open_table(REDIRECTS)?.remove(key.0)?;
    erase_parted(transaction, key)?;
    kept_merges::erase(transaction, key)
}

fn erase_parted(transaction: &WriteTransaction, key: CustomerKey) -> Result<(), redb::Error> {
    let mut parted = transaction.open_table(PARTED)?;
    let mut apart = Vec::new();
    for row in parted.range((key.0, 0)..=(key.0, u128::MAX))? {
        apart.push(row?.0.value().1);
    }
    for other in apart {
        parted.remove((key.0, other))?;
        parted.remove((other, key.0))?;
    }
    Ok(())
}

/// Writes what merges changed. INVARIANT: after the profiles of the same layer.
pub(super) fn write(
    transaction: &WriteTransaction,
    unions: &Unions,
    nonces: &mut Nonces,
    key_of: &dyn Fn(CustomerKey) -> Result<Option<RowKey>, redb::Error>,
) -> Result<(), redb::Error> {
    let mut profiles = transaction.open_table(PROFILES)?;
    let mut redirects = transaction.open_table(REDIRECTS)?;
    for (key, redirect) in &unions.redirects {
        match redirect {
            Some(redirect) => {
                profiles.remove(key.0)?;
                redirects.insert(key.0, redirect.to.0)?;
            }
            None => {
                redirects.remove(key.0)?;
            }
        }
    }
    kept_merges::write(transaction, &unions.merges, nonces, key_of)?;
    let mut parted = transaction.open_table(PARTED)?;
    for ((a, b), apart) in &unions.parted {
        for pair in [(a.0, b.0), (b.0, a.0)] {
            match apart {
                true => parted.insert(pair, ())?,
                false => parted.remove(pair)?,
            };
        }
    }
    let mut linked = transaction.open_table(LINKED)?;
    for (hash, people) in &unions.linked {
        match *people {
            // forgotten with an erasure
            0 => drop(linked.remove(hash.0)?),
            people => drop(linked.insert(hash.0, people)?),
        }
    }
    Ok(())
}
