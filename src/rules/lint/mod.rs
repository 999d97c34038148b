//! What compiles but is wrong or probably not meant. A finding is told only
//! where it follows from the rules alone, whatever the customers are like.

mod conditions;
mod contents;
mod rivals;
#[cfg(test)]
mod tests;
mod worth;

use std::fmt;

use crate::domain::Timestamp;

use super::{Offer, Position, Ruleset};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LintSeverity {
    /// Certain nonsense: the rules are not fit to serve.
    Error,
    /// Probably not meant.
    Warning,
}

impl LintSeverity {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            LintSeverity::Error => "error",
            LintSeverity::Warning => "warning",
        }
    }
}

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Its name, as in `allow_lint`.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: LintSeverity,
    /// What it tells.
    pub meaning: &'static str,
}

/// A condition that no customer can meet.
pub const NEVER_TRUE: Lint =
    Lint { code: "never-true", severity: LintSeverity::Error, meaning: "no customer can ever meet the conditions" };
/// A condition that everybody meets.
pub const ALWAYS_TRUE: Lint = Lint {
    code: "always-true",
    severity: LintSeverity::Warning,
    meaning: "a condition is true for everybody: it says nothing",
};
/// A negation on what may be missing.
pub const BARE_NEGATION: Lint = Lint {
    code: "bare-negation",
    severity: LintSeverity::Warning,
    meaning: "a negation on an attribute that may be missing, without `has`: it is unknown then, not true",
};
/// A schedule that is over.
pub const EXPIRED_SCHEDULE: Lint =
    Lint { code: "expired-schedule", severity: LintSeverity::Warning, meaning: "the schedule has ended" };
/// Doing nothing is always better.
pub const NEVER_WORTH_IT: Lint = Lint {
    code: "never-worth-it",
    severity: LintSeverity::Warning,
    meaning: "value less cost, lever or context weight is never above 0: doing nothing is always better",
};
/// A template that fails for some customers.
pub const MISSING_VALUE: Lint = Lint {
    code: "missing-value",
    severity: LintSeverity::Warning,
    meaning: "a template reads an attribute that a customer may not have: the offer is left out then",
};
/// An offer that begins behind another everywhere.
pub const SHADOWED_OFFER: Lint = Lint {
    code: "shadowed-offer",
    severity: LintSeverity::Warning,
    meaning: "another offer with the same or wider conditions begins with a higher net priority wherever this one is shown",
};
/// Two offers that are the same.
pub const SAME_OFFER: Lint =
    Lint { code: "same-offer", severity: LintSeverity::Warning, meaning: "another offer is the same but for its id" };
/// A limit that another limit always reaches first.
pub const IDLE_LIMIT: Lint = Lint {
    code: "idle-limit",
    severity: LintSeverity::Warning,
    meaning: "a limit of the offer never bites: another limit is reached first",
};

/// Every kind of finding.
pub const LINTS: [Lint; 9] = [
    NEVER_TRUE,
    ALWAYS_TRUE,
    BARE_NEGATION,
    EXPIRED_SCHEDULE,
    NEVER_WORTH_IT,
    MISSING_VALUE,
    SHADOWED_OFFER,
    SAME_OFFER,
    IDLE_LIMIT,
];

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintFinding {
    /// The name of its kind, one of [`LINTS`].
    pub code: &'static str,
    /// How much it weighs.
    pub severity: LintSeverity,
    /// Where.
    pub position: Position,
    /// What is found and what to do; lower case, no full stop.
    pub message: String,
}

impl fmt::Display for LintFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {} [{}]", self.position, self.severity.name(), self.message, self.code)
    }
}

/// Findings being collected.
#[derive(Debug, Default)]
struct Findings(Vec<LintFinding>);

impl Findings {
    fn tell(&mut self, lint: Lint, position: &Position, message: String) {
        let Lint { code, severity, .. } = lint;
        self.0.push(LintFinding { code, severity, position: position.clone(), message });
    }

    /// Tells of an offer, unless the offer allows it.
    fn tell_of(&mut self, offer: &Offer, lint: Lint, (position, message): (&Position, String)) {
        if !offer.allowed_lints.contains(&lint.code) {
            self.tell(lint, position, message);
        }
    }
}

/// Everything found at this moment, sorted by place.
pub fn lint(ruleset: &Ruleset, now: Timestamp) -> Vec<LintFinding> {
    let mut findings = Findings::default();
    for offer in &ruleset.offers {
        conditions::of_offer(&mut findings, offer, ruleset);
        worth::of_offer(&mut findings, offer, (ruleset, now));
        contents::of_offer(&mut findings, offer, ruleset);
    }
    rivals::between(&mut findings, ruleset);
    conditions::of_segments(&mut findings, ruleset);
    let mut found = findings.0;
    found.sort_by_cached_key(|f| {
        (f.position.path.clone(), f.position.line, f.position.column, f.code, f.message.clone())
    });
    found.dedup();
    found
}
