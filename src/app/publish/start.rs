//! Cold start: the revision that was active goes on, unless the rules
//! directory was edited since it was taken last. A directory that is broken or
//! gone never keeps a service from starting that has served before.

use std::sync::Arc;

use crate::{
    app::{App, OpenError},
    domain::{Activation, RevisionOrigin, RulesetHash, Timestamp, time::SECOND_US},
    rules::{self, Ruleset, SourceFile},
    store::{Control, SharedRules, Store},
};

use super::{Refusal, activate::new_active, check, gate};

/// The rules directory as it was found: its files, or why they cannot be read.
pub type Rules = Result<Vec<SourceFile>, Refusal>;

/// How far back from the end of the log it is looked which rules were used.
const LATEST_USED_US: i64 = 600 * SECOND_US;

/// What serves first.
pub(in crate::app) struct Start {
    pub ruleset: Arc<Ruleset>,
    pub activation: Activation,
    pub control: Control,
}

/// Finds what serves first. `now` is the time of a first activation.
///
/// # Errors
/// Nothing ever served and the directory is refused; the store fails.
pub(in crate::app) fn start(
    store: &Store,
    found: &Rules,
    now: Timestamp,
    others: Option<&SharedRules>,
) -> Result<Start, OpenError> {
    let control = store.control()?;
    if let Some(start) = of_others(store, &control, found, others)? {
        return Ok(start);
    }
    if let Some((ruleset, activation)) = last_good(store, &control, found)? {
        return Ok(Start { ruleset, activation, control });
    }
    let (ruleset, files) = first(store, found)?;
    let activation = Activation {
        hash: ruleset.hash,
        at: now,
        author: "directory".into(),
        comment: "".into(),
        origin: RevisionOrigin::Start,
        parent: control.active.as_ref().map(|active| active.hash),
        force_reason: "".into(),
    };
    store.activate(&new_active(activation.clone(), &ruleset, &files))?;
    let control = Control { directory: Some(ruleset.hash), ..control };
    Ok(Start { ruleset, activation, control })
}

/// What the other replicas serve, unless it is what served here last. Files of a
/// directory that a fresh replica finds are no edit: only a change of them is.
fn of_others(
    store: &Store,
    control: &Control,
    found: &Rules,
    others: Option<&SharedRules>,
) -> Result<Option<Start>, OpenError> {
    let Some((active, files)) = others.and_then(|others| others.active.as_ref()) else { return Ok(None) };
    let activation = active.activation.clone();
    if control.active.as_ref().is_some_and(|last| last.hash == activation.hash) {
        return Ok(None);
    }
    let ruleset = match gate::compile(files) {
        Ok(ruleset) => ruleset,
        Err(lines) => {
            let lines = lines.join("; ");
            tracing::error!(revision = %activation.hash, "what the other replicas serve does not compile here: {lines}");
            return Ok(None);
        }
    };
    let read = found.as_ref().ok().map(|files| rules::hash_of(files));
    let taken = if control.active.is_some() { control.directory } else { read };
    store.activate(&new_active(activation.clone(), &ruleset, files))?;
    if let Some(taken) = taken {
        store.save_directory(taken)?;
        if control.active.is_none() && taken != activation.hash {
            tracing::warn!(directory = %taken, active = %activation.hash, "the rules directory differs from what the other replicas serve: it is followed from its next edit on");
        }
    }
    Ok(Some(Start { ruleset, activation, control: Control { directory: taken, ..control.clone() } }))
}

/// The revision that was active last and still compiles. A row that cannot be
/// read is passed over: an older revision is better than none.
fn last_good(store: &Store, control: &Control, found: &Rules) -> Result<Option<(Arc<Ruleset>, Activation)>, OpenError> {
    // the same text under the paths of today, so that positions lead there
    if let (Some(active), Ok(files)) = (&control.active, found)
        && rules::hash_of(files) == active.hash
        && let Ok(ruleset) = gate::compile(files)
    {
        return Ok(Some((ruleset, active.clone())));
    }
    if let Some(active) = &control.active
        && let Some((ruleset, _)) = kept(store, active.hash)
    {
        return Ok(Some((ruleset, active.clone())));
    }
    for revision in store.revisions()? {
        let Some((ruleset, _)) = kept(store, revision.hash) else { continue };
        tracing::error!(revision = %revision.hash, "the last active revision is unreadable; an older one serves");
        let at = revision.activated_at;
        let (hash, author, comment) = (revision.hash, revision.author, revision.comment);
        let (origin, parent, force_reason) = (revision.origin, revision.parent, revision.force_reason);
        let activation = Activation { hash, at, author, comment, origin, parent, force_reason };
        return Ok(Some((ruleset, activation)));
    }
    Ok(None)
}

/// What serves when no revision is known: the directory when its files are
/// sound, or served before; otherwise rules that served before, of a data
/// directory from before revisions were kept.
///
/// # Errors
/// The directory is refused, and nothing that served before compiles.
fn first(store: &Store, found: &Rules) -> Result<(Arc<Ruleset>, Vec<SourceFile>), OpenError> {
    let mut served = store.kept_rulesets()?;
    let refusal = match found {
        // what served before is not checked again: it only has to compile
        Ok(files) if served.contains(&rules::hash_of(files)) => match gate::compile(files) {
            Ok(ruleset) => return Ok((ruleset, files.clone())),
            Err(lines) => Refusal(lines),
        },
        Ok(files) => match check(files) {
            Ok(ruleset) => return Ok((ruleset, files.clone())),
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal.clone(),
    };
    if !served.is_empty() {
        let latest = latest_used(store)?;
        served.sort_by_key(|hash| Some(*hash) != latest);
    }
    for hash in served {
        if let Some(good) = kept(store, hash) {
            tracing::error!(revision = %hash, "the rules directory is refused; rules that served before serve on");
            return Ok(good);
        }
    }
    Err(refusal.into())
}

/// A kept revision that can be read and compiles.
fn kept(store: &Store, hash: RulesetHash) -> Option<(Arc<Ruleset>, Vec<SourceFile>)> {
    let lines = match store.load_ruleset(hash) {
        Ok(None) => return None,
        Ok(Some(files)) => match gate::compile(&files) {
            Ok(ruleset) => return Some((ruleset, files)),
            Err(lines) => lines.join("; "),
        },
        Err(error) => error.to_string(),
    };
    tracing::error!(revision = %hash, "a kept revision cannot serve: {lines}");
    None
}

/// The rules of the last decision of the log, if it is near its end.
fn latest_used(store: &Store) -> Result<Option<RulesetHash>, OpenError> {
    let mut latest = None;
    store.scan_decisions(Some(store.latest_time().plus_us(-LATEST_USED_US)), None, &mut |stored| {
        latest = Some(stored.record.ruleset);
        true
    })?;
    Ok(latest)
}

impl App {
    /// Takes the rules directory as it was found at the start: an edit while
    /// the service was down is published as one while it runs.
    pub(in crate::app) fn take_first(&self, found: &Rules) {
        match found {
            // the others are reached once the service runs: who watches the directory takes it
            Ok(_) if self.store.remote().is_some() => {}
            // what fails here is tried again by who watches the directory
            Ok(files) => {
                self.take_files(files);
            }
            Err(Refusal(lines)) => self.refuse_unreadable(lines.clone()),
        }
    }
}
