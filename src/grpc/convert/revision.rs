//! Revisions, their reports, pauses and the audit list on the wire.

use std::{collections::HashSet, sync::Arc};

use crate::{
    app::{self, AppError, Change, Finding, KeptRevision, PublishReport, Published, RevisionDiff, Violation},
    domain::{AuditEntry, Pause, PauseKind, Pauses, Revision, RevisionOrigin, RulesetHash},
    proto,
    rules::SourceFile,
};

use super::{
    population,
    reading::{NAME_BYTES_MAX, timestamp},
    suggest::quoted,
};

/// Longest reason of a pause, a resume or a force, bytes.
pub const REASON_BYTES_MAX: usize = 500;
/// Longest name of an author, bytes.
pub const AUTHOR_BYTES_MAX: usize = 100;
/// Longest comment of a revision, bytes.
pub const COMMENT_BYTES_MAX: usize = 2_000;
/// Longest path of a rule file, bytes.
pub const PATH_BYTES_MAX: usize = 400;
/// Who asks when nobody is named.
const AUTHOR: &str = "api";

/// Reads the fields of a change of the rules, and notes every violation.
#[derive(Default)]
pub struct Fields {
    violations: Vec<Violation>,
}

impl Fields {
    fn wrong(&mut self, field: &str, description: impl Into<String>) {
        self.violations.push(Violation { field: field.to_owned(), description: description.into() });
    }

    /// The value, when nothing was wrong.
    ///
    /// # Errors
    /// Every violation.
    pub fn done<T>(self, value: T) -> Result<T, AppError> {
        if self.violations.is_empty() { Ok(value) } else { Err(AppError::Invalid(self.violations)) }
    }

    /// Text for people: bounded, without control characters; lines only where
    /// they are told apart.
    fn text(&mut self, field: &str, text: &str, bytes_max: usize) -> Arc<str> {
        if text.len() > bytes_max {
            self.wrong(field, format!("has {} bytes: give at most {bytes_max}", text.len()));
        } else if text.chars().any(|c| c.is_control()) {
            self.wrong(field, "has control characters: give plain text on one line");
        }
        text.trim().into()
    }

    fn reason(&mut self, field: &str, text: &str) -> Arc<str> {
        let text = self.text(field, text, REASON_BYTES_MAX);
        if text.is_empty() {
            self.wrong(field, format!("is required: say why in 1 to {REASON_BYTES_MAX} bytes"));
        }
        text
    }

    fn author(&mut self, text: &str) -> Arc<str> {
        let author = self.text("author", text, AUTHOR_BYTES_MAX);
        if author.is_empty() { AUTHOR.into() } else { author }
    }

    fn thing(&mut self, kind: i32, id: &str) -> (PauseKind, Arc<str>) {
        let known = u8::try_from(kind).ok().and_then(PauseKind::from_number);
        if known.is_none() {
            self.wrong("kind", "is not one of offer, issue, group, channel");
        }
        if id.is_empty() {
            self.wrong("id", "is required");
        }
        (known.unwrap_or(PauseKind::Offer), self.text("id", id, NAME_BYTES_MAX))
    }

    /// A revision by its hash; `None` when it is empty.
    pub fn revision(&mut self, field: &str, text: &str) -> Option<RulesetHash> {
        let hash = RulesetHash::parse(text);
        if hash.is_none() && !text.is_empty() {
            self.wrong(field, format!("{} is not a revision: give its 16 hex digits", quoted(text)));
        }
        hash
    }

    /// A revision that must be given.
    pub fn revision_required(&mut self, field: &str, text: &str) -> RulesetHash {
        if text.is_empty() {
            self.wrong(field, "is required: `GetActiveRevision` tells the active one");
        }
        self.revision(field, text).unwrap_or_default()
    }

    /// Rule files.
    pub fn files(&mut self, files: Vec<proto::RuleFile>) -> Vec<SourceFile> {
        if files.is_empty() {
            self.wrong("files", "is empty: give every file of the revision");
        }
        let mut known = HashSet::new();
        for (at, file) in files.iter().enumerate() {
            let twice = || format!("{} is given twice", quoted(&file.path));
            let wrong = path_fault(&file.path).or_else(|| (!known.insert(&*file.path)).then(twice));
            if let Some(description) = wrong {
                self.wrong(&format!("files[{at}].path"), description);
            }
        }
        files.into_iter().map(|file| SourceFile { path: file.path.into(), text: file.text.into() }).collect()
    }

    fn force(&mut self, force: bool, reason: &str) -> Option<Arc<str>> {
        if !force {
            if !reason.is_empty() {
                self.wrong("force_reason", "stands without `force`: set both or none");
            }
            return None;
        }
        Some(self.reason("force_reason", reason))
    }
}

/// What is wrong with the path of a rule file. It stays below whatever
/// directory it is written into.
fn path_fault(path: &str) -> Option<String> {
    let outside = || path.starts_with('/') || path.split(['/', '\\']).any(|part| part == "..");
    match path {
        "" => Some("is required".to_owned()),
        path if path.len() > PATH_BYTES_MAX => Some(format!("has {} bytes: at most {PATH_BYTES_MAX}", path.len())),
        path if path.chars().any(char::is_control) => Some("has control characters".to_owned()),
        path if outside() => Some(format!("{} leads out of the directory: give a path below it", quoted(path))),
        path if !path.ends_with(".yaml") && !path.ends_with(".yml") => {
            Some(format!("{} does not end in `.yaml` or `.yml`", quoted(path)))
        }
        _ => None,
    }
}

/// Reads a pause.
///
/// # Errors
/// Every violation.
pub fn read_pause(wire: &proto::PauseRequest) -> Result<Pause, AppError> {
    let mut fields = Fields::default();
    let (kind, id) = fields.thing(wire.kind, &wire.id);
    let reason = fields.reason("reason", &wire.reason);
    let author = fields.author(&wire.author);
    fields.done(Pause { kind, id, reason, author, since: Default::default() })
}

/// Reads a resume.
///
/// # Errors
/// Every violation.
pub fn read_resume(wire: &proto::ResumeRequest) -> Result<app::ResumeInput, AppError> {
    let mut fields = Fields::default();
    let (kind, id) = fields.thing(wire.kind, &wire.id);
    let reason = fields.reason("reason", &wire.reason);
    let author = fields.author(&wire.author);
    fields.done(app::ResumeInput { kind, id, reason, author, force: wire.force })
}

/// Reads rule files to publish.
///
/// # Errors
/// Every violation.
pub fn read_publish(wire: proto::PublishRevisionRequest) -> Result<(Vec<SourceFile>, Change), AppError> {
    let mut fields = Fields::default();
    let files = fields.files(wire.files);
    let change = Change {
        expected: Some(fields.revision_required("expected_revision", &wire.expected_revision)),
        author: fields.author(&wire.author),
        comment: fields.text("comment", &wire.comment, COMMENT_BYTES_MAX),
        origin: RevisionOrigin::Api,
        force: fields.force(wire.force, &wire.force_reason),
    };
    fields.done((files, change))
}

/// Reads a rollback.
///
/// # Errors
/// Every violation.
pub fn read_rollback(wire: &proto::RollbackRevisionRequest) -> Result<(RulesetHash, Change), AppError> {
    let mut fields = Fields::default();
    let revision = fields.revision_required("revision", &wire.revision);
    let change = Change {
        expected: Some(fields.revision_required("expected_revision", &wire.expected_revision)),
        author: fields.author(&wire.author),
        comment: fields.text("comment", &wire.comment, COMMENT_BYTES_MAX),
        origin: RevisionOrigin::Rollback,
        force: fields.force(wire.force, &wire.force_reason),
    };
    fields.done((revision, change))
}

/// A pause on the wire.
pub fn pause(pause: &Pause) -> proto::PausedThing {
    proto::PausedThing {
        kind: pause.kind as i32,
        id: pause.id.to_string(),
        reason: pause.reason.to_string(),
        author: pause.author.to_string(),
        since: Some(timestamp(pause.since)),
    }
}

/// The pauses on the wire.
pub fn pauses(pauses: &Pauses) -> proto::ListPausesResponse {
    proto::ListPausesResponse { pauses: pauses.list.iter().map(pause).collect(), pauses_version: pauses.version }
}

/// A kept revision on the wire.
pub fn revision(revision: &Revision, active: RulesetHash) -> proto::Revision {
    proto::Revision {
        revision: revision.hash.to_string(),
        author: revision.author.to_string(),
        comment: revision.comment.to_string(),
        created_at: Some(timestamp(revision.created_at)),
        parent: revision.parent.map_or_else(String::new, |parent| parent.to_string()),
        origin: revision.origin as i32,
        force_reason: revision.force_reason.to_string(),
        active: revision.hash == active,
        activated_at: Some(timestamp(revision.activated_at)),
        offers: revision.offers,
        files: revision.files,
        bytes: revision.bytes,
    }
}

/// A kept revision with its files, below the directory that they share.
pub fn kept(kept: KeptRevision, active: RulesetHash) -> proto::GetRevisionResponse {
    let shared = app::shared_directory(&kept.files);
    let file =
        |file: &SourceFile| proto::RuleFile { path: file.path[shared..].to_owned(), text: file.text.to_string() };
    proto::GetRevisionResponse {
        revision: Some(revision(&kept.revision, active)),
        files: kept.files.iter().map(file).collect(),
    }
}

/// What differs, on the wire.
pub fn diff(diff: RevisionDiff) -> proto::DiffRevisionsResponse {
    let names = |ids: Vec<Arc<str>>| ids.iter().map(ToString::to_string).collect();
    let file = |file: app::FileDiff| proto::FileDiff {
        path: file.path,
        change: match file.change {
            app::FileChange::Added => proto::FileChange::Added,
            app::FileChange::Removed => proto::FileChange::Removed,
            app::FileChange::Changed => proto::FileChange::Changed,
        } as i32,
        unified: file.unified,
    };
    proto::DiffRevisionsResponse {
        files: diff.files.into_iter().map(file).collect(),
        offers_added: names(diff.offers_added),
        offers_removed: names(diff.offers_removed),
        offers_changed: names(diff.offers_changed),
    }
}

/// What a publish did, on the wire.
pub fn published(published: &Published) -> proto::PublishRevisionResponse {
    proto::PublishRevisionResponse {
        revision: published.revision.to_string(),
        changed: published.changed,
        report: Some(report(&published.report)),
    }
}

/// What the checks said, on the wire.
pub fn report(report: &PublishReport) -> proto::PublishReport {
    proto::PublishReport {
        revision: report.revision.to_string(),
        active_revision: report.active.map_or_else(String::new, |active| active.to_string()),
        errors: report.errors.clone(),
        findings: report.findings.iter().map(finding).collect(),
        scenario_failures: report.scenario_failures.clone(),
        population: report.population.as_ref().map(population::diff),
        reach_violations: report.reach_violations.clone(),
        notes: report.notes.clone(),
        timings: report
            .timings
            .iter()
            .map(|(step, took)| proto::StepTiming { step: step.name().to_owned(), seconds: took.as_secs_f64() })
            .collect(),
    }
}

fn finding(finding: &Finding) -> proto::LintFinding {
    proto::LintFinding {
        code: finding.code.to_string(),
        severity: match finding.severity {
            app::Severity::Warning => proto::LintSeverity::Warning,
            app::Severity::Error => proto::LintSeverity::Error,
        } as i32,
        position: finding.position.to_string(),
        message: finding.message.to_string(),
    }
}

/// An entry of the audit list on the wire.
pub fn audit(entry: &AuditEntry) -> proto::AuditEntry {
    proto::AuditEntry {
        number: entry.number,
        at: Some(timestamp(entry.at)),
        author: entry.author.to_string(),
        action: entry.action as i32,
        subject: entry.subject.to_string(),
        reason: entry.reason.to_string(),
        origin: entry.origin.map_or(0, |origin| origin as i32),
        previous_revision: entry.previous.map_or_else(String::new, |previous| previous.to_string()),
        force_reason: entry.force_reason.to_string(),
        overridden: entry.overridden.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_directory() {
        let read = |paths: &[&str]| -> Vec<String> {
            let file = |path: &&str| proto::RuleFile { path: (*path).to_owned(), text: String::new() };
            let mut fields = Fields::default();
            let _ = fields.files(paths.iter().map(file).collect());
            fields.violations.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
        };
        assert_eq!(read(&["a.yaml", "rules/b..c.yml", "./d.yaml"]), Vec::<String>::new());
        for outside in ["../evil.yaml", "/tmp/x.yaml", "a/../../b.yaml", "a\\..\\b.yaml"] {
            let told = read(&[outside]);
            assert!(told.len() == 1 && told[0].contains("leads out of"), "{outside}: {told:?}");
        }
        assert!(read(&["a\nb.yaml"])[0].contains("control"));
        let twice = read(&["a.yaml", "b.yaml", "a.yaml"]);
        assert!(twice.len() == 1 && twice[0].starts_with("files[2].path: `a.yaml`"), "{twice:?}");
    }
}
