//! What a use case can answer instead.

use crate::store::StoreError;

use super::PublishReport;

/// What a use case can answer instead.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The caller is wrong; every violation at once.
    #[error("{}", list(.0))]
    Invalid(Vec<Violation>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The same id was used with another body.
    #[error("{0}")]
    AlreadyExists(String),
    /// Not in this state.
    #[error("{0}")]
    FailedPrecondition(String),
    /// It was of a customer who was erased.
    #[error("{0}")]
    Erased(String),
    /// Something else happened in between.
    #[error("{0}")]
    Aborted(String),
    /// The checks refuse the rules.
    #[error("the rules are refused:\n{}", .0.refusals().join("\n"))]
    Refused(Box<PublishReport>),
    /// Before the oldest that is kept.
    #[error("{0}")]
    OutOfRange(String),
    /// Not now; ask again.
    #[error("{0}")]
    Unavailable(String),
    /// No room; try again later.
    #[error("{0}")]
    Exhausted(String),
    /// The store failed.
    #[error("using the store: {0}")]
    Store(#[from] StoreError),
}

impl AppError {
    /// One wrong field.
    pub fn invalid(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { field: field.to_owned(), description: description.into() }])
    }
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field: `placements[1].count`.
    pub field: String,
    /// What is wrong and what to do.
    pub description: String,
}

fn list(violations: &[Violation]) -> String {
    let parts: Vec<String> = violations.iter().map(|v| format!("`{}`: {}", v.field, v.description)).collect();
    parts.join("; ")
}
