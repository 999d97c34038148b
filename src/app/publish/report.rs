//! What the checks of a candidate said.

use std::{sync::Arc, time::Duration};

use crate::{
    app::population::PopulationDiff,
    domain::{RevisionOrigin, RulesetHash},
};

/// Most lines of overridden checks that the audit list keeps of one change.
pub const OVERRIDDEN_LINES_MAX: usize = 20;
/// Most bytes of such a line.
pub const OVERRIDDEN_LINE_BYTES_MAX: usize = 300;

/// What the checks of a candidate said. Everything is told at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishReport {
    /// The candidate.
    pub revision: RulesetHash,
    /// What it was compared with; `None` when nothing was active.
    pub active: Option<RulesetHash>,
    /// Mistakes that nothing overrides: text that does not compile, or that
    /// gives stored values another meaning.
    pub errors: Vec<String>,
    /// What compiles but is probably not meant.
    pub findings: Vec<Finding>,
    /// Golden scenarios that came out otherwise, a line each.
    pub scenario_failures: Vec<String>,
    /// Who gains and who loses which offer; `None` when there was nobody to
    /// compare on.
    pub population: Option<PopulationDiff>,
    /// Limits of reach that the candidate breaks, a line each.
    pub reach_violations: Vec<String>,
    /// What refuses nothing and is worth knowing, a line each; what the
    /// comparison on real people noted is with its numbers.
    pub notes: Vec<String>,
    /// How long each step took, in their order.
    pub timings: Vec<(Step, Duration)>,
}

/// Something that compiles but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of finding: `unreachable_offer`.
    pub code: Arc<str>,
    /// How bad.
    pub severity: Severity,
    /// Where: `rules/offers/winback.yaml:3:5`; empty when nowhere.
    pub position: Arc<str>,
    /// What and what to do.
    pub message: Arc<str>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if self.position.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{} [{}]", self.position, self.message, self.code)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Told, refuses nothing.
    Warning,
    /// Refuses the publish unless it is forced.
    Error,
}

/// A step on the way to a new active revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Text to a ruleset.
    Compile,
    /// What is probably not meant.
    Lint,
    /// Golden scenarios.
    Scenarios,
    /// Who gains and who loses.
    Population,
    /// To disk.
    Keep,
    /// Into the serving snapshot.
    Swap,
}

impl Step {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Step::Compile => "compile",
            Step::Lint => "lint",
            Step::Scenarios => "scenarios",
            Step::Population => "population",
            Step::Keep => "keep",
            Step::Swap => "swap",
        }
    }
}

impl PublishReport {
    /// What refuses the candidate unless it is forced, a line each.
    pub fn overridable(&self) -> Vec<String> {
        let findings = self.findings.iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string);
        findings.chain(self.scenario_failures.iter().cloned()).chain(self.reach_violations.iter().cloned()).collect()
    }

    /// Everything that refuses the candidate, a line each.
    pub fn refusals(&self) -> Vec<String> {
        self.errors.iter().cloned().chain(self.overridable()).collect()
    }

    /// Whether the candidate may serve without force.
    pub fn acceptable(&self) -> bool {
        self.refusals().is_empty()
    }

    /// What was active before may be active again, whoever gains or loses by it:
    /// breaches of reach limits become notes.
    pub(super) fn excuse_reach(&mut self) {
        let excused = self.reach_violations.drain(..);
        self.notes.extend(excused.map(|line| format!("not judged, as this goes back: {line}")));
    }

    /// What the audit list keeps of the overridden checks.
    pub(super) fn overridden(&self) -> Vec<Arc<str>> {
        let cut = |line: String| line[..line.floor_char_boundary(OVERRIDDEN_LINE_BYTES_MAX)].into();
        self.overridable().into_iter().take(OVERRIDDEN_LINES_MAX).map(cut).collect()
    }
}

/// Who changes the rules, and why.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who.
    pub author: Arc<str>,
    /// What they say about it.
    pub comment: Arc<str>,
    /// How.
    pub origin: RevisionOrigin,
    /// Why failed checks are overridden; `None` when they are not.
    pub force: Option<Arc<str>>,
    /// The revision that must be active; `None` for whichever is.
    pub expected: Option<RulesetHash>,
}

/// What became of a change of the rules.
#[derive(Clone, Debug)]
pub struct Published {
    /// The active revision.
    pub revision: RulesetHash,
    /// False when it was active before: then nothing changed.
    pub changed: bool,
    /// What the checks said.
    pub report: PublishReport,
}
