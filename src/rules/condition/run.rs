//! Evaluation in three-valued (Kleene) logic. Nothing here allocates.

use std::cmp::Ordering;

use super::{
    Truth,
    scalar::{Scalar, calculate, finite, negate, to_whole},
    syntax::Comparison,
    tree::{Constant, Leaf, Matcher, RecordField, Test, Value},
};
use crate::domain::{Facts, ValueRef};

/// What a part reads: the facts, and the members of the sets being walked.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s, 'a> {
    pub facts: &'s Facts<'a>,
    element: Option<&'s Element<'s, 'a>>,
}

/// A member of a set being walked, and the one of the walk around it.
struct Element<'s, 'a> {
    value: Scalar<'a>,
    outer: Option<&'s Element<'s, 'a>>,
}

impl<'s, 'a> Scope<'s, 'a> {
    /// Outside of every walk.
    pub fn of(facts: &'s Facts<'a>) -> Self {
        Self { facts, element: None }
    }

    /// What a test comes to for every member of a set, in order, until `until`
    /// says enough; false when the set is unknown.
    fn walk(self, set: Scalar<'a>, test: &Test, mut until: impl FnMut(Truth) -> bool) -> bool {
        let Scalar::Set(members) = set else { return false };
        for member in members {
            let element = Element { value: Scalar::Text(member), outer: self.element };
            if until(test.truth_in(Scope { facts: self.facts, element: Some(&element) })) {
                break;
            }
        }
        true
    }

    /// Runs something for every member of a set.
    pub fn visit(self, set: Scalar<'a>, mut run: impl FnMut(Scope<'_, 'a>)) {
        let Scalar::Set(members) = set else { return };
        for member in members {
            let element = Element { value: Scalar::Text(member), outer: self.element };
            run(Scope { facts: self.facts, element: Some(&element) });
        }
    }

    fn record_field(self, wanted: &RecordField) -> Scalar<'a> {
        let Scalar::Text(key) = self.element(wanted.outward) else { return Scalar::Unknown };
        let value = self.facts.profile.record_field(wanted.list, key, wanted.field);
        value.map_or(Scalar::Unknown, |value| value.as_ref().into())
    }

    fn element(self, outward: u8) -> Scalar<'a> {
        let mut element = self.element;
        for _ in 0..outward {
            element = element.and_then(|inner| inner.outer);
        }
        element.map_or(Scalar::Unknown, |found| found.value)
    }
}

impl std::ops::Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        }
    }
}

impl Test {
    /// Whether the part is true: what is only asked to hold stops at the first
    /// part that is not.
    pub fn is_true(&self, facts: &Facts<'_>) -> bool {
        match self {
            Test::All(parts) => parts.iter().all(|part| part.is_true(facts)),
            Test::Any(parts) => parts.iter().any(|part| part.is_true(facts)),
            Test::Leaf(leaf, _) => leaf.truth(facts) == Truth::True,
            Test::Not(..) | Test::Choice(_) => self.truth(facts) == Truth::True,
        }
    }

    /// What the part comes to.
    pub fn truth(&self, facts: &Facts<'_>) -> Truth {
        self.truth_in(Scope::of(facts))
    }

    /// What the part comes to within a walk.
    pub fn truth_in(&self, scope: Scope<'_, '_>) -> Truth {
        match self {
            Test::All(parts) => decided(parts, Truth::False, scope),
            Test::Any(parts) => decided(parts, Truth::True, scope),
            Test::Not(part, _) => !part.truth_in(scope),
            Test::Choice(parts) => match parts[0].truth_in(scope) {
                Truth::True => parts[1].truth_in(scope),
                Truth::False => parts[2].truth_in(scope),
                Truth::Unknown => Truth::Unknown,
            },
            Test::Leaf(leaf, _) => leaf.truth_in(scope),
        }
    }
}

/// The deciding truth if a part has it, unknown if one is unknown, else its opposite.
fn decided(parts: &[Test], deciding: Truth, scope: Scope<'_, '_>) -> Truth {
    let mut all = !deciding;
    for part in parts {
        let truth = part.truth_in(scope);
        if truth == deciding {
            return deciding;
        }
        if truth == Truth::Unknown {
            all = Truth::Unknown;
        }
    }
    all
}

impl Leaf {
    /// What the leaf comes to.
    #[inline]
    pub fn truth(&self, facts: &Facts<'_>) -> Truth {
        self.truth_in(Scope::of(facts))
    }

    #[inline]
    fn truth_in(&self, scope: Scope<'_, '_>) -> Truth {
        match self {
            Leaf::Constant(value) => Truth::from(*value),
            Leaf::Flag(slot) => Scalar::from(scope.facts.get(*slot)).truth(),
            Leaf::Has(slot) => Truth::from(match scope.facts.get(*slot) {
                ValueRef::Missing => false,
                ValueRef::Set(set) => !set.is_empty(),
                _ => true,
            }),
            Leaf::CompareInt { slot, comparison, value } => match scope.facts.int(*slot) {
                Some(read) => Truth::from(comparison.holds(read.cmp(value))),
                None => Truth::Unknown,
            },
            Leaf::CompareMoney { slot, comparison, value } => match scope.facts.money(*slot) {
                Some(read) => Truth::from(comparison.holds(read.cmp(value))),
                None => Truth::Unknown,
            },
            Leaf::CompareDouble { slot, comparison, value } => match scope.facts.get(*slot).into() {
                Scalar::Double(read) => told(*comparison, read.partial_cmp(value)),
                _ => Truth::Unknown,
            },
            Leaf::TextIs { slot, value, equal } => match scope.facts.text(*slot) {
                Some(read) => Truth::from(same(read, value) == *equal),
                None => Truth::Unknown,
            },
            Leaf::OneOf { slot, values } => match scope.facts.text(*slot) {
                Some(read) => Truth::from(values.iter().any(|v| same(read, v))),
                None => Truth::Unknown,
            },
            Leaf::SetHas { slot, value } => match scope.facts.get(*slot) {
                ValueRef::Set(set) => Truth::from(holds(set, value)),
                ValueRef::Missing => Truth::Unknown,
                _ => Truth::False,
            },
            Leaf::Compare(parts) => told(parts.1, parts.0.read_in(scope).compare(parts.2.read_in(scope))),
            Leaf::In(parts) => one_of(parts.0.read_in(scope), &parts.1),
            Leaf::InSet(parts) => match (parts.0.read_in(scope), parts.1.read_in(scope)) {
                (Scalar::Text(text), Scalar::Set(set)) => Truth::from(holds(set, text)),
                _ => Truth::Unknown,
            },
            Leaf::InValues(parts) => one_of_values(parts.0.read_in(scope), &parts.1, scope),
            Leaf::Exists(parts) => every(parts, Truth::True, scope),
            Leaf::Every(parts) => every(parts, Truth::False, scope),
            Leaf::Match(parts) => parts.1.truth_in(parts.0.read_in(scope), scope),
            Leaf::Value(value) => value.read_in(scope).truth(),
        }
    }
}

/// Equality of short texts: most differ in length or first byte, which needs no
/// call to compare memory.
#[inline]
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.as_bytes().first() == right.as_bytes().first() && left == right
}

/// Sets are sorted.
fn holds(set: &[Box<str>], text: &str) -> bool {
    set.binary_search_by(|member| (**member).cmp(text)).is_ok()
}

fn told(comparison: Comparison, order: Option<Ordering>) -> Truth {
    order.map_or(Truth::Unknown, |order| Truth::from(comparison.holds(order)))
}

fn one_of(read: Scalar<'_>, values: &[Constant]) -> Truth {
    match read {
        Scalar::Unknown => Truth::Unknown,
        read => Truth::from(values.iter().any(|v| read.compare(v.scalar()) == Some(Ordering::Equal))),
    }
}

fn one_of_values(read: Scalar<'_>, values: &[Value], scope: Scope<'_, '_>) -> Truth {
    let mut found = if read == Scalar::Unknown { Truth::Unknown } else { Truth::False };
    for value in values {
        // INVARIANT: the types were checked, so only what is unknown does not compare.
        match (value.read_in(scope).compare(read), found) {
            (None, _) | (_, Truth::Unknown) => return Truth::Unknown,
            (Some(Ordering::Equal), _) => found = Truth::True,
            _ => {}
        }
    }
    found
}

/// The deciding truth if the test has it for a member, unknown if it is unknown
/// for one, else its opposite.
fn every(parts: &(Value, Test), deciding: Truth, scope: Scope<'_, '_>) -> Truth {
    let mut all = !deciding;
    let known = scope.walk(parts.0.read_in(scope), &parts.1, |truth| {
        if truth == deciding {
            all = deciding;
        } else if truth == Truth::Unknown {
            all = Truth::Unknown;
        }
        truth == deciding
    });
    if known { all } else { Truth::Unknown }
}

/// How many are true; unknown when one is unknown.
fn counted<'a>(truths: impl IntoIterator<Item = Truth>) -> Scalar<'a> {
    let mut count = 0;
    for truth in truths {
        match truth {
            Truth::True => count += 1,
            Truth::False => {}
            Truth::Unknown => return Scalar::Unknown,
        }
    }
    Scalar::Int(count)
}

fn count<'a>(parts: &'a (Value, Test), scope: Scope<'_, 'a>) -> Scalar<'a> {
    let (mut count, mut unknown) = (0, false);
    let known = scope.walk(parts.0.read_in(scope), &parts.1, |truth| {
        count += i64::from(truth == Truth::True);
        unknown |= truth == Truth::Unknown;
        unknown
    });
    if known && !unknown { Scalar::Int(count) } else { Scalar::Unknown }
}

impl Matcher {
    fn truth_in(&self, text: Scalar<'_>, scope: Scope<'_, '_>) -> Truth {
        let Scalar::Text(text) = text else { return Truth::Unknown };
        let (wanted, test): (&Value, fn(&str, &str) -> bool) = match self {
            Matcher::Pattern(pattern) => return Truth::from(pattern.is_match(text)),
            Matcher::StartsWith(value) => (value, |text, part| text.starts_with(part)),
            Matcher::EndsWith(value) => (value, |text, part| text.ends_with(part)),
            Matcher::Contains(value) => (value, |text, part| text.contains(part)),
        };
        match wanted.read_in(scope) {
            Scalar::Text(part) => Truth::from(test(text, part)),
            _ => Truth::Unknown,
        }
    }
}

impl Value {
    /// The value.
    pub fn read<'a>(&'a self, facts: &Facts<'a>) -> Scalar<'a> {
        self.read_in(Scope::of(facts))
    }

    /// The value within a walk.
    pub fn read_in<'a>(&'a self, scope: Scope<'_, 'a>) -> Scalar<'a> {
        match self {
            Value::Constant(constant) => constant.scalar(),
            Value::Attribute(slot) => scope.facts.get(*slot).into(),
            Value::Set(slot) => match scope.facts.get(*slot) {
                ValueRef::Set(set) => Scalar::Set(set),
                ValueRef::Missing => Scalar::Unknown,
                _ => Scalar::Set(&[]),
            },
            Value::Now => Scalar::Time(scope.facts.now.0),
            Value::Test(test) => test.truth_in(scope).into(),
            Value::Negate(value) => negate(value.read_in(scope)),
            Value::Arithmetic(operator, sides) => {
                calculate(*operator, sides[0].read_in(scope), sides[1].read_in(scope))
            }
            Value::Choice(parts) => match parts.0.truth_in(scope) {
                Truth::True => parts.1.read_in(scope),
                Truth::False => parts.2.read_in(scope),
                Truth::Unknown => Scalar::Unknown,
            },
            Value::Size(value) => match value.read_in(scope) {
                Scalar::Text(text) => Scalar::Int(text.chars().count() as i64),
                Scalar::Set(set) => Scalar::Int(set.len() as i64),
                _ => Scalar::Unknown,
            },
            Value::Element(outward) => scope.element(*outward),
            Value::Field(field) => scope.record_field(field),
            Value::Known(value) => Scalar::Bool(value.read_in(scope) != Scalar::Unknown),
            Value::Tally(tests) => counted(tests.iter().map(|test| test.truth_in(scope))),
            Value::Count(parts) => count(parts, scope),
            Value::Moment(parts) => parts.1.of(parts.0.read_in(scope)),
            Value::ToDouble(value, scale) => match value.read_in(scope) {
                Scalar::Int(v) => finite(v as f64),
                Scalar::Double(v) => finite(v),
                Scalar::Money(v) => finite(v as f64 / scale),
                _ => Scalar::Unknown,
            },
            Value::ToInt(value) => match value.read_in(scope) {
                Scalar::Int(v) => Scalar::Int(v),
                Scalar::Double(v) => to_whole(v).map_or(Scalar::Unknown, Scalar::Int),
                _ => Scalar::Unknown,
            },
        }
    }
}
