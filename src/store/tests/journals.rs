//! Keys of customers whom only the log has yet.

use super::support::*;
use crate::domain::*;
use crate::store::{key_journal::KeyJournal, seal::DataKey, *};

const WRONG: DataKey = DataKey([9; 32]);

/// A write that failed left a key in one journal, and the one that succeeded
/// made another key: in the same journal, or in the other after a turn.
#[test]
fn a_key_of_a_write_that_failed_does_not_keep_the_store_shut() {
    for (file, wrong_first) in
        [("keys.journal", true), ("keys.journal", false), ("keys.journal.other", true), ("keys.journal.other", false)]
    {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::open(config(dir.path())).unwrap();
        // nothing reaches the embedded store
        let quiet = store.shared.embedded.quiet().unwrap();
        let ann = runtime().block_on(buy(&store, "ann", 1)).customer.unwrap();
        copy_files(&store, copy.path());
        quiet.abort().unwrap();
        store.close();
        let path = copy.path().join(file);
        let (mut journal, found) = KeyJournal::open(&path).unwrap();
        journal.reset().unwrap();
        let mut keys = vec![(ann, WRONG)];
        keys.splice(if wrong_first { 1..1 } else { 0..0 }, found);
        journal.append(&keys).unwrap();
        drop(journal);
        let store = Store::open(config(copy.path())).unwrap();
        runtime().block_on(async {
            assert_eq!(buy(&store, "ann", 2).await.customer, Some(ann));
            let hot = store.profile(ann).await.unwrap().unwrap();
            assert_eq!(hot.profile.stat(EventTypeId(3)).unwrap().count, 2, "{file} {wrong_first}");
            assert_ne!(hot.data_key, WRONG);
        });
    }
}

/// Where no key opens a record, the store says so.
#[test]
fn a_record_that_no_key_opens_is_an_error() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(config(dir.path())).unwrap();
    let quiet = store.shared.embedded.quiet().unwrap();
    let ann = runtime().block_on(buy(&store, "ann", 1)).customer.unwrap();
    copy_files(&store, copy.path());
    quiet.abort().unwrap();
    let (mut journal, _) = KeyJournal::open(&copy.path().join("keys.journal")).unwrap();
    journal.reset().unwrap();
    journal.append(&[(ann, WRONG)]).unwrap();
    drop(journal);
    assert!(matches!(Store::open(config(copy.path())).err(), Some(StoreError::Corrupt(_))));
}

fn copy_files(store: &Store, to: &std::path::Path) {
    copy(&store.shared.config.dir, to);
}
