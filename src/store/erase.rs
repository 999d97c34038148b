//! Erasing customers: keys destroyed, rows removed, tombstones left.
//!
//! The log has a record of each erasure, on disk before it is acknowledged, and
//! applies it in order like everything else. So a crash in the middle finishes on
//! the next start: what the log has and the embedded store has not is applied
//! again, and keys in slots that nobody uses are overwritten on opening.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed};

use redb::{ReadableTable, WriteTransaction};
use tokio::sync::oneshot;

use crate::domain::{CustomerKey, IdentityHash, Profile, Timestamp};

use super::{
    Receipt, ReceiptStatus, Store, StoreError, Strength, analysis, codec,
    embedded::{ALIASES, DATA_KEYS, FREE_SLOTS, HOLDERS, PROFILES},
    group::Group,
    identity::IdentityHasher,
    log::LogRecord,
    overlay::Layer,
    shared::Shared,
    slots::Slot,
    sync::Ack,
    timeline, tombstones,
    tombstones::Tombstone,
    unions,
    writer::{Command, Writer},
};

/// First byte of the record.
const VERSION: u8 = 1;
/// The kind of a record of a customer: erased.
pub(super) const KIND_ERASED: u8 = 3;

/// An erasure, as the log has it. Nothing of it is personal: keys and hashes
/// are keyed hashes, the reason is the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Names it.
    pub id: u128,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Box<str>,
    /// The customer and all who were merged into it.
    pub customers: Vec<CustomerKey>,
    /// Their identities, as far as nobody else has them: what happened before is
    /// not taken under them any more.
    pub identities: Vec<IdentityHash>,
    /// Their identities that others have as well, whose they stay.
    pub shared: Vec<IdentityHash>,
}

/// An erasure that is asked for.
#[derive(Clone, Debug)]
pub struct NewErasure {
    /// Names it.
    pub id: u128,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Box<str>,
    /// Whom.
    pub customer: CustomerKey,
}

impl Erasure {
    pub(super) fn of(new: NewErasure, profile: &Profile, hasher: &IdentityHasher) -> Self {
        // of who was taken in meanwhile, the one who lives on
        let mut customers = vec![profile.key];
        customers.extend(profile.absorbed.iter().map(|origin| origin.key).filter(|key| *key != profile.key));
        let identities = profile.identities.iter().map(|one| hasher.identity(one.kind, &one.value)).collect();
        Self { id: new.id, at: new.at, reason: new.reason, customers, identities, shared: Vec::new() }
    }

    /// Sets apart the identities that others have as well.
    fn spare_others(mut self, shared: &Shared) -> Result<Self, StoreError> {
        for hash in std::mem::take(&mut self.identities) {
            let others = shared.holders(hash)?.and_then(|holders| holders.without(&self.customers));
            if others.is_some() { self.shared.push(hash) } else { self.identities.push(hash) }
        }
        Ok(self)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut payload = vec![VERSION, KIND_ERASED];
        let writer = &mut codec::Writer::new(&mut payload);
        writer.u128(self.id);
        writer.signed(self.at.0);
        writer.text(&self.reason);
        writer.len(self.customers.len());
        self.customers.iter().for_each(|key| writer.u128(key.0));
        writer.len(self.identities.len());
        self.identities.iter().for_each(|hash| writer.u128(hash.0));
        writer.len(self.shared.len());
        self.shared.iter().for_each(|hash| writer.u128(hash.0));
        payload
    }

    /// Reads a record of a customer; `None` when it is of another kind.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) fn decode(record: &LogRecord<'_>) -> Result<Option<Self>, StoreError> {
        if record.payload.get(1) != Some(&KIND_ERASED) {
            return Ok(None);
        }
        let reader = &mut codec::Reader::new("erasure", record.payload);
        reader.version(VERSION)?;
        reader.u8()?;
        let id = reader.u128()?;
        let at = Timestamp(reader.signed()?);
        let reason = reader.text()?.into();
        let customers = reader.list(16, |r| Ok(CustomerKey(r.u128()?)))?;
        let identities = reader.list(16, |r| Ok(IdentityHash(r.u128()?)))?;
        let shared = reader.list(16, |r| Ok(IdentityHash(r.u128()?)))?;
        reader.end()?;
        Ok(Some(Self { id, at, reason, customers, identities, shared }))
    }

    /// The tombstone of one of its identities, which may have one already.
    /// Applying the same erasure again changes nothing.
    pub(super) fn tombstone(&self, known: Option<Tombstone>) -> Tombstone {
        match known {
            Some(known) if known.at >= self.at => known,
            Some(known) => Tombstone { at: self.at, times: known.times.saturating_add(1) },
            None => Tombstone { at: self.at, times: 1 },
        }
    }
}

/// Who waits for erasures to be done.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<u128, oneshot::Sender<()>>>);

impl Waiting {
    pub fn wait(&self, id: u128) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, done);
        wait
    }

    pub fn done(&self, id: u128) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(done) = waiting {
            // who asked may have gone
            let _ = done.send(());
        }
    }
}

/// Removes what the erasures of a layer name; answers the slots of their keys,
/// which are free from the commit on and must be overwritten after it.
pub(super) fn apply(transaction: &WriteTransaction, layer: &Layer) -> Result<Vec<Slot>, redb::Error> {
    let mut freed = Vec::new();
    for erasure in &layer.erased {
        for key in &erasure.customers {
            freed.extend(remove_customer(transaction, *key)?);
        }
        tombstones::write(transaction, erasure)?;
    }
    if !layer.forgotten.is_empty() {
        let mut aliases = transaction.open_table(ALIASES)?;
        let mut holders = transaction.open_table(HOLDERS)?;
        for hash in &layer.forgotten {
            aliases.remove(hash.0)?;
            holders.remove(hash.0)?;
        }
    }
    Ok(freed)
}

/// Removes every row that is under the key of a customer.
fn remove_customer(transaction: &WriteTransaction, key: CustomerKey) -> Result<Option<Slot>, redb::Error> {
    transaction.open_table(PROFILES)?.remove(key.0)?;
    timeline::remove(transaction, key)?;
    unions::erase(transaction, key)?;
    analysis::forget(transaction, key)?;
    let slot = transaction.open_table(DATA_KEYS)?.remove(key.0)?.map(|slot| slot.value());
    if let Some(slot) = slot {
        transaction.open_table(FREE_SLOTS)?.insert(slot, ())?;
    }
    Ok(slot)
}

impl Group {
    /// Erases customers. INVARIANT: everything before it was published.
    pub fn erase(&mut self, shared: &Shared, erasure: Arc<Erasure>) -> Result<(), StoreError> {
        for hash in erasure.identities.iter().chain(&erasure.shared) {
            let Some(holders) = shared.holders(*hash)? else { continue };
            match holders.without(&erasure.customers) {
                Some(others) => {
                    self.aliases.insert(*hash, others);
                    self.unions.moved.insert(*hash);
                }
                None => {
                    self.forgotten.insert(*hash);
                    // who has it next is not joined by it to whom it joined before
                    self.unions.linked.insert(*hash, 0);
                }
            }
        }
        self.erased = Some(erasure);
        self.records += 1;
        Ok(())
    }
}

impl Writer {
    /// Erases a customer: the log has it first, then memory; the embedded store
    /// follows. INVARIANT: everything before it was committed.
    pub(super) fn erase(
        &mut self,
        new: NewErasure,
        durable: oneshot::Sender<Vec<Receipt>>,
    ) -> Result<Option<Begun>, StoreError> {
        let Some(hot) = self.shared.load(new.customer)? else { return Ok(None) };
        if !self.appender.has_room(&self.shared) {
            self.shared.log_full.store(true, Relaxed);
            return Err(StoreError::Full { limit_bytes: self.shared.config.log_bytes_max });
        }
        self.shared.saw_time(new.at);
        let erasure = Erasure::of(new, &hot.profile, &self.shared.hasher).spare_others(&self.shared)?;
        let erasure = Arc::new(erasure);
        let mut group = Group::default();
        group.erase(&self.shared, Arc::clone(&erasure))?;
        self.appender.customer(&erasure.encode(), erasure.at);
        self.shared.replicas.wrote(None, self.appender.log.next_sequence() - 1);
        let written = self.appender.write(&self.shared);
        let written = written.map_err(|source| StoreError::Io { doing: "writing an erasure".to_owned(), source })?;
        // before it is published, so that no answer is missed
        let done = self.shared.erasing.wait(erasure.id);
        let changed = group.publish(&self.shared, written.last_sequence, &mut self.tallies);
        self.changed.extend(changed);
        self.shared.overlay.hurry();
        let receipt = Receipt::without(ReceiptStatus::Recorded);
        self.answer(vec![(Ack { reply: durable, receipts: vec![receipt] }, Strength::Disk)]);
        Ok(Some(Begun { erasure, done }))
    }
}

/// Slots that are free by the embedded store, and the first never used.
pub(super) fn free_slots(database: &redb::Database) -> Result<super::slots::Free, redb::Error> {
    use redb::ReadableDatabase;
    let transaction = database.begin_read()?;
    let mut free = super::slots::Free::default();
    for row in transaction.open_table(FREE_SLOTS)?.iter()? {
        free.slots.insert(row?.0.value());
    }
    let end = transaction.open_table(super::embedded::META)?.get(super::embedded::SLOTS_END)?;
    free.end = end.map_or(0, |end| end.value().cast_unsigned());
    Ok(free)
}

impl Store {
    /// Erases a customer and all who were merged into it. Answers once it is on
    /// disk: the log has it, every key is overwritten, every row removed; `None`
    /// when there is no such customer.
    ///
    /// # Errors
    /// There is no room or the store fails; it may be erased all the same.
    pub async fn erase(&self, erasure: NewErasure) -> Result<Option<Arc<Erasure>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let (durable, synced) = oneshot::channel();
        if !self.send(Command::Erase { erasure, reply, durable }).await {
            return Err(StoreError::Closed);
        }
        let Some(begun) = answer.await.map_err(|_| StoreError::Closed)?? else { return Ok(None) };
        let receipts = synced.await.map_err(|_| StoreError::Closed)?;
        if !receipts.iter().all(|receipt| receipt.status == ReceiptStatus::Recorded) {
            return Err(StoreError::Io {
                doing: "syncing an erasure: it is done, but may not survive the loss of power; erase again".to_owned(),
                source: std::io::ErrorKind::Other.into(),
            });
        }
        begun.done.await.map_err(|_| StoreError::Closed)?;
        Ok(Some(begun.erasure))
    }

    /// When a customer was erased; `None` when it was not.
    pub fn erased(&self, key: CustomerKey) -> Option<Timestamp> {
        self.shared.tombstones.erased(key)
    }

    /// Customers ever erased.
    pub fn erased_len(&self) -> usize {
        self.shared.tombstones.len()
    }
}

/// An erasure that the log has and memory applied.
pub(super) struct Begun {
    pub erasure: Arc<Erasure>,
    /// Every key is overwritten.
    pub done: oneshot::Receiver<()>,
}
