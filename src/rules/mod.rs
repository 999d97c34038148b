//! Rule text in, one checked, compiled, immutable [`Ruleset`] out. Pure but
//! for reading files.

mod builtin;
mod builtin_events;
pub mod channel;
mod compile;
pub mod compile_env;
pub mod condition;
mod each;
pub mod events;
mod exact;
mod feeds;
mod files;
pub mod index;
mod json_schema;
mod keys;
mod keys_offers;
mod keys_scenarios;
mod keys_schema;
pub mod lint;
pub mod offer;
pub mod policy;
mod read;
pub mod reference;
mod report;
pub mod ruleset;
pub mod scenario;
pub mod slots;
mod source;
mod suggest;
pub mod template;
#[cfg(test)]
mod tests;
mod windows;

pub use channel::*;
pub use compile::{Compiler, Vocabulary, compile, hash_of};
pub use compile_env::{CompileEnv, Lost, Origin, SegmentSource, TemplateEnv};
pub use condition::{Answer, Condition, Expression, FailedLiteral, NORMAL_ROWS_MAX, Number, Truth};
pub use each::{EACH_MAX, Each, Repeat};
pub use exact::{Cap, Caps};
pub use feeds::{FEED_TEXT_BYTES_MAX, Feeds};
pub use files::{read_dir, read_file};
pub use index::{Index, IndexBuffers, Policy};
pub use json_schema::json_schema;
pub use lint::{LintFinding, LintSeverity, lint};
pub use offer::*;
pub use policy::*;
pub use read::parse_moment;
pub use ruleset::*;
pub use suggest::did_you_mean;
pub use template::Template;
pub(crate) use windows::{local, timestamp};

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
