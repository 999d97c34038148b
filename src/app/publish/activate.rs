//! Publish and roll back: check, keep on disk, swap. One at a time.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::{
    app::{App, AppError, gently},
    decide::Snapshot,
    domain::{Activation, RevisionOrigin, RulesetHash, time::SECOND_US},
    learn,
    rules::{self, Ruleset, SourceFile},
    store::{Linking, NewActive},
    telemetry::PublishOutcome,
};

use super::{
    RevisionInfo,
    gate::{self, Examined},
    report::{Change, PublishReport, Published, Step},
    revisions,
};

/// The most rulesets kept compiled for replay, with the active one.
const COMPILED_KEPT_MAX: usize = 8;
/// The most offers they have together, but for those of the active one.
const COMPILED_OFFERS_MAX: usize = 200_000;
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
        if let Ok(published) = &published
            && change.origin != RevisionOrigin::Directory
        {
            self.follow_directory(published.revision);
        }
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
            self.note_refused(Vec::new());
            let report = PublishReport { revision: active, active: Some(active), ..PublishReport::default() };
            return Ok(Published { revision: active, changed: false, report });
        }
        let Examined { mut report, candidate } = self.examine(files);
        if change.origin == RevisionOrigin::Rollback {
            report.excuse_reach();
        }
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
        let before = self.activate(&candidate, files, change, &mut report)?;
        drop(publishing);
        gently::retire(before);
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

    /// Keeps a candidate on disk, swaps it in and answers what served before.
    /// Under [`App::publishing`].
    fn activate(
        &self,
        candidate: &Snapshot,
        files: &[SourceFile],
        change: &Change,
        report: &mut PublishReport,
    ) -> Result<Arc<Snapshot>, AppError> {
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
        // who serves it must not be alone with it
        let served = self.share_rules(&activation, files)?;
        let (kept, took) = gate::timed(|| self.store.activate(&new));
        kept?;
        report.timings.push((Step::Keep, took));
        let (before, took) = gate::timed(|| self.swap(candidate, activation));
        self.shared_as(served);
        report.timings.push((Step::Swap, took));
        Ok(before)
    }

    pub(super) fn swap(&self, candidate: &Snapshot, activation: Activation) -> Arc<Snapshot> {
        let before = self.snapshot.rcu(|current| {
            // what was learned and paused since the checks began
            let tallies = self.store.tallies().borrow().clone();
            let models = Arc::new(learn::response_rates(&tallies, &candidate.ruleset));
            let next = candidate.with_models(models).with_base(Arc::clone(&current.base));
            match Arc::ptr_eq(&next.pauses, &current.pauses) {
                true => Arc::new(next),
                false => Arc::new(next.with_pauses(Arc::clone(&current.pauses))),
            }
        });
        self.store.link_by(Linking::of(&candidate.ruleset.schema));
        if let Some(caps) = self.store.caps() {
            caps.go_by(&candidate.ruleset);
        }
        self.metrics.revision(&activation.hash.to_string(), activation.origin);
        let accepted = self.directory_accepted(&activation);
        {
            let mut revision = self.revision.lock().unwrap_or_else(PoisonError::into_inner);
            // a publish by call says nothing of what is wrong in the directory
            let refused = if accepted { Vec::new() } else { std::mem::take(&mut revision.refused) };
            self.metrics.refused(refused.len());
            *revision = RevisionInfo { activation, ruleset: Arc::clone(&candidate.ruleset), refused };
        }
        self.metrics.reloaded(0);
        self.remember_compiled(&candidate.ruleset);
        before
    }

    /// Whether what became active is what the directory has; a call may publish
    /// by force what is refused there.
    fn directory_accepted(&self, activation: &Activation) -> bool {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = directory.refused.is_some_and(|refused| refused.hash == activation.hash);
        if refused {
            (directory.refused, directory.taken) = (None, Some(activation.hash));
        }
        refused || activation.origin == RevisionOrigin::Directory
    }

    /// Remembers why the directory is not served; nothing when it is.
    pub(super) fn note_refused(&self, lines: Vec<String>) {
        self.metrics.refused(lines.len());
        self.revision.lock().unwrap_or_else(PoisonError::into_inner).refused = lines;
    }

    fn remember_compiled(&self, ruleset: &Arc<Ruleset>) {
        let active = self.current().ruleset.hash;
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.retain(|kept| kept.hash != ruleset.hash);
        compiled.insert(0, Arc::clone(ruleset));
        let forgotten = beyond_room(&mut compiled, active, |kept| (kept.hash, kept.offers.len()));
        drop(compiled);
        // freed where nobody waits for the lock
        drop(forgotten);
    }

    /// A ruleset by its hash: compiled before, or kept at rest. Blocking.
    pub(in crate::app) fn ruleset(&self, hash: RulesetHash) -> Result<Arc<Ruleset>, AppError> {
        if let Some(ruleset) = self.compiled_ruleset(hash) {
            return Ok(ruleset);
        }
        // never behind a publish; many replays of one revision compile it once
        let _recompiling = self.recompiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ruleset) = self.compiled_ruleset(hash) {
            return Ok(ruleset);
        }
        let ruleset = self.recompiled(hash)?;
        self.remember_compiled(&ruleset);
        Ok(ruleset)
    }

    /// A ruleset by its hash when it is compiled.
    pub(super) fn compiled_ruleset(&self, hash: RulesetHash) -> Option<Arc<Ruleset>> {
        let active = Arc::clone(&self.snapshot.load().ruleset);
        if active.hash == hash {
            return Some(active);
        }
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.iter().find(|kept| kept.hash == hash).cloned()
    }

    /// Compiles a kept revision by itself: what is kept for the next publish
    /// stays, and nobody waits for one.
    pub(super) fn recompiled(&self, hash: RulesetHash) -> Result<Arc<Ruleset>, AppError> {
        let gone = || AppError::FailedPrecondition(format!("the rules of revision `{hash}` are no longer kept"));
        let files = self.store.load_ruleset(hash)?.ok_or_else(gone)?;
        gate::compile(&files).map_err(|_| gone())
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

/// Takes out of a list, newest first, what there is no room for. `of` tells the
/// hash and the number of offers. INVARIANT: the active one stays.
fn beyond_room<T>(list: &mut Vec<T>, active: RulesetHash, of: impl Fn(&T) -> (RulesetHash, usize)) -> Vec<T> {
    let (mut kept, mut offers) = (1, 0);
    let mut is_beyond = |one: &mut T| {
        let (hash, len) = of(one);
        if hash == active {
            return false;
        }
        let beyond = kept >= COMPILED_KEPT_MAX || offers + len > COMPILED_OFFERS_MAX;
        if !beyond {
            (kept, offers) = (kept + 1, offers + len);
        }
        beyond
    };
    list.extract_if(.., |one| is_beyond(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_compiled_is_bounded_by_offers_and_the_active_one_stays() {
        let kept = |sizes: &[usize], active: u64| {
            let mut list: Vec<_> = sizes.iter().enumerate().map(|(at, len)| (RulesetHash(at as u64), *len)).collect();
            let beyond = beyond_room(&mut list, RulesetHash(active), |one| *one);
            assert_eq!(list.len() + beyond.len(), sizes.len());
            list.iter().map(|(hash, _)| hash.0).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[10; 10], 0), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(kept(&[10; 10], 9), [0, 1, 2, 3, 4, 5, 6, 9]);
        let half = COMPILED_OFFERS_MAX / 2;
        assert_eq!(kept(&[half, half, 1, 10 * half], 3), [0, 1, 3]);
        assert_eq!(kept(&[3 * half, 10, 10 * half], 1), [1]);
    }
}
