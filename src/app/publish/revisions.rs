//! Kept revisions: which there are, their files, and what differs.

use std::sync::Arc;

use crate::{
    app::{App, AppError},
    domain::{AuditEntry, PauseKind, Revision, RulesetHash},
    rules::{Ruleset, SourceFile},
};

use super::diff::{self, RevisionDiff};

/// Ids of what a revision has that can be paused, by kind in order of
/// [`PauseKind::ALL`].
pub type Pausable = [Vec<Arc<str>>; 4];

/// A revision that is kept, with its files.
#[derive(Clone, Debug)]
pub struct KeptRevision {
    /// What is known of it.
    pub revision: Revision,
    /// Its files, by path.
    pub files: Vec<SourceFile>,
}

impl App {
    /// The kept revisions, the one that was active last first. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn revisions(&self) -> Result<Vec<Revision>, AppError> {
        Ok(self.store.revisions()?)
    }

    /// A kept revision with its files. Blocking.
    ///
    /// # Errors
    /// It is not kept.
    pub fn kept_revision(&self, hash: RulesetHash) -> Result<KeptRevision, AppError> {
        let revision = self.store.revisions()?.into_iter().find(|revision| revision.hash == hash);
        let revision = revision.ok_or_else(|| not_kept(hash))?;
        Ok(KeptRevision { revision, files: self.kept_files(hash)? })
    }

    /// The files of a kept revision. Blocking.
    ///
    /// # Errors
    /// It is not kept.
    pub(super) fn kept_files(&self, hash: RulesetHash) -> Result<Vec<SourceFile>, AppError> {
        self.store.load_ruleset(hash)?.ok_or_else(|| not_kept(hash))
    }

    /// What differs from one kept revision to another. Blocking.
    ///
    /// # Errors
    /// One of them is not kept, or does not compile any more.
    pub fn diff(&self, from: RulesetHash, to: RulesetHash) -> Result<RevisionDiff, AppError> {
        let (from_files, to_files) = (self.kept_files(from)?, self.kept_files(to)?);
        // replays wait for nobody who compares, and keep what they compiled
        let compiled = |hash| self.compiled_ruleset(hash).map_or_else(|| self.recompiled(hash), Ok);
        let (before, after) = (compiled(from)?, compiled(to)?);
        let files = diff::files(&from_files, &to_files);
        Ok(diff::offers(&before, &after, files))
    }

    /// Entries of the audit list before a number, newest first. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn audit(&self, before: u64, len_max: usize) -> Result<Vec<AuditEntry>, AppError> {
        Ok(self.store.audit(before, len_max)?)
    }
}

fn not_kept(hash: RulesetHash) -> AppError {
    AppError::NotFound(format!("revision `{hash}` is not kept: list the revisions for those that are"))
}

/// Ids of what can be paused, by kind.
pub(super) fn pausable(ruleset: &Ruleset) -> Pausable {
    PauseKind::ALL.map(|kind| pausable_of(ruleset, kind))
}

/// Ids of one kind.
pub(super) fn pausable_of(ruleset: &Ruleset, kind: PauseKind) -> Vec<Arc<str>> {
    match kind {
        PauseKind::Offer => ruleset.offers.iter().map(|offer| Arc::clone(&offer.name_id)).collect(),
        PauseKind::Issue => ruleset.issues.iter().map(|issue| Arc::clone(&issue.name)).collect(),
        PauseKind::Group => ruleset.groups.clone(),
        PauseKind::Channel => ruleset.channels.iter().map(|channel| Arc::clone(&channel.name)).collect(),
    }
}
