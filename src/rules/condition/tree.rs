//! The compiled tree; `run` evaluates it.

use std::sync::Arc;

use super::{
    moment::Moment,
    scalar::Scalar,
    syntax::{Arithmetic, Comparison},
};
use crate::domain::{AttrId, AttrSlot};

/// A part that is true, false or unknown.
#[derive(Clone, Debug)]
pub(super) enum Test {
    All(Box<[Test]>),
    Any(Box<[Test]>),
    /// The opposite of a part; the site tells both as one when the part is a leaf.
    Not(Box<Test>, SiteIndex),
    /// If the first then the second, else the third.
    Choice(Box<[Test; 3]>),
    Leaf(Arc<Leaf>, SiteIndex),
}

/// Where a part stands: an index into the condition's sites.
pub(super) type SiteIndex = u32;

/// A part without logic inside: what explanations name.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    Constant(bool),
    Flag(AttrSlot),
    Has(AttrSlot),
    CompareInt {
        slot: AttrSlot,
        comparison: Comparison,
        value: i64,
    },
    CompareDouble {
        slot: AttrSlot,
        comparison: Comparison,
        value: f64,
    },
    CompareMoney {
        slot: AttrSlot,
        comparison: Comparison,
        value: i64,
    },
    TextIs {
        slot: AttrSlot,
        value: Box<str>,
        equal: bool,
    },
    OneOf {
        slot: AttrSlot,
        values: Box<[Box<str>]>,
    },
    SetHas {
        slot: AttrSlot,
        value: Box<str>,
    },
    Compare(Box<(Value, Comparison, Value)>),
    In(Box<(Value, Box<[Constant]>)>),
    InSet(Box<(Value, Value)>),
    /// One of some values; unknown when any of them is.
    InValues(Box<(Value, Box<[Value]>)>),
    /// Whether the test holds for a member of the set.
    Exists(Box<(Value, Test)>),
    /// Whether the test holds for every member of the set.
    Every(Box<(Value, Test)>),
    Match(Box<(Value, Matcher)>),
    Value(Box<Value>),
}

/// A test on text.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    StartsWith(Value),
    EndsWith(Value),
    Contains(Value),
    Pattern(regex::Regex),
}

/// A part that has a value.
#[derive(Clone, Debug)]
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
    /// The member of a set being walked: 0 of the innermost walk, 1 of the one
    /// around it.
    Element(u8),
    /// A field of the record whose key is a member of a set being walked.
    Field(RecordField),
    /// Whether there is a value; never unknown.
    Known(Box<Value>),
    /// How many of the tests hold; unknown when one is.
    Tally(Box<[Test]>),
    /// For how many members of the set the test holds; unknown when it is for one.
    Count(Box<(Value, Test)>),
    /// A part of a moment, date or duration.
    Moment(Box<(Value, Moment)>),
}

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordField {
    /// The walk, as of [`Value::Element`].
    pub outward: u8,
    pub list: AttrId,
    pub field: AttrId,
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
