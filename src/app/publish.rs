//! From rule text to the serving snapshot: compile, run the scenarios, keep
//! the revision, swap. The watcher does it for every edit of the directory.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    decide::{self, Snapshot},
    domain::{RulesetHash, Timestamp},
    learn,
    rules::{self, Ruleset, SourceFile},
};

use super::{App, AppError};

/// How often the rules directory is looked at; an edit is live after two looks,
/// which is far within a second.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// The most rulesets kept compiled for replay.
const COMPILED_KEPT_MAX: usize = 8;

/// Why a set of rule files is not served; a line per mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} mistakes in the rules", .0.len())]
pub struct Refusal(pub Vec<String>);

/// The active revision.
#[derive(Clone, Debug)]
pub struct RevisionInfo {
    /// When it became active.
    pub activated_at: Timestamp,
    /// Errors of a newer edit that was refused; empty when there is none.
    pub refused: Vec<String>,
}

/// Compiles rule files and runs their scenarios.
///
/// # Errors
/// Every mistake and every scenario that comes out otherwise.
pub fn check(files: &[SourceFile]) -> Result<Arc<Ruleset>, Refusal> {
    let compiled = rules::compile(files).map_err(|e| Refusal(e.errors.iter().map(ToString::to_string).collect()))?;
    let ruleset = Arc::new(compiled);
    let failures = scenario_failures(&ruleset);
    if failures.is_empty() { Ok(ruleset) } else { Err(Refusal(failures)) }
}

/// Changes after which stored values would be read as something else: another
/// currency, or another type of a stored attribute.
fn unreadable(served: &Ruleset, new: &Ruleset) -> Vec<String> {
    let mut changes = Vec::new();
    if served.currency.code() != new.currency.code() {
        changes.push(format!(
            "the currency changes from `{}` to `{}`: stored amounts would be read in another currency; \
             serve the new rules with an empty data directory",
            served.currency.code(),
            new.currency.code()
        ));
    }
    for (id, slot) in &new.schema.stored {
        let attribute = &new.schema.attributes[slot.index()];
        let before = served.schema.stored.iter().find(|(known, _)| known == id);
        let Some(before) = before.map(|(_, slot)| &served.schema.attributes[slot.index()]) else { continue };
        if std::mem::discriminant(&before.kind) != std::mem::discriminant(&attribute.kind) {
            changes.push(format!(
                "the type of `{}` changes from {} to {}: stored values would be unreadable; \
                 declare an attribute with another name",
                attribute.full_name,
                before.kind.name(),
                attribute.kind.name()
            ));
        }
    }
    changes
}

fn scenario_failures(ruleset: &Arc<Ruleset>) -> Vec<String> {
    let mut failures = Vec::new();
    for scenario in &ruleset.scenarios {
        if let Err(lines) = decide::scenario::run(ruleset, scenario) {
            failures.extend(
                lines.iter().map(|line| format!("{}: scenario `{}`: {line}", scenario.position, scenario.name)),
            );
        }
    }
    failures
}

impl App {
    /// Checks rule files and serves them from now on. Blocking.
    ///
    /// # Errors
    /// The files are refused, or give stored values another meaning; the old
    /// revision serves on.
    pub fn publish(&self, files: &[SourceFile]) -> Result<RulesetHash, Refusal> {
        let ruleset = check(files)
            .and_then(|ruleset| {
                let changes = unreadable(&self.snapshot.load().ruleset, &ruleset);
                if changes.is_empty() { Ok(ruleset) } else { Err(Refusal(changes)) }
            })
            .inspect_err(|refusal| self.note_refusal(refusal))?;
        let hash = ruleset.hash;
        if let Err(error) = self.store.save_ruleset(hash, files) {
            let refusal = Refusal(vec![format!("keeping revision `{hash}`: {error}")]);
            self.note_refusal(&refusal);
            return Err(refusal);
        }
        self.swap(ruleset);
        Ok(hash)
    }

    /// Whether these files serve already; an edit that was taken back is no
    /// longer refused.
    fn is_active(&self, files: &[SourceFile]) -> bool {
        let active = rules::hash_of(files) == self.snapshot.load().ruleset.hash;
        if active && let Ok(mut revision) = self.revision.lock() {
            revision.refused.clear();
        }
        active
    }

    fn swap(&self, ruleset: Arc<Ruleset>) {
        let now = self.clock.now();
        self.remember_compiled(&ruleset);
        self.snapshot.rcu(|_| {
            let tallies = self.store.tallies().borrow().clone();
            let models = Arc::new(learn::response_rates(&tallies, &ruleset));
            Arc::new(Snapshot::new(Arc::clone(&ruleset), models, Arc::default()))
        });
        if let Ok(mut revision) = self.revision.lock() {
            *revision = RevisionInfo { activated_at: now, refused: Vec::new() };
        }
        self.metrics.reloaded(0);
    }

    fn note_refusal(&self, refusal: &Refusal) {
        self.metrics.reloaded(refusal.0.len());
        if let Ok(mut revision) = self.revision.lock() {
            revision.refused.clone_from(&refusal.0);
        }
    }

    fn remember_compiled(&self, ruleset: &Arc<Ruleset>) {
        if let Ok(mut compiled) = self.compiled.lock() {
            compiled.retain(|kept| kept.hash != ruleset.hash);
            compiled.insert(0, Arc::clone(ruleset));
            compiled.truncate(COMPILED_KEPT_MAX);
        }
    }

    /// A ruleset by its hash: compiled before, or kept at rest. Blocking.
    pub(super) fn ruleset(&self, hash: RulesetHash) -> Result<Arc<Ruleset>, AppError> {
        let kept = self.compiled.lock().ok().and_then(|c| c.iter().find(|r| r.hash == hash).cloned());
        if let Some(ruleset) = kept {
            return Ok(ruleset);
        }
        let gone = || AppError::FailedPrecondition(format!("the rules of revision `{hash}` are no longer kept"));
        let files = self.store.load_ruleset(hash)?.ok_or_else(gone)?;
        let ruleset = Arc::new(rules::compile(&files).map_err(|_| gone())?);
        self.remember_compiled(&ruleset);
        Ok(ruleset)
    }

    /// The active revision and, when an edit was refused, why.
    pub fn revision(&self) -> RevisionInfo {
        match self.revision.lock() {
            Ok(revision) => revision.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Publishes every settled edit of a rules directory, for ever. A set of
    /// files counts as settled when two looks find the same. The first look is
    /// compared by content, so that an edit during start-up is not missed.
    pub async fn watch_rules(self: Arc<Self>, dir: PathBuf) {
        let mut seen = fingerprint(&dir);
        let mut published = !seen;
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let looked_at = dir.clone();
            let now = tokio::task::spawn_blocking(move || fingerprint(&looked_at)).await.unwrap_or(seen);
            if now != seen {
                seen = now;
            } else if now != published {
                published = now;
                let (app, dir) = (Arc::clone(&self), dir.clone());
                let _ = tokio::task::spawn_blocking(move || app.republish(&dir)).await;
            }
        }
    }

    fn republish(&self, dir: &Path) {
        let outcome = rules::read_dir(dir)
            .map_err(|e| Refusal(e.errors.iter().map(ToString::to_string).collect()))
            .inspect_err(|refusal| self.note_refusal(refusal))
            .and_then(|files| if self.is_active(&files) { Ok(None) } else { self.publish(&files).map(Some) });
        match outcome {
            Ok(Some(hash)) => tracing::info!(revision = %hash, "rules published"),
            Ok(None) => {}
            Err(Refusal(lines)) => {
                tracing::error!(mistakes = lines.len(), "an edit of the rules is refused; the old revision serves on");
                for line in lines {
                    tracing::error!("{line}");
                }
            }
        }
    }

    /// Puts newly learned response rates into the snapshot, until the store closes.
    pub async fn follow_tallies(self: Arc<Self>) {
        let mut tallies = self.store.tallies();
        while tallies.changed().await.is_ok() {
            let latest = tallies.borrow_and_update().clone();
            if latest.version == self.snapshot.load().models.version {
                continue;
            }
            self.snapshot.rcu(|current| {
                let models = Arc::new(learn::response_rates(&latest, &current.ruleset));
                Arc::new(current.with_models(models))
            });
        }
    }
}

/// Changes whenever a rule file below a directory is added, removed or written.
fn fingerprint(dir: &Path) -> u64 {
    let mut entries = Vec::new();
    collect(dir, 0, &mut entries);
    entries.sort();
    xxhash_rust::xxh3::xxh3_64(format!("{entries:?}").as_bytes())
}

/// Directories deeper than this are not looked at.
const DEPTH_MAX: usize = 8;

fn collect(dir: &Path, depth: usize, entries: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) {
    let Ok(listing) = std::fs::read_dir(dir) else { return };
    for entry in listing.flatten() {
        let path = entry.path();
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if meta.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, entries);
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            entries.push((path, meta.len(), meta.modified().ok()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AttributeType;

    fn compiled(edit: impl Fn(&str) -> String) -> Ruleset {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        let mut files = rules::read_dir(&dir).expect("the sample");
        for file in &mut files {
            file.text = edit(&file.text).into();
            if file.text.contains("scenarios:") {
                file.text = Default::default();
            }
        }
        files.retain(|file| !file.text.is_empty());
        rules::compile(&files).expect("rules that compile")
    }

    #[test]
    fn a_stored_value_keeps_its_type_and_its_currency() {
        let served = compiled(str::to_owned);
        assert_eq!(unreadable(&served, &served), Vec::<String>::new());
        let other = compiled(|text| text.replace("currency: GBP", "currency: EUR"));
        let changes = unreadable(&served, &other);
        assert!(changes.len() == 1 && changes[0].contains("from `GBP` to `EUR`"), "{changes:?}");
        let stored = served.schema.stored.iter().map(|(_, slot)| slot.index()).next().expect("a stored attribute");
        let mut retyped = compiled(str::to_owned);
        retyped.schema.attributes[stored].kind = match &served.schema.attributes[stored].kind {
            AttributeType::Text => AttributeType::Int,
            _ => AttributeType::Text,
        };
        assert_eq!(unreadable(&served, &retyped).len(), 1);
    }
}
