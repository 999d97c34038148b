//! Pause and resume: what stands above every gate and every revision.
//!
//! A pause is in effect at once, for it is swapped into the snapshot before it
//! is written; it is acknowledged once it is on disk. So a slow disk holds the
//! answer back, never the pause.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    app::{App, AppError},
    domain::{AuditAction, AuditEntry, Pause, PauseKind, Pauses},
    rules::{ChannelKind, Ruleset, did_you_mean as near},
    store::StoreError,
};

use super::{gate, report::PublishReport, revisions::pausable_of};
use crate::app::population::Occasion;

/// Most things that are paused at the same time.
pub const PAUSES_MAX: usize = 1_000;
/// How often it is looked whether the pauses are on disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What pausing did.
#[derive(Clone, Debug)]
pub struct Paused {
    /// The pause as it stands, on disk.
    pub pause: Pause,
    /// False when it was paused before.
    pub changed: bool,
    /// The version of the pauses.
    pub version: u64,
    /// Open reservations on outbound channels that were given back.
    pub released: usize,
}

/// What to resume.
#[derive(Clone, Debug)]
pub struct ResumeInput {
    /// What kind of thing.
    pub kind: PauseKind,
    /// Its id.
    pub id: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// Who asks.
    pub author: Arc<str>,
    /// Whether failed checks are overridden.
    pub force: bool,
}

/// What resuming did.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// False when it was not paused.
    pub changed: bool,
    /// The version of the pauses.
    pub version: u64,
    /// What the checks said; empty when it was not paused.
    pub report: PublishReport,
}

/// What of the pauses is on disk.
#[derive(Debug, Default)]
pub(in crate::app) struct Kept {
    /// The version there.
    pub version: u64,
    /// Entries of the audit list that could not be written; at most one per
    /// pause, so at most [`PAUSES_MAX`].
    pub unwritten: Vec<AuditEntry>,
}

impl App {
    /// What is paused.
    pub fn pauses(&self) -> Arc<Pauses> {
        Arc::clone(&self.snapshot.load().pauses)
    }

    /// Stops a thing at once, since now. Blocking.
    ///
    /// # Errors
    /// No kept revision has such a thing; too much is paused; the pause is in
    /// effect but could not be kept on disk.
    pub fn pause(&self, pause: Pause) -> Result<Paused, AppError> {
        self.pausable_known(pause.kind, &pause.id)?;
        let pause = Pause { since: self.now(), ..pause };
        let (pauses, changed) = {
            let _pausing = self.pausing();
            let current = self.pauses();
            match current.get(pause.kind, &pause.id) {
                Some(_) => (current, false),
                None if current.list.len() >= PAUSES_MAX => {
                    return Err(AppError::Exhausted(format!(
                        "`{PAUSES_MAX}` things are paused, and no more may be: resume one, or pause its group or channel"
                    )));
                }
                None => (self.swap_pauses(current.with(pause.clone())), true),
            }
        };
        let stands = pauses.get(pause.kind, &pause.id).cloned().unwrap_or(pause);
        let released = if changed { self.release_paused(&pauses) } else { 0 };
        let audit = changed.then(|| audit_of(AuditAction::Pause, &stands));
        self.keep_pauses(pauses.version, audit).map_err(|error| {
            AppError::Unavailable(format!(
                "the {} `{}` is paused on the running service, but the pause could not be kept on disk ({error}): \
                 it is tried every second, and until it succeeds the pause ends with the service",
                stands.kind.name(),
                stands.id
            ))
        })?;
        // in effect here whatever becomes of it: it is given to the others once they can be reached
        if let Err(error) = self.share_pauses() {
            tracing::error!(%error, "the pause is in effect on this replica only, until redis is back");
        }
        Ok(Paused { pause: stands, changed, version: pauses.version, released })
    }

    /// Lifts a pause when the active rules pass their checks with it lifted.
    /// Blocking.
    ///
    /// # Errors
    /// Nothing of that kind and id is paused or known; the checks refuse; the
    /// change could not be kept on disk, and the pause goes on.
    pub fn resume(&self, input: &ResumeInput) -> Result<Resumed, AppError> {
        let _publishing = self.publishing();
        let active = self.current();
        let Some(pause) = active.pauses.get(input.kind, &input.id).cloned() else {
            self.known_or_paused(input.kind, &input.id, &active.pauses)?;
            let version = active.pauses.version;
            return Ok(Resumed { changed: false, version, report: PublishReport::default() });
        };
        let candidate = active.with_pauses(Arc::new(active.pauses.without(input.kind, &input.id)));
        let hash = active.ruleset.hash;
        let mut report = PublishReport { revision: hash, active: Some(hash), ..PublishReport::default() };
        gate::weigh_rules(&candidate.ruleset, self.now(), &mut report);
        self.weigh_reach((&active, &candidate), Occasion::Resume, &mut report);
        if !input.force && !report.acceptable() {
            return Err(AppError::Refused(Box::new(report)));
        }
        let said = Pause { reason: Arc::clone(&input.reason), author: Arc::clone(&input.author), ..pause.clone() };
        let mut audit = AuditEntry { at: self.now(), ..audit_of(AuditAction::Resume, &said) };
        if input.force && !report.acceptable() {
            audit.force_reason = Arc::clone(&input.reason);
            audit.overridden = report.overridden();
        }
        self.share_lift(&pause)?;
        let version = self.lift(pause, audit)?;
        Ok(Resumed { changed: true, version, report })
    }

    /// Lifts a pause and keeps that on disk, or leaves it paused; answers the
    /// version of the pauses. Nobody else writes meanwhile, so that no other
    /// change takes a lifted pause to disk that is put back here.
    fn lift(&self, pause: Pause, audit: AuditEntry) -> Result<u64, StoreError> {
        let mut kept = self.kept();
        let lifted = {
            let _pausing = self.pausing();
            self.swap_pauses(self.pauses().without(pause.kind, &pause.id))
        };
        kept.unwritten.push(audit);
        match self.write_pauses(&mut kept) {
            Ok(()) => Ok(lifted.version),
            Err(error) => {
                // INVARIANT: under the lock the own entry is still the last
                kept.unwritten.pop();
                let _pausing = self.pausing();
                let again = self.swap_pauses(self.pauses().with(pause));
                self.metrics.pauses_unwritten(again.version.saturating_sub(kept.version));
                Err(error)
            }
        }
    }

    /// Tries every second to keep on disk what of the pauses is not, as long as
    /// the service runs.
    pub async fn keep_pauses_written(self: Arc<Self>) {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            let app = Arc::clone(&self);
            // one that panicked left the lock, and is tried again
            let _ = tokio::task::spawn_blocking(move || app.write_what_is_unwritten()).await;
        }
    }

    /// Blocking.
    pub(super) fn write_what_is_unwritten(&self) {
        let version = self.pauses().version;
        let behind = version.saturating_sub(self.kept().version);
        if behind == 0 {
            return;
        }
        match self.keep_pauses(version, None) {
            Ok(()) => tracing::info!(behind, "the pauses are on disk now"),
            Err(error) => tracing::error!(behind, %error, "the pauses are in effect but not on disk"),
        }
    }

    /// Held while the pauses change, only for a moment.
    pub(super) fn pausing(&self) -> MutexGuard<'_, ()> {
        self.pausing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts pauses in effect. Under [`App::pausing`].
    pub(super) fn swap_pauses(&self, next: Pauses) -> Arc<Pauses> {
        let next = Arc::new(next);
        self.snapshot.rcu(|current| Arc::new(current.with_pauses(Arc::clone(&next))));
        self.metrics.paused(&next);
        next
    }

    /// Keeps the pauses on disk with what the audit list says of the change;
    /// without a change only if this version is not there yet.
    pub(super) fn keep_pauses(&self, version: u64, audit: Option<AuditEntry>) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if audit.is_none() && kept.version >= version {
            return Ok(());
        }
        kept.unwritten.extend(audit);
        self.write_pauses(&mut kept)
    }

    /// Held while the pauses are written.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.pauses_kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is paused now, with what the audit list does not have yet.
    fn write_pauses(&self, kept: &mut Kept) -> Result<(), StoreError> {
        let latest = self.pauses();
        let saved = self.store.save_pauses(&latest, &kept.unwritten);
        if saved.is_ok() {
            *kept = Kept { version: latest.version, unwritten: Vec::new() };
        }
        self.metrics.pauses_unwritten(latest.version.saturating_sub(kept.version));
        saved
    }

    /// Gives back what decisions hold that are not handed off yet: open
    /// reservations of what is paused, on the channels on which we reach out.
    pub(in crate::app) fn release_paused(&self, pauses: &Pauses) -> usize {
        let rules = &self.current().ruleset;
        let released = self.store.ledger().release_where(|offer, channel| {
            let channel = rules.channel_slots.get(&channel).map(|slot| rules.channel(*slot));
            let Some(channel) = channel.filter(|channel| channel.kind == ChannelKind::Outbound) else { return false };
            let offer = rules.offer_slots.get(&offer).map(|slot| rules.offer(*slot));
            let group = offer.and_then(|offer| rules.groups.get(offer.group.index()));
            let issue = offer.and_then(|offer| rules.issues.get(offer.issue.index()));
            pauses.get(PauseKind::Channel, &channel.name).is_some()
                || offer.is_some_and(|offer| pauses.get(PauseKind::Offer, &offer.name_id).is_some())
                || group.is_some_and(|group| pauses.get(PauseKind::Group, group).is_some())
                || issue.is_some_and(|issue| pauses.get(PauseKind::Issue, &issue.name).is_some())
        });
        if released > 0 {
            tracing::info!(released, "open reservations of what is paused were given back");
        }
        released
    }

    /// # Errors
    /// Neither the active revision nor a kept one has such a thing.
    fn pausable_known(&self, kind: PauseKind, id: &str) -> Result<(), AppError> {
        let ruleset = Arc::clone(&self.snapshot.load().ruleset);
        if is_known(&ruleset, kind, id) || self.store.was_known(kind, id)? {
            return Ok(());
        }
        let ids = pausable_of(&ruleset, kind);
        let hint = near(id, ids.iter().map(|id| &**id));
        Err(AppError::NotFound(format!("there is no {} `{}`{hint}", kind.name(), id.escape_debug())))
    }

    /// # Errors
    /// As [`App::pausable_known`]; what is paused is near as well.
    fn known_or_paused(&self, kind: PauseKind, id: &str, pauses: &Pauses) -> Result<(), AppError> {
        let paused = pauses.list.iter().filter(|pause| pause.kind == kind).map(|pause| &*pause.id);
        match (near(id, paused), self.pausable_known(kind, id)) {
            (hint, Err(AppError::NotFound(_))) if !hint.is_empty() => {
                Err(AppError::NotFound(format!("no {} `{}` is paused{hint}", kind.name(), id.escape_debug())))
            }
            (_, known) => known,
        }
    }
}

fn is_known(ruleset: &Ruleset, kind: PauseKind, id: &str) -> bool {
    match kind {
        PauseKind::Offer => ruleset.offer_by_name(id).is_some(),
        PauseKind::Issue => ruleset.issues.iter().any(|issue| &*issue.name == id),
        PauseKind::Group => ruleset.groups.iter().any(|group| &**group == id),
        PauseKind::Channel => ruleset.channel_by_name(id).is_some(),
    }
}

fn audit_of(action: AuditAction, pause: &Pause) -> AuditEntry {
    AuditEntry {
        number: 0,
        at: pause.since,
        author: Arc::clone(&pause.author),
        action,
        subject: format!("{} {}", pause.kind.name(), pause.id).into(),
        reason: Arc::clone(&pause.reason),
        origin: None,
        previous: None,
        force_reason: "".into(),
        overridden: Vec::new(),
    }
}
