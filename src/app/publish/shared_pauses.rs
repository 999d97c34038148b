//! Pauses of all replicas: exchanged by compare-and-set, so that a pause wins and
//! a lift of any replica is taken by all.

use std::sync::{MutexGuard, PoisonError};

use metrics::Label;

use crate::{
    app::{App, AppError},
    domain::{Pause, Pauses},
    store::{SharedPauses, redis::Version},
    telemetry::{metrics, names},
};

use super::shared::{Shared, away, holds, is, soon};

/// Times a change is tried against others.
const RACES_MAX: usize = 8;

impl App {
    /// Takes the pauses of the others and gives them ours. Blocking.
    ///
    /// # Errors
    /// Redis is away: ours are in effect here, and given when it is back.
    pub(super) fn share_pauses(&self) -> Result<(), AppError> {
        let _spreading = self.spreading();
        self.spread_pauses()
    }

    /// Held while pauses are exchanged, so that a lift is never taken for what
    /// was not known yet.
    fn spreading(&self) -> MutexGuard<'_, ()> {
        self.spreading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under [`App::spreading`].
    fn spread_pauses(&self) -> Result<(), AppError> {
        let Some(remote) = self.store.remote() else { return Ok(()) };
        for _ in 0..RACES_MAX {
            let found = remote.wait(remote.rules().pauses(soon()))?;
            let found = found.map_err(|failure| away("reading what is paused", &failure))?;
            let list = {
                let shared = self.spread();
                let _pausing = self.pausing();
                let local = self.pauses();
                let list = shared.merged(&local, &found);
                if list != local.list {
                    self.swap_pauses(Pauses { version: local.version + 1, list: list.clone() });
                    metrics().counter(names::RULES_RECEIVED, vec![Label::new("what", "pauses")]).increment(1);
                }
                list
            };
            let version = self.pauses().version;
            self.keep_pauses(version, None)?;
            self.release_paused(&self.pauses());
            if list == found.pauses.list && found.version != Version(0) {
                self.spread().share(found);
                return Ok(());
            }
            if list.is_empty() && found.version == Version(0) {
                return Ok(());
            }
            let known = self.spread().pauses.version;
            let version = found.version.max(known).next();
            let next = SharedPauses { version, pauses: Pauses { version: version.0, list } };
            let swapped = remote.wait(remote.rules().swap_pauses(found.version, &next, soon()))?;
            if swapped.map_err(|failure| away("sharing what is paused", &failure))?.is_ok() {
                self.spread().share(next);
                return Ok(());
            }
        }
        Err(AppError::Aborted(
            "sharing what is paused: other replicas change it all the time; it is tried again".to_owned(),
        ))
    }

    /// Lifts a pause for all replicas, before it is lifted here. Blocking.
    ///
    /// # Errors
    /// Redis is away: it stays paused everywhere.
    pub(super) fn share_lift(&self, pause: &Pause) -> Result<(), AppError> {
        let Some(remote) = self.store.remote() else { return Ok(()) };
        let _spreading = self.spreading();
        for _ in 0..RACES_MAX {
            if let Err(error) = self.spread_pauses() {
                // what was paused here while redis was away, nobody else knows
                let shared = self.spread();
                if holds(&shared.pauses.pauses.list, pause) {
                    return Err(error);
                }
                self.lifted_here(pause, &shared);
                return Ok(());
            }
            let shared = self.spread().pauses.clone();
            let version = shared.version.next();
            let mut list = shared.pauses.list;
            list.retain(|other| !is(other, pause.kind, &pause.id));
            let next = SharedPauses { version, pauses: Pauses { version: version.0, list } };
            let swapped = remote.wait(remote.rules().swap_pauses(shared.version, &next, soon()))?;
            let swapped = swapped.map_err(|failure| away("lifting a pause for all replicas", &failure))?;
            if swapped.is_ok() {
                self.lifted_everywhere(pause, next);
                return Ok(());
            }
        }
        Err(AppError::Aborted("lifting a pause: other replicas change the pauses all the time; try again".to_owned()))
    }

    /// Nobody who looks in between may take what was lifted for a new pause.
    fn lifted_everywhere(&self, pause: &Pause, next: SharedPauses) {
        let mut shared = self.spread();
        self.lifted_here(pause, &shared);
        shared.share(next);
    }

    /// Lifts a pause here. Under [`App::spread`].
    fn lifted_here(&self, pause: &Pause, _: &Shared) {
        let _pausing = self.pausing();
        let local = self.pauses();
        if local.get(pause.kind, &pause.id).is_some() {
            self.swap_pauses(local.without(pause.kind, &pause.id));
        }
    }
}
