//! The rules and pauses that replicas share: what is published on one is active
//! on all within a second. Redis holds what is active, by compare-and-set; the
//! data directory keeps the copy that serves while Redis is away.

use std::{
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use metrics::Label;

use crate::{
    app::{App, AppError, gently},
    decide::Snapshot,
    domain::{Activation, Pause, PauseKind, Pauses, RulesetHash},
    learn,
    rules::SourceFile,
    store::{
        SharedActive, SharedPauses, codec,
        redis::{Failure, Outage, Version},
    },
    telemetry::{metrics, names},
};

use super::activate::new_active;

/// Between two looks at what is shared.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long one call may take.
const CALL_MAX: Duration = Duration::from_millis(1_000);
/// Revisions of others that are remembered until the directory changes.
const ELSEWHERE_MAX: usize = 64;
/// The file of the pauses that were shared last, below the data directory.
const PAUSES_FILE: &str = "pauses.shared";

/// With whom a revision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// There are no others.
    Alone,
    /// The others have it, under this version.
    Everywhere(Version),
    /// The others get it when Redis is back.
    Apart,
}

/// What is known of what is shared.
#[derive(Debug, Default)]
pub(in crate::app) struct Shared {
    /// The version of the shared activation that serves here.
    active: Version,
    /// Whether a revision serves that the others do not have.
    unshared: bool,
    /// The pauses that were shared last.
    pub(super) pauses: SharedPauses,
    /// Where they are kept; none without a shared store.
    pauses_path: Option<PathBuf>,
}

impl Shared {
    /// As it was left in a data directory.
    pub fn kept_in(dir: Option<PathBuf>) -> Self {
        let pauses_path = dir.map(|dir| dir.join(PAUSES_FILE));
        let bytes = pauses_path.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        // without it what is paused here counts as paused since: a pause wins
        let pauses = codec::decode_pauses(&bytes).unwrap_or_default();
        let pauses = SharedPauses { version: Version(pauses.version), pauses };
        Self { pauses, pauses_path, ..Self::default() }
    }

    /// What serves at the start, and what of it others have.
    pub fn begin(&mut self, active: Option<Version>) {
        self.active = active.unwrap_or_default();
    }

    /// Notes with whom the revision is that serves here now. INVARIANT: never
    /// before it serves, or this replica would not take it when keeping it failed.
    pub(super) fn serves(&mut self, served: Served) {
        match served {
            Served::Alone => {}
            Served::Everywhere(version) => (self.active, self.unshared) = (version, false),
            Served::Apart => self.unshared = true,
        }
    }

    /// What is to be paused, of what was shared before, is paused here, and is
    /// shared now.
    pub fn merged(&self, local: &Pauses, shared: &SharedPauses) -> Vec<Pause> {
        match shared.version < self.pauses.version {
            // changes were lost there: nothing that is paused anywhere is lifted by that
            true => united(&shared.pauses.list, &local.list),
            false => merged(&self.pauses.pauses.list, &local.list, &shared.pauses.list),
        }
    }

    /// Remembers what is shared now.
    pub fn share(&mut self, pauses: SharedPauses) {
        if let Some(path) = &self.pauses_path {
            let next = path.with_extension("new");
            let copy = Pauses { version: pauses.version.0, list: pauses.pauses.list.clone() };
            let written =
                std::fs::write(&next, codec::encode_pauses(&copy)).and_then(|()| std::fs::rename(&next, path));
            if let Err(error) = written {
                tracing::warn!(%error, "remembering which pauses are shared: a pause that is lifted may come back");
            }
        }
        self.pauses = pauses;
    }
}

pub(super) fn is(pause: &Pause, kind: PauseKind, id: &str) -> bool {
    pause.kind == kind && &*pause.id == id
}

pub(super) fn holds(list: &[Pause], pause: &Pause) -> bool {
    list.iter().any(|other| is(other, pause.kind, &pause.id))
}

/// The shared pauses, and those that were added here since they were shared last.
fn merged(base: &[Pause], local: &[Pause], shared: &[Pause]) -> Vec<Pause> {
    let added: Vec<Pause> = local.iter().filter(|pause| !holds(base, pause)).cloned().collect();
    united(shared, &added)
}

fn united(one: &[Pause], other: &[Pause]) -> Vec<Pause> {
    let mut list: Vec<Pause> = one.iter().chain(other.iter().filter(|pause| !holds(one, pause))).cloned().collect();
    list.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
    list
}

pub(super) fn soon() -> Instant {
    Instant::now() + CALL_MAX
}

pub(super) fn away(doing: &str, failure: &Failure) -> AppError {
    AppError::Unavailable(format!(
        "{doing}: {failure}: the other replicas must have it too; try again when redis is back"
    ))
}

impl App {
    pub(super) fn spread(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a revision the active one of all replicas; nothing to do when this
    /// process is alone. What it answers is noted once the revision serves here:
    /// until then this replica is behind the others. Under [`App::publishing`].
    /// Blocking.
    ///
    /// # Errors
    /// Another replica published meanwhile; Redis is away and it is not forced.
    pub(super) fn share_rules(&self, activation: &Activation, files: &[SourceFile]) -> Result<Served, AppError> {
        let Some(remote) = self.store.remote() else { return Ok(Served::Alone) };
        let expected = self.spread().active;
        let next = SharedActive { version: expected.next(), activation: activation.clone() };
        let rules = remote.rules();
        let published = remote.wait(async {
            match rules.publish(expected, &next, files, soon()).await {
                // it may have run
                Err(failure) => match rules.active(soon()).await {
                    Ok(Some(active)) if active == next => Ok(Ok(())),
                    _ => Err(failure),
                },
                raced => raced,
            }
        })?;
        match published {
            Ok(Ok(())) => Ok(Served::Everywhere(next.version)),
            Ok(Err(other)) => {
                let hash = other.map_or_else(|| "none".to_owned(), |other| other.activation.hash.to_string());
                Err(AppError::Aborted(format!(
                    "another replica made the revision `{hash}` active meanwhile: look at what changed and publish again"
                )))
            }
            Err(failure) if !activation.force_reason.is_empty() => {
                tracing::error!(revision = %activation.hash, %failure, "the revision serves on this replica alone until redis is back");
                Ok(Served::Apart)
            }
            Err(failure) => Err(away(&format!("publishing revision `{}` to all replicas", activation.hash), &failure)),
        }
    }

    /// Notes that what was shared serves here too.
    pub(super) fn shared_as(&self, served: Served) {
        self.spread().serves(served);
    }

    /// Follows what the other replicas publish and pause. Never ends: run it as a
    /// background task of a service with a shared store.
    pub async fn follow_shared_rules(self: Arc<Self>) {
        let Some(remote) = self.store.remote().cloned() else { return std::future::pending().await };
        let unshared = metrics().gauge(names::RULES_UNSHARED);
        loop {
            let versions = match remote.is_foreign() {
                true => Err(Failure::Outage(Outage::Denied)),
                false => remote.rules().versions(soon()).await,
            };
            if let Ok((active, pauses)) = versions
                && self.is_behind(active, pauses)
            {
                let app = Arc::clone(&self);
                // one that panicked is tried again
                let _ = gently::run(move || app.take_shared(active, pauses)).await;
            }
            let behind = {
                let shared = self.spread();
                let local = self.pauses();
                let added = local.list.iter().filter(|pause| !holds(&shared.pauses.pauses.list, pause)).count();
                added + usize::from(shared.unshared)
            };
            unshared.set(behind as f64);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether anything is to be taken or given.
    fn is_behind(&self, active: Version, pauses: Version) -> bool {
        let shared = self.spread();
        let rules = active != shared.active || shared.unshared || active == Version(0);
        rules || pauses != shared.pauses.version || self.pauses().list != shared.pauses.pauses.list
    }

    /// Takes what is new, and gives what the others do not have. Blocking.
    fn take_shared(&self, active: Version, pauses: Version) {
        if let Err(error) = self.take_shared_rules(active) {
            tracing::error!(%error, "following the rules of the other replicas");
        }
        let (known, base_is_local) = {
            let shared = self.spread();
            let local = self.pauses();
            (shared.pauses.version, local.list == shared.pauses.pauses.list)
        };
        if (pauses != known || !base_is_local)
            && let Err(error) = self.share_pauses()
        {
            tracing::error!(%error, "following the pauses of the other replicas");
        }
    }

    fn take_shared_rules(&self, version: Version) -> Result<(), AppError> {
        let (known, unshared) = {
            let shared = self.spread();
            (shared.active, shared.unshared)
        };
        if version == known && !unshared && version != Version(0) {
            return Ok(());
        }
        let Some(remote) = self.store.remote() else { return Ok(()) };
        let _publishing = self.publishing();
        let found =
            remote.wait(remote.rules().active(soon()))?.map_err(|failure| away("reading the rules", &failure))?;
        let current = self.revision().activation;
        let known = self.spread().active;
        match found {
            Some(found) if found.activation.hash == current.hash => {
                self.shared_as(Served::Everywhere(found.version));
                Ok(())
            }
            Some(found) if found.version > known || !unshared && found.version == known => self.receive(found),
            // it lost ours, or never had it
            found => {
                let expected = found.map_or(Version(0), |found| found.version);
                let next = SharedActive { version: expected.max(known).next(), activation: current.clone() };
                let Some(files) = self.store.load_ruleset(current.hash)? else { return Ok(()) };
                let published = remote.wait(remote.rules().publish(expected, &next, &files, soon()))?;
                if let Ok(Ok(())) = published {
                    self.shared_as(Served::Everywhere(next.version));
                    tracing::info!(revision = %current.hash, "the other replicas have the revision now");
                }
                // who lost looks again
                Ok(())
            }
        }
    }

    /// Serves what another replica made active. Under [`App::publishing`].
    fn receive(&self, found: SharedActive) -> Result<(), AppError> {
        let Some(remote) = self.store.remote() else { return Ok(()) };
        let hash = found.activation.hash;
        let files = match self.store.load_ruleset(hash)? {
            Some(files) => files,
            None => {
                let read = remote.wait(remote.rules().files(hash, soon()))?;
                let read =
                    read.map_err(|failure| away(&format!("reading the rules of revision `{hash}`"), &failure))?;
                read.ok_or_else(|| AppError::FailedPrecondition(format!("redis has no rules of revision `{hash}`")))?
            }
        };
        let compiled = self.compile(&files).map_err(|lines| {
            // not tried again until another is active: the same lines come
            self.spread().active = found.version;
            let lines = lines.join("; ");
            AppError::FailedPrecondition(format!(
                "revision `{hash}` of the other replicas does not compile here: run the same version everywhere: {lines}"
            ))
        })?;
        let active = self.current();
        let models = Arc::new(learn::response_rates(&self.tallies(), &compiled));
        let candidate = Snapshot::new(compiled, models, Arc::clone(&active.pauses)).with_base(Arc::clone(&active.base));
        let taken = self.taken_from_directory();
        self.store.activate(&new_active(found.activation.clone(), &candidate.ruleset, &files))?;
        if let Some(taken) = taken {
            // what others publish says nothing of the files here
            self.store.save_directory(taken)?;
        }
        self.given_elsewhere(hash);
        let before = self.swap(&candidate, found.activation);
        let mut shared = self.spread();
        if shared.unshared {
            tracing::error!(revision = %before.ruleset.hash, "a revision that was forced on this replica alone gives way to that of the others");
        }
        shared.serves(Served::Everywhere(found.version));
        drop(shared);
        metrics().counter(names::RULES_RECEIVED, vec![Label::new("what", "revision")]).increment(1);
        tracing::info!(revision = %hash, "another replica made a revision active");
        gently::retire(before);
        Ok(())
    }

    fn taken_from_directory(&self) -> Option<RulesetHash> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).taken
    }

    fn given_elsewhere(&self, hash: RulesetHash) {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if directory.elsewhere.len() >= ELSEWHERE_MAX {
            directory.elsewhere.remove(0);
        }
        directory.elsewhere.push(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::publish::tests::{call, files},
        domain::Timestamp,
        store::{
            RemoteConfig, Store, StoreConfig,
            redis::{Address, Keys, Settings},
        },
    };

    fn pauses(ids: &[&str]) -> Vec<Pause> {
        let pause = |id: &&str| Pause {
            kind: PauseKind::Offer,
            id: (*id).into(),
            reason: "".into(),
            author: "".into(),
            since: Timestamp(1),
        };
        ids.iter().map(pause).collect()
    }

    fn ids(list: &[Pause]) -> Vec<&str> {
        list.iter().map(|pause| &*pause.id).collect()
    }

    #[test]
    fn what_is_shared_and_could_not_be_kept_is_not_taken_for_served() {
        let dir = tempfile::tempdir().unwrap();
        let (address, keys) = (Address::parse("redis://127.0.0.1:1").unwrap(), Keys::default());
        let remote = RemoteConfig { address, keys, settings: Settings::default(), secret: None };
        let store = Store::open(StoreConfig { remote: Some(remote), ..StoreConfig::new(dir.path()) }).unwrap();
        let app = App::open(store, &Ok(files(1)), "http://127.0.0.1:7070").unwrap();
        let before = app.current().ruleset.hash;
        app.store.set_failing(true);
        assert!(app.publish(&files(2), &call(true)).is_err());
        assert_eq!(app.current().ruleset.hash, before);
        assert!(!app.spread().unshared, "the old revision would be given to the others as the new one");
        app.spread().serves(Served::Everywhere(Version(3)));
        assert!(app.is_behind(Version(4), Version(0)), "what others have and this one lacks is taken");
    }

    #[test]
    fn a_pause_wins_and_a_lift_of_another_replica_is_taken() {
        let merge = |base: &[&str], local: &[&str], shared: &[&str]| {
            let list = merged(&pauses(base), &pauses(local), &pauses(shared));
            ids(&list).join(" ")
        };
        assert_eq!(merge(&[], &["a"], &["b"]), "a b");
        assert_eq!(merge(&["a", "b"], &["a", "b"], &["b"]), "b", "lifted elsewhere");
        assert_eq!(merge(&["a"], &["a", "c"], &[]), "c", "paused here meanwhile");
        assert_eq!(merge(&["a"], &["a"], &["a", "d"]), "a d");
    }

    #[test]
    fn what_redis_lost_is_given_again_and_what_was_shared_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut shared = Shared::kept_in(Some(dir.path().to_owned()));
        let at = |version, ids: &[&str]| SharedPauses {
            version: Version(version),
            pauses: Pauses { version, list: pauses(ids) },
        };
        shared.share(at(7, &["a", "b"]));
        let again = Shared::kept_in(Some(dir.path().to_owned()));
        assert_eq!(again.pauses, at(7, &["a", "b"]));
        let local = Pauses { version: 3, list: pauses(&["a", "b"]) };
        assert_eq!(ids(&again.merged(&local, &at(0, &[]))), ["a", "b"]);
        assert_eq!(ids(&again.merged(&local, &at(6, &["c"]))), ["a", "b", "c"]);
        assert_eq!(ids(&again.merged(&local, &at(8, &["b"]))), ["b"]);
    }
}
