//! The compiled tree and its evaluation in three-valued (Kleene) logic.

use std::cmp::Ordering;

use super::{
    Truth,
    scalar::{Scalar, calculate, finite, negate, to_whole},
    syntax::{Arithmetic, Comparison},
};
use crate::domain::{AttrSlot, Facts, ValueRef};

/// A part that is true, false or unknown.
#[derive(Debug)]
pub(super) enum Test {
    All(Box<[Test]>),
    Any(Box<[Test]>),
    /// The opposite of a part; the site tells both as one when the part is a leaf.
    Not(Box<Test>, SiteIndex),
    /// If the first then the second, else the third.
    Choice(Box<[Test; 3]>),
    Leaf(Leaf, SiteIndex),
}

/// Where a part stands: an index into the condition's sites.
pub(super) type SiteIndex = u32;

/// A part without logic inside: what explanations name.
#[derive(Debug)]
pub(super) enum Leaf {
    Constant(bool),
    Flag(AttrSlot),
    Has(AttrSlot),
    CompareInt { slot: AttrSlot, comparison: Comparison, value: i64 },
    CompareDouble { slot: AttrSlot, comparison: Comparison, value: f64 },
    CompareMoney { slot: AttrSlot, comparison: Comparison, value: i64 },
    TextIs { slot: AttrSlot, value: Box<str>, equal: bool },
    OneOf { slot: AttrSlot, values: Box<[Box<str>]> },
    SetHas { slot: AttrSlot, value: Box<str> },
    Compare(Box<(Value, Comparison, Value)>),
    In(Box<(Value, Box<[Constant]>)>),
    InSet(Box<(Value, Value)>),
    Match(Box<(Value, Matcher)>),
    Value(Box<Value>),
}

/// A test on text.
#[derive(Debug)]
pub(super) enum Matcher {
    StartsWith(Value),
    EndsWith(Value),
    Contains(Value),
    Pattern(regex::Regex),
}

/// A part that has a value.
#[derive(Debug)]
pub(super) enum Value {
    Constant(Constant),
    Attribute(AttrSlot),
    /// A set attribute: absent is empty.
    Set(AttrSlot),
    Now,
    Test(Box<Test>),
    Negate(Box<Value>),
    Arithmetic(Arithmetic, Box<[Value; 2]>),
    Choice(Box<(Test, Value, Value)>),
    Size(Box<Value>),
    /// To a double; money divided by its minor units.
    ToDouble(Box<Value>, f64),
    ToInt(Box<Value>),
}

/// A value in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Time(i64),
    Date(i32),
    Money(i64),
    Duration(i64),
}

impl Constant {
    /// The value.
    pub fn scalar(&self) -> Scalar<'_> {
        match self {
            Constant::Bool(v) => Scalar::Bool(*v),
            Constant::Int(v) => Scalar::Int(*v),
            Constant::Double(v) => Scalar::Double(*v),
            Constant::Text(v) => Scalar::Text(v),
            Constant::Time(v) => Scalar::Time(*v),
            Constant::Date(v) => Scalar::Date(*v),
            Constant::Money(v) => Scalar::Money(*v),
            Constant::Duration(v) => Scalar::Duration(*v),
        }
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
        match self {
            Test::All(parts) => decided(parts, Truth::False, facts),
            Test::Any(parts) => decided(parts, Truth::True, facts),
            Test::Not(part, _) => !part.truth(facts),
            Test::Choice(parts) => match parts[0].truth(facts) {
                Truth::True => parts[1].truth(facts),
                Truth::False => parts[2].truth(facts),
                Truth::Unknown => Truth::Unknown,
            },
            Test::Leaf(leaf, _) => leaf.truth(facts),
        }
    }
}

/// The deciding truth if a part has it, unknown if one is unknown, else its opposite.
fn decided(parts: &[Test], deciding: Truth, facts: &Facts<'_>) -> Truth {
    let mut all = !deciding;
    for part in parts {
        let truth = part.truth(facts);
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
        match self {
            Leaf::Constant(value) => Truth::from(*value),
            Leaf::Flag(slot) => Scalar::from(facts.get(*slot)).truth(),
            Leaf::Has(slot) => Truth::from(match facts.get(*slot) {
                ValueRef::Missing => false,
                ValueRef::Set(set) => !set.is_empty(),
                _ => true,
            }),
            Leaf::CompareInt { slot, comparison, value } => match facts.int(*slot) {
                Some(read) => Truth::from(comparison.holds(read.cmp(value))),
                None => Truth::Unknown,
            },
            Leaf::CompareMoney { slot, comparison, value } => match facts.money(*slot) {
                Some(read) => Truth::from(comparison.holds(read.cmp(value))),
                None => Truth::Unknown,
            },
            Leaf::CompareDouble { slot, comparison, value } => match facts.get(*slot) {
                ValueRef::Double(read) => told(*comparison, read.partial_cmp(value)),
                _ => Truth::Unknown,
            },
            Leaf::TextIs { slot, value, equal } => match facts.text(*slot) {
                Some(read) => Truth::from(same(read, value) == *equal),
                None => Truth::Unknown,
            },
            Leaf::OneOf { slot, values } => match facts.text(*slot) {
                Some(read) => Truth::from(values.iter().any(|v| same(read, v))),
                None => Truth::Unknown,
            },
            Leaf::SetHas { slot, value } => match facts.get(*slot) {
                ValueRef::Set(set) => Truth::from(holds(set, value)),
                _ => Truth::False,
            },
            Leaf::Compare(parts) => told(parts.1, parts.0.read(facts).compare(parts.2.read(facts))),
            Leaf::In(parts) => one_of(parts.0.read(facts), &parts.1),
            Leaf::InSet(parts) => match (parts.0.read(facts), parts.1.read(facts)) {
                (Scalar::Text(text), Scalar::Set(set)) => Truth::from(holds(set, text)),
                _ => Truth::Unknown,
            },
            Leaf::Match(parts) => parts.1.truth(parts.0.read(facts), facts),
            Leaf::Value(value) => value.read(facts).truth(),
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

impl Matcher {
    fn truth(&self, text: Scalar<'_>, facts: &Facts<'_>) -> Truth {
        let Scalar::Text(text) = text else { return Truth::Unknown };
        let (wanted, test): (&Value, fn(&str, &str) -> bool) = match self {
            Matcher::Pattern(pattern) => return Truth::from(pattern.is_match(text)),
            Matcher::StartsWith(value) => (value, |text, part| text.starts_with(part)),
            Matcher::EndsWith(value) => (value, |text, part| text.ends_with(part)),
            Matcher::Contains(value) => (value, |text, part| text.contains(part)),
        };
        match wanted.read(facts) {
            Scalar::Text(part) => Truth::from(test(text, part)),
            _ => Truth::Unknown,
        }
    }
}

impl Value {
    /// The value.
    pub fn read<'a>(&'a self, facts: &Facts<'a>) -> Scalar<'a> {
        match self {
            Value::Constant(constant) => constant.scalar(),
            Value::Attribute(slot) => facts.get(*slot).into(),
            Value::Set(slot) => match facts.get(*slot) {
                ValueRef::Set(set) => Scalar::Set(set),
                _ => Scalar::Set(&[]),
            },
            Value::Now => Scalar::Time(facts.now.0),
            Value::Test(test) => match test.truth(facts) {
                Truth::True => Scalar::Bool(true),
                Truth::False => Scalar::Bool(false),
                Truth::Unknown => Scalar::Unknown,
            },
            Value::Negate(value) => negate(value.read(facts)),
            Value::Arithmetic(operator, sides) => calculate(*operator, sides[0].read(facts), sides[1].read(facts)),
            Value::Choice(parts) => match parts.0.truth(facts) {
                Truth::True => parts.1.read(facts),
                Truth::False => parts.2.read(facts),
                Truth::Unknown => Scalar::Unknown,
            },
            Value::Size(value) => match value.read(facts) {
                Scalar::Text(text) => Scalar::Int(text.chars().count() as i64),
                Scalar::Set(set) => Scalar::Int(set.len() as i64),
                _ => Scalar::Unknown,
            },
            Value::ToDouble(value, scale) => match value.read(facts) {
                Scalar::Int(v) => finite(v as f64),
                Scalar::Double(v) => finite(v),
                Scalar::Money(v) => finite(v as f64 / scale),
                _ => Scalar::Unknown,
            },
            Value::ToInt(value) => match value.read(facts) {
                Scalar::Int(v) => Scalar::Int(v),
                Scalar::Double(v) => to_whole(v).map_or(Scalar::Unknown, Scalar::Int),
                _ => Scalar::Unknown,
            },
        }
    }
}
