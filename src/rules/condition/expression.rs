//! An expression of any type with its value: what a person tries out, not what
//! decisions run on.

use std::collections::BTreeSet;

use super::{
    Condition, Root,
    check::{Checker, Shared},
    run::Scope,
    scalar::Scalar,
    tree::Value as Part,
    types::Type,
};
use crate::{
    domain::{AttrSlot, Date, Facts, Timestamp, Value},
    rules::{CompileEnv, Origin, RuleError},
};

/// A compiled expression.
#[derive(Debug)]
pub struct Expression(Condition);

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A value.
    Value(Value),
    /// A duration, microseconds.
    Duration(i64),
    /// Nothing: these attributes are missing; none of them when a calculation
    /// failed.
    Unknown(Vec<AttrSlot>),
}

impl Expression {
    /// Parses, checks and compiles CEL text of any type.
    ///
    /// # Errors
    /// Every mistake found, with its position.
    pub fn compile(text: &str, origin: &Origin, env: &CompileEnv<'_>) -> Result<Self, Vec<RuleError>> {
        let mut shared = Shared::new(env);
        let typed = Checker::new(text, origin, &mut shared).any();
        let root = typed.map(|typed| match (typed.kind, typed.value) {
            (Type::Bool, Part::Test(test)) => Root::Test(*test),
            (_, value) => Root::Value(value),
        });
        Condition::finish(text, origin, root, shared).map(Self)
    }

    /// Checks the text of a macro, which may also be a list.
    ///
    /// # Errors
    /// Every mistake found, with its position.
    pub fn check(text: &str, origin: &Origin, env: &CompileEnv<'_>) -> Result<(), Vec<RuleError>> {
        let mut shared = Shared::new(env);
        Checker::new(text, origin, &mut shared).anything();
        let errors = std::mem::take(&mut shared.errors);
        if errors.is_empty() { Ok(()) } else { Err(super::sorted(errors)) }
    }

    /// Its value.
    pub fn answer(&self, facts: &Facts<'_>) -> Answer {
        let scope = Scope::of(facts);
        let scalar = match &self.0.root {
            Root::Test(test) => test.truth_in(scope).into(),
            Root::Value(value) => value.read_in(scope),
        };
        match scalar {
            Scalar::Unknown => Answer::Unknown(self.missing(scope)),
            Scalar::Bool(v) => Answer::Value(Value::Bool(v)),
            Scalar::Int(v) => Answer::Value(Value::Int(v)),
            Scalar::Double(v) => Answer::Value(Value::Double(v)),
            Scalar::Text(v) => Answer::Value(Value::Text(v.into())),
            Scalar::Set(v) => Answer::Value(Value::Set(v.into())),
            Scalar::Time(v) => Answer::Value(Value::Timestamp(Timestamp(v))),
            Scalar::Date(v) => Answer::Value(Value::Date(Date(v))),
            Scalar::Money(v) => Answer::Value(Value::Money(v)),
            Scalar::Duration(v) => Answer::Duration(v),
        }
    }

    /// The attributes it reads.
    pub fn reads(&self) -> Vec<AttrSlot> {
        self.0.reads()
    }

    fn missing(&self, scope: Scope<'_, '_>) -> Vec<AttrSlot> {
        let mut missing = BTreeSet::new();
        match &self.0.root {
            Root::Test(test) => test.missing(scope, &mut missing),
            Root::Value(value) => value.missing(scope, &mut missing),
        }
        missing.into_iter().collect()
    }
}
