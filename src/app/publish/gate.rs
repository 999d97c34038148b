//! What a candidate must pass before it serves: compile, lint, scenarios, and
//! the comparison with the active snapshot on real profiles. A publish, a
//! rollback, an edit of the directory and a resume all come through here.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    app::{
        App,
        population::{self, Occasion},
    },
    decide::{self, Snapshot},
    domain::Timestamp,
    learn,
    rules::{self, LintFinding, LintSeverity, Position, Ruleset, SourceFile},
};

use super::report::{Finding, PublishReport, Severity, Step};

/// A candidate with what the checks said; without a snapshot it does not
/// compile.
pub(super) struct Examined {
    pub report: PublishReport,
    pub candidate: Option<Snapshot>,
}

impl App {
    /// Checks rule files as a publish would, and changes nothing. Blocking.
    /// One at a time, and beside a publish.
    pub fn validate(&self, files: &[SourceFile]) -> PublishReport {
        let _validating = self.validating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        self.examine(&files).report
    }

    /// Compiles: the one place where a running service does. What did not change
    /// since the last time costs little.
    pub(in crate::app) fn compile(&self, files: &[SourceFile]) -> Result<Arc<Ruleset>, Vec<String>> {
        let mut compiler = self.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        let (compiled, took) = timed(|| compiler.compile(files));
        self.metrics.compiled(took);
        compiled.map(Arc::new).map_err(|e| e.errors.iter().map(ToString::to_string).collect())
    }

    /// Puts a candidate through every check, against what serves now.
    pub(super) fn examine(&self, files: &[SourceFile]) -> Examined {
        let active = self.current();
        let mut report = PublishReport {
            revision: rules::hash_of(files),
            active: Some(active.ruleset.hash),
            ..PublishReport::default()
        };
        let (compiled, took) = timed(|| self.compile(files));
        report.timings.push((Step::Compile, took));
        let ruleset = match compiled {
            Ok(ruleset) => ruleset,
            Err(errors) => {
                report.errors = errors;
                return Examined { report, candidate: None };
            }
        };
        report.errors = unreadable(&active.ruleset, &ruleset);
        let models = Arc::new(learn::response_rates(&self.tallies(), &ruleset));
        let candidate = Snapshot::new(ruleset, models, Arc::clone(&active.pauses)).with_base(Arc::clone(&active.base));
        weigh_rules(&candidate.ruleset, self.now(), &mut report);
        self.weigh_reach((&active, &candidate), Occasion::Publish, &mut report);
        report.notes.extend(fewer_scenarios(&active.ruleset, &candidate.ruleset));
        Examined { report, candidate: Some(candidate) }
    }

    /// Compares a candidate with what serves, on real profiles.
    pub(super) fn weigh_reach(
        &self,
        (active, candidate): (&Snapshot, &Snapshot),
        occasion: Occasion,
        report: &mut PublishReport,
    ) {
        let (diff, took) = timed(|| population::diff(self, (active, candidate), occasion));
        report.timings.push((Step::Population, took));
        report.reach_violations = population::violations(diff.as_ref(), active, candidate);
        report.population = diff;
    }
}

/// A note when most scenarios are gone: nothing else would tell.
fn fewer_scenarios(active: &Ruleset, new: &Ruleset) -> Option<String> {
    let (before, after) = (active.scenarios.len(), new.scenarios.len());
    (after * 2 < before).then(|| format!("scenarios fall from {before} to {after}: what they tested is not tested"))
}

/// Lints rules and runs their scenarios.
pub(super) fn weigh_rules(ruleset: &Arc<Ruleset>, now: Timestamp, report: &mut PublishReport) {
    let (findings, took) = timed(|| lint(ruleset, now));
    report.findings = findings;
    report.timings.push((Step::Lint, took));
    let (failures, took) = timed(|| scenario_failures(ruleset));
    report.scenario_failures = failures;
    report.timings.push((Step::Scenarios, took));
}

pub(super) fn compile(files: &[SourceFile]) -> Result<Arc<Ruleset>, Vec<String>> {
    rules::compile(files).map(Arc::new).map_err(|e| e.errors.iter().map(ToString::to_string).collect())
}

pub(super) fn timed<T>(step: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let done = step();
    (done, started.elapsed())
}

fn lint(ruleset: &Ruleset, now: Timestamp) -> Vec<Finding> {
    let finding = |found: LintFinding| Finding {
        code: found.code.into(),
        severity: match found.severity {
            LintSeverity::Error => Severity::Error,
            LintSeverity::Warning => Severity::Warning,
        },
        position: found.position.to_string().into(),
        message: found.message.into(),
    };
    rules::lint(ruleset, now).into_iter().map(finding).collect()
}

fn scenario_failures(ruleset: &Arc<Ruleset>) -> Vec<String> {
    failed_scenarios(ruleset).into_iter().map(|(position, line)| format!("{position}: {line}")).collect()
}

/// What came out of scenarios otherwise than they expect, with their places.
pub fn failed_scenarios(ruleset: &Arc<Ruleset>) -> Vec<(Position, String)> {
    if ruleset.scenarios.is_empty() {
        return Vec::new();
    }
    let mut failures = Vec::new();
    let mut runner = decide::scenario::Runner::of(ruleset);
    for scenario in &ruleset.scenarios {
        if let Err(lines) = runner.run(scenario) {
            let told = |line| (scenario.position.clone(), format!("scenario `{}`: {line}", scenario.name));
            failures.extend(lines.into_iter().map(told));
        }
    }
    failures
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

#[cfg(test)]
mod tests {
    use std::path::Path;

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
