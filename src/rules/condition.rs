//! Conditions and numbers: CEL text, type-checked against the schema and
//! compiled to a small typed tree over attribute slots.
//!
//! Text walks through `scan` (tokens, limits), `order` (mistakes an author
//! makes), `syntax` (the CEL parser) and `check` (types) into a `tree`,
//! which runs on `scalar` values and is explained by `explain`.
//!
//! The logic is CEL's, with an evaluation error read as unknown. It differs in
//! what CEL has no word for: `money` and `date` values, ints and doubles in one
//! calculation, days and weeks in `duration`. It is stricter in one point: a
//! double that is not finite is unknown.

mod check;
mod explain;
mod leaves;
mod literals;
mod names;
mod order;
mod parts;
mod scalar;
mod scan;
mod syntax;
mod tree;
mod types;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::domain::{Currency, Facts};

use super::{CompileEnv, Origin, Position, RuleError};
use check::{Checker, Shared, Site};
use explain::Explanation;
pub use parts::{SimplePart, SimpleParts};
use scalar::Scalar;
use tree::{Test, Value};

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
    root: Root,
    sites: Box<[Site]>,
    currency: Currency,
}

/// What the text comes to.
#[derive(Debug)]
enum Root {
    Test(Test),
    /// Of a number.
    Value(Value),
}

impl Condition {
    /// Parses, checks and compiles CEL text.
    ///
    /// # Errors
    /// Every mistake found, with its position. A mistake inside a segment is
    /// told at the segment, alike from every condition that uses it.
    pub fn compile(text: &str, origin: &Origin, env: &CompileEnv<'_>) -> Result<Self, Vec<RuleError>> {
        let mut shared = Shared::new(env);
        let root = Checker::new(text, origin, &mut shared).condition().map(Root::Test);
        Self::finish(text, origin, root, shared)
    }

    fn finish(text: &str, origin: &Origin, root: Option<Root>, shared: Shared<'_>) -> Result<Self, Vec<RuleError>> {
        let mut errors = shared.errors;
        match root {
            Some(root) if errors.is_empty() => Ok(Self {
                text: text.into(),
                position: origin.position.clone(),
                root,
                sites: shared.sites.into(),
                currency: shared.env.currency,
            }),
            _ => {
                if errors.is_empty() {
                    errors.push(origin.error(text, 0..text.len(), "this is not a condition".into()));
                }
                errors.sort_by(|a, b| {
                    let key = |e: &RuleError| (e.position.path.clone(), e.position.line, e.position.column);
                    key(a).cmp(&key(b))
                });
                Err(errors)
            }
        }
    }

    /// Whether it is true; quicker than [`Condition::truth`], which tells false
    /// from unknown. Allocates nothing.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        match &self.root {
            Root::Test(test) => test.is_true(facts),
            Root::Value(_) => false,
        }
    }

    /// What it comes to. Allocates nothing.
    pub fn truth(&self, facts: &Facts<'_>) -> Truth {
        match &self.root {
            Root::Test(test) => test.truth(facts),
            Root::Value(_) => Truth::Unknown,
        }
    }

    /// The literals that keep it from being true, with the values read; none
    /// when it is true. Of a conjunction the parts that are not true, of a
    /// disjunction all parts.
    pub fn failed(&self, facts: &Facts<'_>) -> Vec<FailedLiteral> {
        let mut told = Explanation { sites: &self.sites, facts, currency: self.currency, failed: Vec::new() };
        if let Root::Test(test) = &self.root {
            told.walk(test, Truth::True);
        }
        told.failed
    }
}

/// A part of a condition that was not true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLiteral {
    /// Its text; in `!(...)` when it had to be false.
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
    /// Parses, checks and compiles CEL text that comes to a number or to money.
    ///
    /// # Errors
    /// Every mistake found, with its position.
    pub fn compile(text: &str, origin: &Origin, env: &CompileEnv<'_>) -> Result<Self, Vec<RuleError>> {
        let mut shared = Shared::new(env);
        let value = Checker::new(text, origin, &mut shared).number();
        if let Some(Value::Constant(constant)) = &value
            && let Some(major) = major(constant.scalar(), env.currency)
        {
            return Ok(Number::Constant(major));
        }
        Condition::finish(text, origin, value.map(Root::Value), shared).map(Number::Expression)
    }

    /// Its value; `None` when an attribute is missing or the result is not
    /// finite. Money counts in major units. Allocates nothing.
    pub fn value(&self, facts: &Facts<'_>) -> Option<f64> {
        match self {
            Number::Constant(value) => Some(*value),
            Number::Expression(condition) => match &condition.root {
                Root::Value(value) => major(value.read(facts), condition.currency),
                Root::Test(_) => None,
            },
        }
    }
}

fn major(scalar: Scalar<'_>, currency: Currency) -> Option<f64> {
    match scalar {
        Scalar::Int(v) => Some(v as f64),
        Scalar::Double(v) => v.is_finite().then_some(v),
        Scalar::Money(v) => Some(currency.major(v)),
        _ => None,
    }
}
