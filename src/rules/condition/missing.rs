//! Which missing attributes make a part unknown.

use std::collections::BTreeSet;

use super::{
    Truth,
    run::Scope,
    scalar::Scalar,
    tree::{Leaf, Matcher, Test, Value},
};
use crate::domain::AttrSlot;

/// The attributes found.
type Missing = BTreeSet<AttrSlot>;

impl Test {
    /// Adds the missing attributes that make it unknown; nothing when it is known.
    pub fn missing(&self, scope: Scope<'_, '_>, found: &mut Missing) {
        if self.truth_in(scope) != Truth::Unknown {
            return;
        }
        match self {
            Test::All(parts) | Test::Any(parts) => parts.iter().for_each(|part| part.missing(scope, found)),
            Test::Not(part, _) => part.missing(scope, found),
            Test::Choice(parts) => match parts[0].truth_in(scope) {
                Truth::True => parts[1].missing(scope, found),
                Truth::False => parts[2].missing(scope, found),
                Truth::Unknown => parts[0].missing(scope, found),
            },
            Test::Leaf(leaf, _) => leaf.missing(scope, found),
        }
    }
}

impl Leaf {
    fn missing(&self, scope: Scope<'_, '_>, found: &mut Missing) {
        match self {
            Leaf::Constant(_) | Leaf::Has(_) => {}
            Leaf::Flag(slot)
            | Leaf::SetHas { slot, .. }
            | Leaf::CompareInt { slot, .. }
            | Leaf::CompareDouble { slot, .. }
            | Leaf::CompareMoney { slot, .. }
            | Leaf::TextIs { slot, .. }
            | Leaf::OneOf { slot, .. } => attribute(*slot, scope, found),
            Leaf::Compare(parts) => [&parts.0, &parts.2].iter().for_each(|value| value.missing(scope, found)),
            Leaf::In(parts) => parts.0.missing(scope, found),
            Leaf::InSet(parts) => [&parts.0, &parts.1].iter().for_each(|value| value.missing(scope, found)),
            Leaf::InValues(parts) => {
                parts.0.missing(scope, found);
                parts.1.iter().for_each(|value| value.missing(scope, found));
            }
            Leaf::Match(parts) => {
                parts.0.missing(scope, found);
                if let Matcher::StartsWith(value) | Matcher::EndsWith(value) | Matcher::Contains(value) = &parts.1 {
                    value.missing(scope, found);
                }
            }
            Leaf::Exists(parts) | Leaf::Every(parts) => members(parts, scope, found),
            Leaf::Value(value) => value.missing(scope, found),
        }
    }
}

impl Value {
    /// Adds the missing attributes that make it unknown; nothing when it is known.
    pub fn missing(&self, scope: Scope<'_, '_>, found: &mut Missing) {
        if self.read_in(scope) != Scalar::Unknown {
            return;
        }
        match self {
            Value::Constant(_) | Value::Now | Value::Element(_) | Value::Field(_) | Value::Known(_) => {}
            Value::Attribute(slot) | Value::Set(slot) => attribute(*slot, scope, found),
            Value::Test(test) => test.missing(scope, found),
            Value::Negate(value) | Value::Size(value) | Value::ToDouble(value, _) | Value::ToInt(value) => {
                value.missing(scope, found);
            }
            Value::Arithmetic(_, sides) => sides.iter().for_each(|side| side.missing(scope, found)),
            Value::Choice(parts) => match parts.0.truth_in(scope) {
                Truth::True => parts.1.missing(scope, found),
                Truth::False => parts.2.missing(scope, found),
                Truth::Unknown => parts.0.missing(scope, found),
            },
            Value::Tally(tests) => tests.iter().for_each(|test| test.missing(scope, found)),
            Value::Count(parts) => members(parts, scope, found),
            Value::Moment(parts) => parts.0.missing(scope, found),
        }
    }
}

fn members(parts: &(Value, Test), scope: Scope<'_, '_>, found: &mut Missing) {
    parts.0.missing(scope, found);
    scope.visit(parts.0.read_in(scope), |within| parts.1.missing(within, found));
}

fn attribute(slot: AttrSlot, scope: Scope<'_, '_>, found: &mut Missing) {
    if scope.facts.get(slot).is_missing() {
        found.insert(slot);
    }
}
