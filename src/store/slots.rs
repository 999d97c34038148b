//! The data keys of customers: fixed slots of one file beside the embedded
//! store. Erasing a customer overwrites their slot in place, so that the key is
//! nowhere, while the store keeps old pages as it likes.
//!
//! Which slot is whose stands in the embedded store: a slot is used once the
//! transaction that names it is committed, and free again once the one that
//! takes it back is. So a key is written and synced before the transaction, and
//! overwritten and synced after it; whatever happens in between, the next start
//! finds a key in a slot that nobody uses, and overwrites it.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{StoreError, seal::DataKey};
use crate::domain::CustomerKey;

/// Bytes of a slot: customer u128, key 32, CRC-32 of both, zeros; little-endian.
/// A divisor of a page, so that a slot never lies on two.
const SLOT_BYTES: usize = 64;
const CRC_AT: usize = 48;
/// Bytes overwritten with one call.
const ZERO_BYTES: usize = 64 << 10;

/// The number of a slot.
pub(super) type Slot = u64;

/// The file, and which of its slots are free.
#[derive(Debug)]
pub(super) struct Slots {
    path: PathBuf,
    /// Opened once it is known that the embedded store can be read: a directory
    /// of another format stays as it is.
    file: OnceLock<File>,
    free: Arc<Mutex<Free>>,
}

/// What no customer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Free {
    /// Slots before the end; all zero.
    pub slots: BTreeSet<Slot>,
    /// The first slot that was never used.
    pub end: Slot,
}

/// Slots given out within a transaction; kept by [`Slots::used`] once it is
/// committed.
#[derive(Debug)]
pub(super) struct Plan {
    /// Changed only once the transaction is committed.
    free: Arc<Mutex<Free>>,
    /// The first slot never used, with this plan.
    end: Slot,
    /// Of the free ones, in order.
    pub reused: Vec<Slot>,
    written: Vec<(Slot, [u8; SLOT_BYTES])>,
}

impl Slots {
    /// Nothing is opened before [`Slots::adopt`].
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), file: OnceLock::new(), free: Arc::default() }
    }

    /// Opens or creates the file.
    fn open(&self) -> Result<(), StoreError> {
        if self.file.get().is_some() {
            return Ok(());
        }
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path);
        let synced = opened.and_then(|file| {
            if let Some(dir) = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                File::open(dir)?.sync_all()?;
            }
            Ok(file)
        });
        let file = synced.map_err(|source| failed("opening", &self.path, source))?;
        // fails only where another one opened it meanwhile
        let _ = self.file.set(file);
        Ok(())
    }

    fn file(&self) -> io::Result<&File> {
        self.file.get().ok_or_else(|| io::Error::other("it is not open yet"))
    }

    /// Takes over what the embedded store says is free, and overwrites every key
    /// that is left there.
    pub fn adopt(&self, free: Free) -> Result<(), StoreError> {
        self.open()?;
        let cleared = self.clear(free.slots.iter().copied()).and_then(|()| {
            let (end, len) = (free.end * SLOT_BYTES as u64, self.file()?.metadata()?.len());
            if len <= end {
                return Ok(());
            }
            self.zero(end, len)?;
            self.file()?.sync_data()?;
            self.file()?.set_len(end)?;
            self.file()?.sync_all()
        });
        cleared.map_err(|source| failed("emptying unused slots of", &self.path, source))?;
        *self.lock() = free;
        Ok(())
    }

    /// The key in a slot; `None` when the customer's is not there any more.
    pub fn read(&self, slot: Slot, customer: CustomerKey) -> Result<Option<DataKey>, StoreError> {
        let mut bytes = [0_u8; SLOT_BYTES];
        match self.file().and_then(|file| file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(source) => return Err(failed("reading", &self.path, source)),
        }
        let read = read_slot(&bytes);
        if read.is_none() && bytes != [0; SLOT_BYTES] {
            return Err(StoreError::Corrupt(format!(
                "reading the data keys: slot `{slot}` of `{}` is damaged; restore the data directory from a copy",
                self.path.display()
            )));
        }
        Ok(read.filter(|(owner, _)| *owner == customer).map(|(_, key)| key))
    }

    /// Begins giving slots out.
    pub fn plan(&self) -> Plan {
        let end = self.lock().end;
        Plan { free: Arc::clone(&self.free), end, reused: Vec::new(), written: Vec::new() }
    }

    /// Brings the keys of a plan to disk, before its transaction is committed.
    pub fn write(&self, plan: &mut Plan) -> Result<(), StoreError> {
        if plan.written.is_empty() {
            return Ok(());
        }
        plan.written.sort_unstable_by_key(|(slot, _)| *slot);
        let mut run = Vec::with_capacity(plan.written.len() * SLOT_BYTES);
        let mut write = || -> io::Result<()> {
            for neighbours in plan.written.chunk_by(|one, next| one.0 + 1 == next.0) {
                let Some((first, _)) = neighbours.first() else { continue };
                run.clear();
                neighbours.iter().for_each(|(_, bytes)| run.extend_from_slice(bytes));
                self.file()?.write_all_at(&run, first * SLOT_BYTES as u64)?;
            }
            self.file()?.sync_data()
        };
        let written = write();
        run.fill(0);
        written.map_err(|source| failed("writing", &self.path, source))
    }

    /// The transaction of a plan is committed.
    pub fn used(&self, plan: Plan) {
        let mut free = self.lock();
        for slot in &plan.reused {
            free.slots.remove(slot);
        }
        free.end = plan.end;
    }

    /// Overwrites keys on disk; their slots may then be given out again. The
    /// transaction that takes them back must be committed. File systems and disks
    /// that copy on write may still keep an older copy.
    pub fn destroy(&self, slots: &[Slot]) -> Result<(), StoreError> {
        let cleared = self.clear(slots.iter().copied());
        cleared.map_err(|source| failed("overwriting a key in", &self.path, source))?;
        self.lock().slots.extend(slots);
        Ok(())
    }

    /// Overwrites what is not zero, on disk.
    fn clear(&self, slots: impl Iterator<Item = Slot>) -> io::Result<()> {
        let mut any = false;
        for slot in slots {
            any = true;
            let (mut bytes, at) = ([0_u8; SLOT_BYTES], slot * SLOT_BYTES as u64);
            match self.file()?.read_exact_at(&mut bytes, at) {
                Ok(()) if bytes == [0; SLOT_BYTES] => continue,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
                read => read?,
            }
            self.file()?.write_all_at(&[0; SLOT_BYTES], at)?;
        }
        // also when nothing is left to write: an earlier try may not be on disk
        if any { self.file()?.sync_data() } else { Ok(()) }
    }

    fn zero(&self, mut from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0_u8; ZERO_BYTES];
        while from < to {
            let part = (to - from).min(ZERO_BYTES as u64);
            self.file()?.write_all_at(&zeros[..part as usize], from)?;
            from += part;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// Gives a slot out.
    pub fn put(&mut self, customer: CustomerKey, key: &DataKey) -> Slot {
        let from = self.reused.last().map_or(0, |last| last + 1);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).slots.range(from..).next().copied();
        let slot = match free {
            Some(slot) => {
                self.reused.push(slot);
                slot
            }
            None => {
                self.end += 1;
                self.end - 1
            }
        };
        self.written.push((slot, write_slot(customer, key)));
        slot
    }

    /// The first slot that is not used once the transaction is committed.
    pub fn end(&self) -> Slot {
        self.end
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        self.written.iter_mut().for_each(|(_, bytes)| bytes.fill(0));
    }
}

fn failed(doing: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { doing: format!("{doing} the file of data keys `{}`", path.display()), source }
}

fn write_slot(customer: CustomerKey, key: &DataKey) -> [u8; SLOT_BYTES] {
    let mut bytes = [0_u8; SLOT_BYTES];
    bytes[..16].copy_from_slice(&customer.0.to_le_bytes());
    bytes[16..CRC_AT].copy_from_slice(&key.0);
    let crc = crc32fast::hash(&bytes[..CRC_AT]);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn read_slot(bytes: &[u8; SLOT_BYTES]) -> Option<(CustomerKey, DataKey)> {
    let (content, rest) = bytes.split_at(CRC_AT);
    let (customer, key) = content.split_first_chunk::<16>()?;
    let key = key.first_chunk::<32>()?;
    let sound = rest.first_chunk::<4>() == Some(&crc32fast::hash(content).to_le_bytes());
    sound.then_some((CustomerKey(u128::from_le_bytes(*customer)), DataKey(*key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> DataKey {
        DataKey([n; 32])
    }

    fn put(slots: &Slots, n: u8) -> Slot {
        let mut plan = slots.plan();
        let slot = plan.put(CustomerKey(u128::from(n)), &key(n));
        slots.write(&mut plan).unwrap();
        slots.used(plan);
        slot
    }

    fn file(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("keys.slots")
    }

    fn open(dir: &tempfile::TempDir) -> Slots {
        let slots = Slots::at(&file(dir));
        slots.adopt(Free::default()).unwrap();
        slots
    }

    #[test]
    fn nothing_is_made_before_it_is_known_what_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::at(&file(&dir));
        assert!(!file(&dir).exists() && slots.read(0, CustomerKey(1)).is_err());
        slots.adopt(Free::default()).unwrap();
        assert!(file(&dir).exists());
    }

    #[test]
    fn slots_of_many_erased_are_given_out_again_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let slots = open(&dir);
        (1..=6).for_each(|n| {
            put(&slots, n);
        });
        slots.destroy(&[4, 1, 3]).unwrap();
        slots.destroy(&[3]).unwrap();
        let mut plan = slots.plan();
        let given: Vec<Slot> = (7..=10).map(|n| plan.put(CustomerKey(u128::from(n)), &key(n))).collect();
        assert_eq!((given.as_slice(), plan.reused.as_slice(), plan.end()), (&[1, 3, 4, 6][..], &[1, 3, 4][..], 7));
        slots.write(&mut plan).unwrap();
        slots.used(plan);
        assert_eq!(put(&slots, 11), 7);
    }

    #[test]
    fn a_key_is_read_by_its_customer_only_until_it_is_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let slots = open(&dir);
        let (one, two) = (put(&slots, 1), put(&slots, 2));
        assert_eq!((one, two), (0, 1));
        assert_eq!(slots.read(one, CustomerKey(1)).unwrap(), Some(key(1)));
        assert_eq!(slots.read(one, CustomerKey(2)).unwrap(), None);
        assert_eq!(slots.read(99, CustomerKey(2)).unwrap(), None);
        slots.destroy(&[one]).unwrap();
        assert_eq!(slots.read(one, CustomerKey(1)).unwrap(), None);
        assert!(!std::fs::read(file(&dir)).unwrap().windows(32).any(|w| w == [1; 32]));
        assert_eq!(put(&slots, 3), one, "a free slot is used again");
        assert_eq!(put(&slots, 4), 2);
    }

    #[test]
    fn keys_of_transactions_that_never_were_are_overwritten_on_opening() {
        let dir = tempfile::tempdir().unwrap();
        let slots = open(&dir);
        (1..=4).for_each(|n| {
            put(&slots, n);
        });
        drop(slots);
        let slots = Slots::at(&file(&dir));
        // as the embedded store has it: slot 1 was taken back, 3 never given
        slots.adopt(Free { slots: BTreeSet::from([1]), end: 3 }).unwrap();
        let bytes = std::fs::read(file(&dir)).unwrap();
        assert_eq!(bytes.len(), 3 * SLOT_BYTES);
        for (n, stays) in [(1_u8, true), (2, false), (3, true), (4, false)] {
            assert_eq!(bytes.windows(32).any(|w| w == [n; 32]), stays, "key {n}");
        }
        assert_eq!((put(&slots, 5), put(&slots, 6)), (1, 3));
    }

    #[test]
    fn a_plan_that_is_given_up_gives_its_slots_back() {
        let dir = tempfile::tempdir().unwrap();
        let slots = open(&dir);
        let mut plan = slots.plan();
        plan.put(CustomerKey(1), &key(1));
        slots.write(&mut plan).unwrap();
        drop(plan);
        assert_eq!(put(&slots, 2), 0);
        assert_eq!(slots.read(0, CustomerKey(2)).unwrap(), Some(key(2)));
    }

    #[test]
    fn a_damaged_slot_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let slots = open(&dir);
        put(&slots, 1);
        slots.file().unwrap().write_all_at(&[9], 20).unwrap();
        let error = slots.read(0, CustomerKey(1)).unwrap_err().to_string();
        assert!(error.contains("slot `0`"), "{error}");
    }
}
