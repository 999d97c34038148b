//! Conditions and numbers: CEL text, type-checked against the schema and
//! compiled to a small typed tree over attribute slots.
//!
//! Text walks through `scan` (tokens, limits), `order` (mistakes an author
//! makes), `syntax` (the CEL parser) and `check` (types) into a `tree`,
//! which `run` evaluates on `scalar` values and `explain` explains. Segments and
//! macros are put in by `inline`, elements of lists and sets are named by `walks`.
//! For the index over many conditions, `normal` lays the tree out as rows of literals.
//!
//! The logic is CEL's, with an evaluation error read as unknown. It differs in
//! what CEL has no word for: `money` and `date` values, ints and doubles in one
//! calculation, days and weeks in `duration`. It is stricter in one point: a
//! double that is not finite is unknown.

mod check;
mod domain;
mod explain;
mod expression;
pub mod functions;
mod inline;
mod leaves;
mod lint;
mod literals;
mod missing;
mod moment;
mod names;
mod normal;
mod normal_leaf;
#[cfg(test)]
#[path = "condition/tests/normal_reference.rs"]
pub(super) mod normal_reference;
mod normal_subject;
mod normal_values;
mod order;
mod parsed;
mod run;
mod scalar;
mod scan;
mod syntax;
mod tree;
mod types;
mod walks;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::domain::{AttrSlot, Currency, Facts};

use super::{CompileEnv, Origin, Position, RuleError, compile_env::Moved};
use check::{Checker, Shared, Site};
pub(super) use domain::{everybody, never};
use explain::Explanation;
pub use expression::{Answer, Expression};
pub(super) use names::unknown_field;
pub use normal::NORMAL_ROWS_MAX;
pub(super) use normal::Row;
use normal_subject::Kind;
pub(super) use normal_subject::{Reading, Subject};
pub(super) use normal_values::{Ranges, Values};
pub use parsed::{ParsedText, ParsedTexts};
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
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its CEL text.
    pub text: Arc<str>,
    /// Where the text begins.
    pub position: Position,
    root: Root,
    /// Its normal form.
    rows: Arc<[Row]>,
    sites: Box<[Site]>,
    reads: Box<[AttrSlot]>,
    /// The kinds of the attributes it reads, by slot.
    kinds: Box<[(AttrSlot, Kind)]>,
    currency: Currency,
}

/// What the text comes to.
#[derive(Clone, Debug)]
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
        let condition = Self::finish(text, origin, root, shared)?;
        match condition.lay_rows() {
            Some(rows) => Ok(Self { rows, ..condition }),
            None => Err(vec![origin.error(text, 0..text.len(), normal::too_many_rows())]),
        }
    }

    fn finish(text: &str, origin: &Origin, root: Option<Root>, shared: Shared<'_>) -> Result<Self, Vec<RuleError>> {
        let mut errors = shared.errors;
        match root {
            Some(root) if errors.is_empty() => Ok(Self {
                text: text.into(),
                position: origin.position.clone(),
                root,
                rows: Arc::default(),
                kinds: normal_subject::kinds(&shared.sites, shared.env.schema),
                sites: shared.sites.into(),
                reads: shared.reads.into_iter().collect(),
                currency: shared.env.currency,
            }),
            _ => {
                if errors.is_empty() && !shared.held_back {
                    errors.push(origin.error(text, 0..text.len(), "this is not a condition".into()));
                }
                Err(sorted(errors))
            }
        }
    }

    /// The same condition where the part of the file it stands in has moved.
    /// Parts of segments, which stand elsewhere, stay.
    pub(super) fn moved(&self, by: &Moved<'_>) -> Self {
        let mut moved = self.clone();
        by.apply(&mut moved.position);
        moved.sites.iter_mut().for_each(|site| by.apply(&mut site.position));
        moved
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

    /// What it was compiled to, segments and macros put in, for comparing: two
    /// conditions of one schema that differ in effect differ in shape.
    pub fn shape(&self) -> String {
        format!("{:?}", self.root)
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

/// Mistakes in order of their places.
fn sorted(mut errors: Vec<RuleError>) -> Vec<RuleError> {
    errors.sort_by_cached_key(|e| (e.position.path.clone(), e.position.line, e.position.column));
    errors
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
#[derive(Clone, Debug)]
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

    /// The same number where the part of the file it stands in has moved.
    pub(super) fn moved(&self, by: &Moved<'_>) -> Self {
        match self {
            Number::Constant(value) => Number::Constant(*value),
            Number::Expression(condition) => Number::Expression(condition.moved(by)),
        }
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
