//! Cold start: the revision that was active goes on, unless the rules
//! directory was edited since it was taken last. A directory that is broken or
//! gone never keeps a service from starting that has served before.

use std::sync::Arc;

use crate::{
    app::{App, OpenError},
    domain::{Activation, RevisionOrigin, Timestamp},
    rules::{self, Ruleset, SourceFile},
    store::{Control, Store},
};

use super::{Refusal, activate::new_active, check, gate};

/// The rules directory as it was found: its files, or why they cannot be read.
pub type Rules = Result<Vec<SourceFile>, Refusal>;

/// What serves first.
pub(in crate::app) struct Start {
    pub ruleset: Arc<Ruleset>,
    pub activation: Activation,
    pub control: Control,
}

/// Finds what serves first. `now` is the time of a first activation.
///
/// # Errors
/// Nothing was ever active and the directory is refused; the store fails.
pub(in crate::app) fn start(store: &Store, found: &Rules, now: Timestamp) -> Result<Start, OpenError> {
    let control = store.control()?;
    if let Some((ruleset, activation)) = last_good(store, &control, found)? {
        return Ok(Start { ruleset, activation, control });
    }
    let files = found.as_ref().map_err(Refusal::clone)?;
    let ruleset = check(files)?;
    let activation = Activation {
        hash: ruleset.hash,
        at: now,
        author: "directory".into(),
        comment: "".into(),
        origin: RevisionOrigin::Start,
        parent: control.active.as_ref().map(|active| active.hash),
        force_reason: "".into(),
    };
    store.activate(&new_active(activation.clone(), &ruleset, files))?;
    let control = Control { directory: Some(ruleset.hash), ..control };
    Ok(Start { ruleset, activation, control })
}

/// The revision that was active last and still compiles.
fn last_good(store: &Store, control: &Control, found: &Rules) -> Result<Option<(Arc<Ruleset>, Activation)>, OpenError> {
    let Some(active) = &control.active else { return Ok(None) };
    // the same text under the paths of today, so that positions lead there
    if let Ok(files) = found
        && rules::hash_of(files) == active.hash
        && let Ok(ruleset) = gate::compile(files)
    {
        return Ok(Some((ruleset, active.clone())));
    }
    for revision in store.revisions()? {
        let Some(files) = store.load_ruleset(revision.hash)? else { continue };
        match gate::compile(&files) {
            Ok(ruleset) if revision.hash == active.hash => return Ok(Some((ruleset, active.clone()))),
            Ok(ruleset) => {
                tracing::error!(revision = %revision.hash, "the last active revision is unreadable; an older one serves");
                let at = revision.activated_at;
                let (hash, author, comment) = (revision.hash, revision.author, revision.comment);
                let (origin, parent, force_reason) = (revision.origin, revision.parent, revision.force_reason);
                let activation = Activation { hash, at, author, comment, origin, parent, force_reason };
                return Ok(Some((ruleset, activation)));
            }
            Err(lines) => {
                tracing::error!(revision = %revision.hash, "a kept revision does not compile: {}", lines.join("; "));
            }
        }
    }
    Ok(None)
}

impl App {
    /// Takes the rules directory as it was found at the start: an edit while
    /// the service was down is published as one while it runs.
    pub(in crate::app) fn take_first(&self, found: &Rules) {
        match found {
            Ok(files) => self.take_files(files),
            Err(Refusal(lines)) => self.refuse_directory(lines.clone()),
        }
    }
}
