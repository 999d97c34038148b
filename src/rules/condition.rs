//! Conditions and numbers: CEL text, type-checked against the schema and
//! compiled to a small typed tree over attribute slots.

use std::sync::Arc;

use crate::domain::Facts;

use super::Position;

/// A truth value of three (Kleene).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// False.
    False,
    /// Unknown: an attribute is missing, or the arithmetic failed.
    Unknown,
    /// True.
    True,
}

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    /// Its CEL text.
    pub text: Arc<str>,
    /// Where the text begins.
    pub position: Position,
}

impl Condition {
    /// What it comes to. Allocates nothing.
    pub fn truth(&self, _facts: &Facts<'_>) -> Truth {
        Truth::Unknown
    }

    /// The literals that keep it from being true, with the values read.
    pub fn failed(&self, _facts: &Facts<'_>) -> Vec<FailedLiteral> {
        Vec::new()
    }
}

/// A part of a condition that was not true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLiteral {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub position: Position,
    /// The values read, in words: `p.country = "DE"`, `p.age is missing`.
    pub value_read: String,
    /// False or unknown.
    pub truth: Truth,
}

/// A number in major units: a constant or a CEL expression.
#[derive(Debug)]
pub enum Number {
    /// The same for everybody.
    Constant(f64),
    /// Computed.
    Expression(Condition),
}

impl Number {
    /// Its value; `None` when an attribute is missing or the result is not
    /// finite. Money counts in major units. Allocates nothing.
    pub fn value(&self, _facts: &Facts<'_>) -> Option<f64> {
        match self {
            Number::Constant(value) => Some(*value),
            Number::Expression(_) => None,
        }
    }
}
