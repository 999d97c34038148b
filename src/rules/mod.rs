//! Rule text in, one checked, compiled, immutable [`Ruleset`] out. Pure but
//! for reading files.

mod builtin;
pub mod channel;
mod compile;
pub mod compile_env;
pub mod condition;

mod files;
pub mod index;
mod keys;
mod keys_offers;
mod keys_scenarios;
pub mod offer;
pub mod policy;
mod read;
pub mod reference;
mod report;
pub mod ruleset;
pub mod scenario;
mod source;
mod suggest;
pub mod template;
#[cfg(test)]
mod tests;
mod warnings;

pub use channel::*;
pub use compile::{compile, hash_of};
pub use compile_env::{CompileEnv, Origin, SegmentSource, TemplateEnv};
pub use condition::{Condition, FailedLiteral, Number, SimplePart, SimpleParts, Truth};
pub use files::read_dir;
pub use index::{Index, IndexBuffers, Policy};
pub use offer::*;
pub use policy::*;
pub use ruleset::*;
pub use template::Template;
pub use warnings::warnings;

/// One mistake in the rule files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Where.
    pub position: Position,
    /// What is wrong and what to do; lower case, no full stop.
    pub message: String,
    /// The source line and a caret under the column; may be empty.
    pub snippet: String,
}

impl std::fmt::Display for RuleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.position, self.message)?;
        if self.snippet.is_empty() { Ok(()) } else { write!(f, "\n{}", self.snippet) }
    }
}

/// Every mistake found; sorted by position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} errors in the rules", errors.len())]
pub struct RuleErrors {
    /// At least one.
    pub errors: Vec<RuleError>,
}
