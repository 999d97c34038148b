//! From rule text to the serving snapshot, and what stops it at once.
//!
//! `gate` checks a candidate, `activate` keeps and swaps it, `pause` stands
//! above both; `watch` and `start` feed them from the rules directory,
//! `revisions` shows what is kept, `shared` spreads both over replicas.

mod activate;
mod diff;
mod follow;
mod gate;
mod pause;
pub mod report;
mod revisions;
mod shared;
mod shared_pauses;
mod start;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use diff::shared_directory;
pub use diff::{FileChange, FileDiff, RevisionDiff};
pub(in crate::app) use follow::Directory;
pub use gate::failed_scenarios;
pub(in crate::app) use pause::Kept;
pub use pause::{PAUSES_MAX, Paused, ResumeInput, Resumed};
pub use report::{Change, Finding, PublishReport, Published, Severity, Step};
pub use revisions::KeptRevision;
pub(in crate::app) use shared::Shared;
pub use start::Rules;
pub(in crate::app) use start::{Start, start};

use std::sync::Arc;

use crate::{
    app::clock::Clock,
    domain::Activation,
    rules::{self, Ruleset, SourceFile},
};

/// Why a set of rule files is not served; a line per mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} mistakes in the rules", .0.len())]
pub struct Refusal(pub Vec<String>);

impl From<rules::RuleErrors> for Refusal {
    fn from(errors: rules::RuleErrors) -> Self {
        Self(errors.errors.iter().map(ToString::to_string).collect())
    }
}

/// The active revision.
#[derive(Clone, Debug)]
pub struct RevisionInfo {
    /// How it became active.
    pub activation: Activation,
    /// Its rules.
    pub ruleset: Arc<Ruleset>,
    /// Errors of a newer edit that was refused; empty when there is none.
    pub refused: Vec<String>,
}

/// Compiles rule files, lints them and runs their scenarios, without a service
/// to compare with.
///
/// # Errors
/// Every mistake, every lint error and every scenario that comes out otherwise.
pub fn check(files: &[SourceFile]) -> Result<Arc<Ruleset>, Refusal> {
    let ruleset = gate::compile(files).map_err(Refusal)?;
    let mut report = PublishReport::default();
    gate::weigh_rules(&ruleset, Clock::default().now(), &mut report);
    let refusals = report.refusals();
    if refusals.is_empty() { Ok(ruleset) } else { Err(Refusal(refusals)) }
}
