//! Rules, pauses and the audit list at rest: every change is one transaction
//! of the embedded store, on disk when it returns.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use crate::domain::{
    Activation, AuditAction, AuditEntry, PauseKind, Pauses, Revision, RevisionOrigin, RulesetHash, Timestamp,
};
use crate::rules::SourceFile;

use super::{
    Store, StoreError, codec,
    embedded::{Embedded, META, RULESETS},
};

/// What is known of each kept revision.
const REVISIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("revisions");
/// What each kept revision has that can be paused.
const PAUSABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("pausable");
/// Who changed what, by number.
const AUDIT: TableDefinition<u64, &[u8]> = TableDefinition::new("audit");
/// The pauses and the active revision.
const CONTROL: TableDefinition<&str, &[u8]> = TableDefinition::new("control");

const PAUSES: &str = "pauses";
const ACTIVE: &str = "active";
/// In [`META`]: the hash of the directory when its files were last taken.
const DIRECTORY: &str = "directory";
/// In [`META`]: the longest a reservation lives by any rules that were active.
pub(super) const RESERVE_US: &str = "reserve_us";

/// Revisions kept whatever the log needs: the active one and two before it.
pub const REVISIONS_KEPT_MIN: usize = 3;
/// Revisions kept, although the log does not need them, to go back to.
pub const REVISIONS_KEPT: usize = 50;
/// Most revisions kept. Decisions of older ones cannot be replayed.
pub const REVISIONS_KEPT_MAX: usize = 1_000;
/// Most entries of the audit list; the oldest go first.
pub const AUDIT_LEN_MAX: u64 = 1_000_000;

/// What is paused and active, as it was left.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// What is paused.
    pub pauses: Pauses,
    /// The active revision; `None` before the first.
    pub active: Option<Activation>,
    /// The hash of the rules directory when its files were last taken.
    pub directory: Option<RulesetHash>,
}

/// A revision that becomes active.
#[derive(Clone, Debug)]
pub struct NewActive<'a> {
    /// How it became active.
    pub activation: Activation,
    /// Its files.
    pub files: &'a [SourceFile],
    /// Number of its offers.
    pub offers: usize,
    /// Ids of what it has that can be paused, by kind.
    pub pausable: [Vec<Arc<str>>; 4],
    /// The longest a reservation lives by these rules, microseconds.
    pub reserve_us: i64,
    /// The checks that were overridden.
    pub overridden: Vec<Arc<str>>,
    /// When the oldest decision of the log was made.
    pub needed_from: Option<Timestamp>,
}

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(REVISIONS)?;
    transaction.open_table(PAUSABLE)?;
    transaction.open_table(AUDIT)?;
    transaction.open_table(CONTROL)?;
    Ok(())
}

impl Store {
    /// What is paused and active, as it was left. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn control(&self) -> Result<Control, StoreError> {
        self.shared.mended(self.shared.embedded.control())
    }

    /// Keeps the pauses and adds to the audit list. On disk when it
    /// returns. Blocking.
    ///
    /// # Errors
    /// The store cannot be written: nothing is kept.
    pub fn save_pauses(&self, pauses: &Pauses, audit: &[AuditEntry]) -> Result<(), StoreError> {
        self.shared.mended(self.shared.embedded.save_pauses(pauses, audit))
    }

    /// Keeps a revision, makes it the active one at rest, and forgets those
    /// that nobody needs any more. On disk when it returns. Blocking.
    ///
    /// # Errors
    /// The store cannot be written: nothing is kept.
    pub fn activate(&self, new: &NewActive<'_>) -> Result<(), StoreError> {
        self.shared.mended(self.shared.embedded.activate(new))
    }

    /// Remembers that the files of the rules directory were taken. Blocking.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn save_directory(&self, hash: RulesetHash) -> Result<(), StoreError> {
        self.shared.mended(self.shared.embedded.save_directory(hash))
    }

    /// The kept revisions, the one that was active last first; one whose row is
    /// damaged is told in the log and left out. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn revisions(&self) -> Result<Vec<Revision>, StoreError> {
        self.shared.mended(self.shared.embedded.revisions())
    }

    /// Whether any kept revision has a thing that can be paused. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn was_known(&self, kind: PauseKind, id: &str) -> Result<bool, StoreError> {
        self.shared.mended(self.shared.embedded.was_known(kind, id))
    }

    /// Entries of the audit list before a number, newest first. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn audit(&self, before: u64, len_max: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.shared.mended(self.shared.embedded.audit(before, len_max))
    }

    /// Every ruleset whose files are kept, in no order. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn kept_rulesets(&self) -> Result<Vec<RulesetHash>, StoreError> {
        self.shared.mended(self.shared.embedded.kept_rulesets())
    }

    /// The files of a ruleset kept before. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load_ruleset(&self, hash: RulesetHash) -> Result<Option<Vec<SourceFile>>, StoreError> {
        self.shared.mended(self.shared.embedded.load_ruleset(hash))
    }
}

impl Embedded {
    fn control(&self) -> Result<Control, StoreError> {
        let (pauses, active, directory) = self.with("reading the pauses", |database| {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(CONTROL)?;
            let bytes = |name: &str| -> Result<Option<Vec<u8>>, redb::Error> {
                Ok(table.get(name)?.map(|value| value.value().to_vec()))
            };
            let directory = transaction.open_table(META)?.get(DIRECTORY)?.map(|value| value.value());
            Ok((bytes(PAUSES)?, bytes(ACTIVE)?, directory))
        })?;
        Ok(Control {
            pauses: pauses.map_or_else(|| Ok(Pauses::default()), |bytes| codec::decode_pauses(&bytes))?,
            // without it the revisions tell which was active
            active: active.and_then(|bytes| told(codec::decode_activation(&bytes))),
            directory: directory.map(|hash| RulesetHash(hash.cast_unsigned())),
        })
    }

    fn save_pauses(&self, pauses: &Pauses, audit: &[AuditEntry]) -> Result<(), StoreError> {
        let bytes = codec::encode_pauses(pauses);
        self.with("storing the pauses", |database| {
            let transaction = database.begin_write()?;
            transaction.open_table(CONTROL)?.insert(PAUSES, &bytes[..])?;
            for entry in audit {
                add_audit(&transaction, entry)?;
            }
            Ok(transaction.commit()?)
        })
    }

    fn save_directory(&self, hash: RulesetHash) -> Result<(), StoreError> {
        self.with("storing the state of the rules directory", |database| {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert(DIRECTORY, hash.0.cast_signed())?;
            Ok(transaction.commit()?)
        })
    }

    fn activate(&self, new: &NewActive<'_>) -> Result<(), StoreError> {
        let mut kept: HashMap<u64, Revision> = self.revisions()?.into_iter().map(|r| (r.hash.0, r)).collect();
        let hash = new.activation.hash;
        let mut changed = Vec::new();
        for other in kept.values_mut().filter(|r| r.hash != hash && r.replaced_at.is_none()) {
            other.replaced_at = Some(new.activation.at);
            changed.push(other.clone());
        }
        let mut revision = kept.remove(&hash.0).unwrap_or_else(|| revision_of(new));
        revision.activated_at = new.activation.at;
        revision.replaced_at = None;
        changed.push(revision.clone());
        kept.insert(hash.0, revision);
        let forgotten = forgettable(kept.into_values().collect(), new.needed_from);
        self.with("storing a revision", |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(RULESETS)?;
                if table.get(hash.0)?.is_none() {
                    let mut files = Vec::new();
                    codec::encode_rule_files(new.files, &mut files);
                    table.insert(hash.0, &files[..])?;
                }
                let mut revisions = transaction.open_table(REVISIONS)?;
                for revision in &changed {
                    revisions.insert(revision.hash.0, &codec::encode_revision(revision)[..])?;
                }
                let mut pausable = transaction.open_table(PAUSABLE)?;
                pausable.insert(hash.0, &codec::encode_pausable(&new.pausable)[..])?;
                for old in &forgotten {
                    table.remove(old.0)?;
                    revisions.remove(old.0)?;
                    pausable.remove(old.0)?;
                }
                let mut control = transaction.open_table(CONTROL)?;
                control.insert(ACTIVE, &codec::encode_activation(&new.activation)[..])?;
            }
            write_meta(&transaction, new)?;
            add_audit(&transaction, &audit_of(new))?;
            Ok(transaction.commit()?)
        })
    }

    fn revisions(&self) -> Result<Vec<Revision>, StoreError> {
        let rows = self.with("reading the revisions", |database| {
            let table = database.begin_read()?.open_table(REVISIONS)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                rows.push(row?.1.value().to_vec());
            }
            Ok(rows)
        })?;
        let mut revisions: Vec<_> = rows.iter().filter_map(|row| told(codec::decode_revision(row))).collect();
        revisions.sort_by_key(latest_first);
        Ok(revisions)
    }

    fn was_known(&self, kind: PauseKind, id: &str) -> Result<bool, StoreError> {
        let rows = self.with("reading the ids of the revisions", |database| {
            let table = database.begin_read()?.open_table(PAUSABLE)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                rows.push(row?.1.value().to_vec());
            }
            Ok(rows)
        })?;
        for row in rows {
            let [offers, issues, groups, channels] = codec::decode_pausable(&row)?;
            let ids = match kind {
                PauseKind::Offer => offers,
                PauseKind::Issue => issues,
                PauseKind::Group => groups,
                PauseKind::Channel => channels,
            };
            if ids.iter().any(|known| &**known == id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn audit(&self, before: u64, len_max: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = self.with("reading the audit list", |database| {
            let table = database.begin_read()?.open_table(AUDIT)?;
            let mut rows = Vec::new();
            for row in table.range(..before)?.rev().take(len_max) {
                let (number, bytes) = row?;
                rows.push((number.value(), bytes.value().to_vec()));
            }
            Ok(rows)
        })?;
        rows.iter().map(|(number, bytes)| codec::decode_audit(*number, bytes)).collect()
    }

    fn kept_rulesets(&self) -> Result<Vec<RulesetHash>, StoreError> {
        self.with("reading the rulesets", |database| {
            let table = database.begin_read()?.open_table(RULESETS)?;
            let mut hashes = Vec::new();
            for row in table.iter()? {
                hashes.push(RulesetHash(row?.0.value()));
            }
            Ok(hashes)
        })
    }

    pub(super) fn load_ruleset(&self, hash: RulesetHash) -> Result<Option<Vec<SourceFile>>, StoreError> {
        let encoded = self.with("reading a ruleset", |database| {
            let table = database.begin_read()?.open_table(RULESETS)?;
            Ok(table.get(hash.0)?.map(|value| value.value().to_vec()))
        })?;
        encoded.map(|bytes| codec::decode_rule_files(&bytes)).transpose()
    }
}

/// A damaged row is told and passed over.
fn told<T>(decoded: Result<T, StoreError>) -> Option<T> {
    decoded.inspect_err(|error| tracing::error!(%error, "a row of the embedded store is damaged")).ok()
}

fn write_meta(transaction: &WriteTransaction, new: &NewActive<'_>) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    if matches!(new.activation.origin, RevisionOrigin::Directory | RevisionOrigin::Start) {
        meta.insert(DIRECTORY, new.activation.hash.0.cast_signed())?;
    }
    let known = meta.get(RESERVE_US)?.map_or(0, |value| value.value());
    if new.reserve_us > known {
        meta.insert(RESERVE_US, new.reserve_us)?;
    }
    Ok(())
}

/// INVARIANT: numbers only grow; an entry is never written again.
fn add_audit(transaction: &WriteTransaction, entry: &AuditEntry) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(AUDIT)?;
    let last = table.last()?.map_or(0, |(number, _)| number.value());
    table.insert(last + 1, &codec::encode_audit(entry)[..])?;
    if table.len()? > AUDIT_LEN_MAX {
        table.pop_first()?;
    }
    Ok(())
}

fn audit_of(new: &NewActive<'_>) -> AuditEntry {
    let Activation { hash, at, author, comment, origin, parent, force_reason } = new.activation.clone();
    AuditEntry {
        number: 0,
        at,
        author,
        action: if origin == RevisionOrigin::Rollback { AuditAction::Rollback } else { AuditAction::Publish },
        subject: hash.to_string().into(),
        reason: comment,
        origin: Some(origin),
        previous: parent,
        force_reason,
        overridden: new.overridden.clone(),
    }
}

fn revision_of(new: &NewActive<'_>) -> Revision {
    let Activation { hash, at, author, comment, origin, parent, force_reason } = new.activation.clone();
    Revision {
        hash,
        author,
        comment,
        created_at: at,
        parent,
        origin,
        force_reason,
        activated_at: at,
        replaced_at: None,
        offers: u32::try_from(new.offers).unwrap_or(u32::MAX),
        files: u32::try_from(new.files.len()).unwrap_or(u32::MAX),
        bytes: new.files.iter().map(|file| file.text.len() as u64).sum(),
    }
}

fn latest_first(revision: &Revision) -> (bool, std::cmp::Reverse<Timestamp>, RulesetHash) {
    (revision.replaced_at.is_some(), std::cmp::Reverse(revision.activated_at), revision.hash)
}

/// The revisions that are needed neither to go back to nor by decisions of the
/// log. INVARIANT: never one of the last [`REVISIONS_KEPT_MIN`].
fn forgettable(mut revisions: Vec<Revision>, needed_from: Option<Timestamp>) -> Vec<RulesetHash> {
    revisions.sort_by_key(latest_first);
    let needed = |revision: &Revision| match (revision.replaced_at, needed_from) {
        (Some(replaced), Some(from)) => replaced >= from,
        (None, _) => true,
        (Some(_), None) => false,
    };
    let ranked = revisions.iter().enumerate().skip(REVISIONS_KEPT_MIN);
    ranked
        .filter(|(rank, revision)| *rank >= REVISIONS_KEPT_MAX || *rank >= REVISIONS_KEPT && !needed(revision))
        .map(|(_, revision)| revision.hash)
        .collect()
}
