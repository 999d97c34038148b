//! Publish and roll back: check, keep on disk, swap. One at a time.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::{
    app::{App, AppError, gently},
    decide::Snapshot,
    domain::{Activation, RevisionOrigin, RulesetHash, time::SECOND_US},
    learn,
    rules::{self, Ruleset, SourceFile},
    store::NewActive,
    telemetry::PublishOutcome,
};

use super::{
    RevisionInfo,
    gate::{self, Examined},
    report::{Change, PublishReport, Published, Step},
    revisions,
};

/// The most rulesets kept compiled for replay.
const COMPILED_KEPT_MAX: usize = 8;
/// How long before the oldest record of the log a revision may have been
/// replaced and still have made a decision in it, microseconds.
const NEEDED_SLACK_US: i64 = 3_600 * SECOND_US;

impl App {
    /// Checks rule files and serves them from now on. Blocking.
    ///
    /// # Errors
    /// Another revision is active than expected; the checks refuse the files;
    /// they cannot be kept. The old revision serves on.
    pub fn publish(&self, files: &[SourceFile], change: &Change) -> Result<Published, AppError> {
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let published = self.publish_sorted(&files, change);
        let outcome = match &published {
            Ok(Published { changed: false, .. }) => PublishOutcome::Unchanged,
            Ok(_) if change.force.is_some() => PublishOutcome::Forced,
            Ok(_) => PublishOutcome::Published,
            Err(AppError::Aborted(_)) => PublishOutcome::Aborted,
            Err(_) => PublishOutcome::Refused,
        };
        self.metrics.published(outcome);
        published
    }

    fn publish_sorted(&self, files: &[SourceFile], change: &Change) -> Result<Published, AppError> {
        let publishing = self.publishing();
        let active = self.current().ruleset.hash;
        if let Some(expected) = change.expected.filter(|expected| *expected != active) {
            return Err(AppError::Aborted(format!(
                "the active revision is `{active}`, not `{expected}`: look at what changed and publish again"
            )));
        }
        if change.origin == RevisionOrigin::Directory && rules::hash_of(files) == active {
            // the files of a call came to the directory as well
            self.store.save_directory(active)?;
            self.nothing_refused();
            let report = PublishReport { revision: active, active: Some(active), ..PublishReport::default() };
            return Ok(Published { revision: active, changed: false, report });
        }
        let Examined { mut report, candidate } = self.examine(files);
        let refused = match change.force {
            Some(_) => !report.errors.is_empty(),
            None => !report.acceptable(),
        };
        let Some(candidate) = candidate.filter(|_| !refused) else {
            return Err(AppError::Refused(Box::new(report)));
        };
        if candidate.ruleset.hash == active {
            return Ok(Published { revision: active, changed: false, report });
        }
        self.activate(&candidate, files, change, &mut report)?;
        drop(publishing);
        Ok(Published { revision: report.revision, changed: true, report })
    }

    /// Makes a kept revision active again, after the same checks. Blocking.
    ///
    /// # Errors
    /// As [`App::publish`]; the revision is not kept.
    pub fn rollback(&self, revision: RulesetHash, change: &Change) -> Result<Published, AppError> {
        let files = self.kept_files(revision)?;
        self.publish(&files, change)
    }

    /// Held while the rules change, so that what was checked is what serves.
    pub(super) fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a candidate on disk and swaps it in. Under [`App::publishing`].
    fn activate(
        &self,
        candidate: &Snapshot,
        files: &[SourceFile],
        change: &Change,
        report: &mut PublishReport,
    ) -> Result<(), AppError> {
        let now = self.now();
        let activation = Activation {
            hash: candidate.ruleset.hash,
            at: now,
            author: Arc::clone(&change.author),
            comment: Arc::clone(&change.comment),
            origin: change.origin,
            parent: report.active,
            force_reason: change.force.clone().unwrap_or_default(),
        };
        let overridden = if change.force.is_some() { report.overridden() } else { Vec::new() };
        let needed = self.store.oldest_record().map(|at| at.plus_us(-NEEDED_SLACK_US));
        let new =
            NewActive { overridden, needed_from: needed, ..new_active(activation.clone(), &candidate.ruleset, files) };
        let (kept, took) = gate::timed(|| self.store.activate(&new));
        kept?;
        report.timings.push((Step::Keep, took));
        let ((), took) = gate::timed(|| self.swap(candidate, activation));
        report.timings.push((Step::Swap, took));
        Ok(())
    }

    fn swap(&self, candidate: &Snapshot, activation: Activation) {
        self.remember_compiled(&candidate.ruleset);
        let before = self.snapshot.rcu(|current| {
            // what was learned and paused since the checks began
            let tallies = self.store.tallies().borrow().clone();
            let models = Arc::new(learn::response_rates(&tallies, &candidate.ruleset));
            let next = candidate.with_models(models);
            match Arc::ptr_eq(&next.pauses, &current.pauses) {
                true => Arc::new(next),
                false => Arc::new(next.with_pauses(Arc::clone(&current.pauses))),
            }
        });
        self.metrics.revision(&activation.hash.to_string(), activation.origin);
        let mut revision = self.revision.lock().unwrap_or_else(PoisonError::into_inner);
        *revision = RevisionInfo { activation, refused: Vec::new() };
        drop(revision);
        self.metrics.reloaded(0);
        gently::retire(before);
    }

    /// The edit that was refused is gone.
    pub(super) fn nothing_refused(&self) {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner).refused.clear();
        self.metrics.nothing_refused();
    }

    /// Remembers why an edit of the directory is not served.
    pub(super) fn note_refusal(&self, lines: Vec<String>) {
        self.metrics.reloaded(lines.len());
        self.revision.lock().unwrap_or_else(PoisonError::into_inner).refused = lines;
    }

    fn remember_compiled(&self, ruleset: &Arc<Ruleset>) {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.retain(|kept| kept.hash != ruleset.hash);
        compiled.insert(0, Arc::clone(ruleset));
        compiled.truncate(COMPILED_KEPT_MAX);
    }

    /// A ruleset by its hash: compiled before, or kept at rest. Blocking.
    pub(in crate::app) fn ruleset(&self, hash: RulesetHash) -> Result<Arc<Ruleset>, AppError> {
        let kept = self.compiled.lock().ok().and_then(|c| c.iter().find(|r| r.hash == hash).cloned());
        if let Some(ruleset) = kept {
            return Ok(ruleset);
        }
        let gone = || AppError::FailedPrecondition(format!("the rules of revision `{hash}` are no longer kept"));
        let files = self.store.load_ruleset(hash)?.ok_or_else(gone)?;
        let ruleset = self.compile(&files).map_err(|_| gone())?;
        self.remember_compiled(&ruleset);
        Ok(ruleset)
    }

    /// The active revision and, when an edit was refused, why.
    pub fn revision(&self) -> RevisionInfo {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is kept of a revision that becomes active.
pub(super) fn new_active<'a>(activation: Activation, ruleset: &Ruleset, files: &'a [SourceFile]) -> NewActive<'a> {
    let reserves = ruleset.channels.iter().map(|channel| channel.reserve_us);
    NewActive {
        files,
        offers: ruleset.offers.len(),
        pausable: revisions::pausable(ruleset),
        reserve_us: reserves.max().unwrap_or_default(),
        needed_from: None,
        overridden: Vec::new(),
        activation,
    }
}
