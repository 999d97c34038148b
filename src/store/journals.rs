//! Two key journals that take turns: new keys go to one while the keys of a
//! layer that is being stored stay in the other, which is wiped afterwards. So
//! a service that makes customers all the time wipes keys too.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{StoreError, key_journal::KeyJournal, seal::DataKey};
use crate::domain::CustomerKey;

/// Names of the two files.
const FILES: [&str; 2] = ["keys.journal", "keys.journal.other"];

/// Keys that were found on opening.
type Keys = Vec<(CustomerKey, DataKey)>;

/// The two journals.
#[derive(Debug)]
pub(super) struct Journals {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where new keys go.
    current: KeyJournal,
    /// The other one; `None` while it is wiped.
    other: Option<KeyJournal>,
    /// Keys ever made when the journals took turns last: all keys of `other`
    /// are among them.
    turned_at: u64,
    /// Keys ever put in a journal by this process.
    made: u64,
    /// Of these, known to be on disk.
    synced: u64,
    /// After a failed sync the system may take lost pages for written: these
    /// are on disk only once the embedded store has them.
    distrusted: u64,
}

impl Journals {
    /// Opens both and reads their keys.
    pub fn open(dir: &Path) -> Result<(Self, Keys), StoreError> {
        let (current, mut keys) = KeyJournal::open(&dir.join(FILES[0]))?;
        let (other, others) = KeyJournal::open(&dir.join(FILES[1]))?;
        keys.extend(others);
        // what the last process left may not be on disk
        let made = current.len() + other.len();
        let state = State { current, other: Some(other), turned_at: made, made, synced: 0, distrusted: 0 };
        Ok((Self { state: Mutex::new(state) }, keys))
    }

    /// Puts keys in, before the log names their customers.
    pub fn append(&self, keys: &[(CustomerKey, DataKey)]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut state = self.lock();
        state.made += keys.len() as u64;
        state.current.append(keys)
    }

    /// Keys ever put in by this process.
    pub fn made(&self) -> u64 {
        self.lock().made
    }

    /// Brings every key to disk, if any is not there. Nobody waits for it.
    pub fn sync(&self) -> Result<(), StoreError> {
        let (made, handles) = {
            let state = self.lock();
            if state.synced >= state.made {
                return Ok(());
            }
            if state.distrusted > state.synced {
                return Err(StoreError::Io {
                    doing: "syncing the key journal: it failed before, and the keys are not stored yet".to_owned(),
                    source: std::io::ErrorKind::Other.into(),
                });
            }
            // one that is being wiped has only keys that are stored
            let both = [Some(&state.current), state.other.as_ref()];
            (state.made, both.into_iter().flatten().map(KeyJournal::sync_handle).collect::<Vec<_>>())
        };
        let synced = handles.iter().try_for_each(|file| file.sync_data());
        let mut state = self.lock();
        match synced {
            Ok(()) => {
                state.synced = state.synced.max(made);
                Ok(())
            }
            Err(source) => {
                state.distrusted = state.made;
                Err(StoreError::Io { doing: "syncing the key journal".to_owned(), source })
            }
        }
    }

    /// Takes turns, when the other one is empty: from now on new keys do not
    /// go where the keys of a layer taken before are.
    pub fn turn(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(other) = state.other.as_mut().filter(|other| other.is_empty()) {
            std::mem::swap(&mut state.current, other);
            state.turned_at = state.made;
        }
    }

    /// The embedded store has the first so many keys, on disk.
    pub fn stored(&self, keys: u64) {
        let mut state = self.lock();
        state.synced = state.synced.max(keys);
    }

    /// Wipes the other one when all its keys are among the first so many ones,
    /// which are stored. The writer goes on meanwhile.
    pub fn wipe(&self, stored: u64) -> Result<(), StoreError> {
        let mut other = {
            let mut state = self.lock();
            // INVARIANT: a key that is not stored is nowhere else
            if state.turned_at > stored {
                return Ok(());
            }
            match state.other.take_if(|other| !other.is_empty()) {
                Some(other) => other,
                None => return Ok(()),
            }
        };
        let wiped = other.reset();
        self.lock().other = Some(other);
        wiped
    }

    /// Wipes both. Only when nothing is to be stored.
    pub fn wipe_all(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.synced = state.made;
        let State { current, other, .. } = &mut *state;
        [Some(current), other.as_mut()].into_iter().flatten().filter(|j| !j.is_empty()).try_for_each(KeyJournal::reset)
    }

    /// Overwrites the keys of erased customers in both, on disk.
    pub fn erase(&self, customers: &HashSet<CustomerKey>) -> Result<(), StoreError> {
        if customers.is_empty() {
            return Ok(());
        }
        let state = self.lock();
        [Some(&state.current), state.other.as_ref()].into_iter().flatten().try_for_each(|j| j.erase(customers))
    }

    /// Keys in both.
    #[cfg(test)]
    pub fn len(&self) -> u64 {
        let state = self.lock();
        state.current.len() + state.other.as_ref().map_or(0, KeyJournal::len)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> (CustomerKey, DataKey) {
        (CustomerKey(u128::from(n)), DataKey([n; 32]))
    }

    #[test]
    fn keys_made_while_a_layer_is_stored_do_not_keep_older_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (journals, _) = Journals::open(dir.path()).unwrap();
        for round in 0..5 {
            journals.append(&[key(2 * round)]).unwrap();
            let layer = journals.made();
            journals.turn();
            // the transaction runs, and a customer is made
            journals.append(&[key(2 * round + 1)]).unwrap();
            journals.wipe(layer).unwrap();
            assert_eq!(journals.len(), 1, "round {round}");
            assert_eq!(Journals::open(dir.path()).unwrap().1, [key(2 * round + 1)]);
        }
    }

    #[test]
    fn the_keys_of_the_erased_are_overwritten_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (journals, _) = Journals::open(dir.path()).unwrap();
        journals.append(&[key(1), key(2), key(3)]).unwrap();
        journals.turn();
        journals.append(&[key(4), key(5)]).unwrap();
        journals.erase(&HashSet::from([CustomerKey(2), CustomerKey(5)])).unwrap();
        let files: Vec<u8> = FILES.iter().flat_map(|file| std::fs::read(dir.path().join(file)).unwrap()).collect();
        for n in 1..=5_u8 {
            assert_eq!(files.windows(32).any(|w| w == [n; 32]), n != 2 && n != 5, "key {n}");
        }
        journals.append(&[key(6)]).unwrap();
        let mut found = Journals::open(dir.path()).unwrap().1;
        found.sort_by_key(|(customer, _)| *customer);
        assert_eq!(found, [key(1), key(3), key(4), key(6)]);
    }

    #[test]
    fn a_key_that_no_layer_has_yet_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (journals, _) = Journals::open(dir.path()).unwrap();
        journals.append(&[key(1)]).unwrap();
        let layer = journals.made();
        journals.append(&[key(2)]).unwrap();
        journals.turn();
        journals.wipe(layer).unwrap();
        assert_eq!(Journals::open(dir.path()).unwrap().1, [key(1), key(2)]);
        journals.wipe(layer + 1).unwrap();
        assert_eq!(Journals::open(dir.path()).unwrap().1, []);
    }
}
