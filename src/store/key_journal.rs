//! Keys of customers that are not in the embedded store yet: fixed slots
//! appended to one file, each with its checksum. Once the store has the keys,
//! the file is overwritten and emptied, so that an erased key is nowhere.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{StoreError, seal::DataKey};
use crate::domain::CustomerKey;

/// Bytes of a slot: customer u128, key 32, CRC-32 of both; little-endian.
const SLOT_BYTES: usize = 52;
const CRC_AT: usize = SLOT_BYTES - 4;
/// Bytes that reach the disk together.
const PAGE_BYTES: usize = 4_096;
/// Bytes overwritten with one call.
const ZERO_BYTES: usize = 64 << 10;

/// The journal, as its one writer has it.
#[derive(Debug)]
pub struct KeyJournal {
    path: PathBuf,
    file: Arc<File>,
    /// Slots in the file.
    slots: u64,
    /// Whether there may be bytes after them, from a failed write.
    unclean_tail: bool,
}

impl KeyJournal {
    /// Opens or creates the journal and reads its keys, oldest first; a torn
    /// tail is cut off.
    ///
    /// # Errors
    /// The file cannot be read or written, or a key before its end is damaged.
    pub fn open(path: &Path) -> Result<(Self, Vec<(CustomerKey, DataKey)>), StoreError> {
        let fail = |source| failed("opening", path, source);
        let created = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        if let (true, Some(dir)) = (created, path.parent().filter(|p| !p.as_os_str().is_empty())) {
            File::open(dir).and_then(|d| d.sync_all()).map_err(fail)?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail)?;
        let (keys, slots) = read_slots(path, &bytes)?;
        let journal = Self { path: path.to_path_buf(), file: Arc::new(file), slots, unclean_tail: false };
        if bytes.len() as u64 > journal.end() {
            journal.zero(journal.end(), bytes.len() as u64).map_err(fail)?;
            journal.file.set_len(journal.end()).and_then(|()| journal.file.sync_all()).map_err(fail)?;
        }
        bytes.fill(0);
        Ok((journal, keys))
    }

    /// Writes keys. Call it before writing a log record that needs them.
    ///
    /// # Errors
    /// The system refused; then none of the keys is in the journal.
    pub fn append(&mut self, keys: &[(CustomerKey, DataKey)]) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(keys.len() * SLOT_BYTES);
        for (customer, key) in keys {
            write_slot(*customer, key, &mut bytes);
        }
        let written = self.clean_tail().and_then(|()| self.file.write_all_at(&bytes, self.end()));
        bytes.fill(0);
        match written {
            Ok(()) => {
                self.slots += keys.len() as u64;
                Ok(())
            }
            Err(source) => {
                self.unclean_tail = true;
                // What it cannot cut now it cuts before the next write.
                let _ = self.clean_tail();
                Err(failed("writing", &self.path, source))
            }
        }
    }

    /// The file, for a sync that nobody waits for.
    pub fn sync_handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Overwrites every key with zeros and empties the journal, on disk. File
    /// systems and disks that copy on write may still keep an older copy.
    ///
    /// # Errors
    /// The system refused; keys may still be there.
    pub fn reset(&mut self) -> Result<(), StoreError> {
        let emptied = self.file.metadata().and_then(|m| self.zero(0, m.len())).and_then(|()| {
            self.file.sync_data()?;
            self.file.set_len(0)?;
            self.file.sync_all()
        });
        match emptied {
            Ok(()) => {
                self.slots = 0;
                self.unclean_tail = false;
                Ok(())
            }
            Err(source) => Err(failed("emptying", &self.path, source)),
        }
    }

    /// Overwrites the keys of these customers with zeros, on disk; what is read
    /// later passes over them.
    ///
    /// # Errors
    /// The system refused; keys may still be there.
    pub fn erase(&self, customers: &HashSet<CustomerKey>) -> Result<(), StoreError> {
        let erase = || -> io::Result<()> {
            let mut bytes = vec![0_u8; self.end() as usize];
            self.file.read_exact_at(&mut bytes, 0)?;
            let mut erased = false;
            for (at, slot) in bytes.as_chunks::<SLOT_BYTES>().0.iter().enumerate() {
                let owner = slot.first_chunk::<16>().map(|key| CustomerKey(u128::from_le_bytes(*key)));
                if owner.is_some_and(|owner| customers.contains(&owner)) {
                    self.file.write_all_at(&[0; SLOT_BYTES], (at * SLOT_BYTES) as u64)?;
                    erased = true;
                }
            }
            bytes.fill(0);
            if erased { self.file.sync_data() } else { Ok(()) }
        };
        erase().map_err(|source| failed("overwriting a key in", &self.path, source))
    }

    /// Keys in the journal.
    pub fn len(&self) -> u64 {
        self.slots
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots == 0
    }

    fn end(&self) -> u64 {
        self.slots * SLOT_BYTES as u64
    }

    fn clean_tail(&mut self) -> io::Result<()> {
        if self.unclean_tail {
            self.file.set_len(self.end())?;
            self.unclean_tail = false;
        }
        Ok(())
    }

    /// Overwrites bytes with zeros.
    fn zero(&self, mut from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0_u8; ZERO_BYTES];
        while from < to {
            let part = (to - from).min(ZERO_BYTES as u64);
            self.file.write_all_at(&zeros[..part as usize], from)?;
            from += part;
        }
        Ok(())
    }
}

fn failed(doing: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { doing: format!("{doing} the key journal `{}`", path.display()), source }
}

fn write_slot(customer: CustomerKey, key: &DataKey, into: &mut Vec<u8>) {
    let start = into.len();
    into.extend_from_slice(&customer.0.to_le_bytes());
    into.extend_from_slice(&key.0);
    let crc = crc32fast::hash(&into[start..]);
    into.extend_from_slice(&crc.to_le_bytes());
}

fn read_slot(slot: &[u8; SLOT_BYTES]) -> Option<(CustomerKey, DataKey)> {
    let (content, crc) = slot.split_at(CRC_AT);
    let (customer, rest) = content.split_first_chunk::<16>()?;
    let key = rest.first_chunk::<32>()?;
    let sound = crc == crc32fast::hash(content).to_le_bytes();
    sound.then_some((CustomerKey(u128::from_le_bytes(*customer)), DataKey(*key)))
}

/// The keys, and the number of slots up to the last sound one. Damaged slots
/// at the end are a torn tail. One before a sound one may be a page that was
/// never synced when the power went; otherwise the file was changed.
fn read_slots(path: &Path, bytes: &[u8]) -> Result<(Vec<(CustomerKey, DataKey)>, u64), StoreError> {
    let (slots, _) = bytes.as_chunks::<SLOT_BYTES>();
    let mut keys = Vec::with_capacity(slots.len());
    let (mut damaged, mut end) = (None, 0);
    for (at, slot) in slots.iter().enumerate() {
        let offset = at * SLOT_BYTES;
        match read_slot(slot) {
            Some(key) => {
                if let Some(offset) = damaged {
                    return Err(StoreError::Corrupt(format!(
                        "reading the key journal: a damaged key in `{}` at offset `{offset}`; restore the data directory from a copy",
                        path.display()
                    )));
                }
                keys.push(key);
                end = at as u64 + 1;
            }
            None if is_lost_page(slot, offset) => {}
            None => damaged = damaged.or(Some(offset)),
        }
    }
    Ok((keys, end))
}

/// Whether all that a slot has on one page is zero.
fn is_lost_page(slot: &[u8; SLOT_BYTES], offset: usize) -> bool {
    let on_first_page = (PAGE_BYTES - offset % PAGE_BYTES).min(SLOT_BYTES);
    let (first, second) = slot.split_at(on_first_page);
    let zero = |part: &[u8]| !part.is_empty() && part.iter().all(|b| *b == 0);
    zero(first) || zero(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(from: u8, to: u8) -> Vec<(CustomerKey, DataKey)> {
        (from..to).map(|n| (CustomerKey(u128::from(n) << 90 | 7), DataKey([n; 32]))).collect()
    }

    fn path(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("keys.journal")
    }

    #[test]
    fn gives_back_what_was_appended_before_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, found) = KeyJournal::open(&path(&dir)).unwrap();
        assert!(found.is_empty() && journal.is_empty());
        journal.append(&keys(0, 3)).unwrap();
        journal.append(&keys(3, 5)).unwrap();
        journal.sync_handle().sync_data().unwrap();
        assert_eq!(journal.len(), 5);
        drop(journal);
        assert_eq!(KeyJournal::open(&path(&dir)).unwrap().1, keys(0, 5));
    }

    #[test]
    fn cuts_a_tail_torn_at_any_byte() {
        let dir = tempfile::tempdir().unwrap();
        for cut in 0..SLOT_BYTES {
            let _ = std::fs::remove_file(path(&dir));
            KeyJournal::open(&path(&dir)).unwrap().0.append(&keys(0, 3)).unwrap();
            let file = OpenOptions::new().write(true).open(path(&dir)).unwrap();
            file.set_len((2 * SLOT_BYTES + cut) as u64).unwrap();
            let (mut journal, found) = KeyJournal::open(&path(&dir)).unwrap();
            assert_eq!(found, keys(0, 2), "cut {cut}");
            journal.append(&keys(7, 9)).unwrap();
            let all: Vec<_> = keys(0, 2).into_iter().chain(keys(7, 9)).collect();
            assert_eq!(KeyJournal::open(&path(&dir)).unwrap().1, all, "cut {cut}");
        }
    }

    #[test]
    fn a_tail_of_zeros_is_torn_too() {
        let dir = tempfile::tempdir().unwrap();
        KeyJournal::open(&path(&dir)).unwrap().0.append(&keys(0, 3)).unwrap();
        OpenOptions::new().write(true).open(path(&dir)).unwrap().set_len(10 * SLOT_BYTES as u64).unwrap();
        assert_eq!(KeyJournal::open(&path(&dir)).unwrap().1, keys(0, 3));
        assert_eq!(std::fs::metadata(path(&dir)).unwrap().len(), 3 * SLOT_BYTES as u64);
    }

    #[test]
    fn a_damaged_key_in_the_middle_is_an_error_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        KeyJournal::open(&path(&dir)).unwrap().0.append(&keys(0, 3)).unwrap();
        let mut bytes = std::fs::read(path(&dir)).unwrap();
        bytes[SLOT_BYTES + 20] ^= 1;
        std::fs::write(path(&dir), bytes).unwrap();
        let error = KeyJournal::open(&path(&dir)).unwrap_err().to_string();
        assert!(error.contains("keys.journal` at offset `52`"), "{error}");
    }

    #[test]
    fn a_page_lost_with_the_power_loses_only_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let all = keys(0, 250);
        KeyJournal::open(&path(&dir)).unwrap().0.append(&all).unwrap();
        let mut bytes = std::fs::read(path(&dir)).unwrap();
        bytes[PAGE_BYTES..2 * PAGE_BYTES].fill(0);
        std::fs::write(path(&dir), bytes).unwrap();
        let (mut journal, found) = KeyJournal::open(&path(&dir)).unwrap();
        let (first, last) = (PAGE_BYTES / SLOT_BYTES, 2 * PAGE_BYTES / SLOT_BYTES);
        let kept: Vec<_> = all[..first].iter().chain(&all[last + 1..]).cloned().collect();
        assert_eq!(found, kept);
        journal.append(&keys(250, 251)).unwrap();
        assert_eq!(KeyJournal::open(&path(&dir)).unwrap().1.len(), kept.len() + 1);
    }

    #[test]
    fn reset_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = KeyJournal::open(&path(&dir)).unwrap();
        journal.append(&keys(1, 4)).unwrap();
        let spare = dir.path().join("same-bytes");
        std::fs::hard_link(path(&dir), &spare).unwrap();
        journal.reset().unwrap();
        assert_eq!(std::fs::read(spare).unwrap(), b"");
        journal.append(&keys(5, 6)).unwrap();
        assert_eq!(KeyJournal::open(&path(&dir)).unwrap().1, keys(5, 6));
    }

    #[test]
    fn a_failed_write_leaves_no_key_and_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = KeyJournal::open(&path(&dir)).unwrap();
        journal.append(&keys(0, 2)).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let file = std::mem::replace(&mut journal.file, Arc::new(full));
        assert!(matches!(journal.append(&keys(2, 3)), Err(StoreError::Io { .. })));
        journal.file = file;
        journal.append(&keys(3, 4)).unwrap();
        let all: Vec<_> = keys(0, 2).into_iter().chain(keys(3, 4)).collect();
        assert_eq!(KeyJournal::open(&path(&dir)).unwrap().1, all);
    }
}
