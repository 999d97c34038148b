//! The values of an expression while it runs, and the arithmetic on them.
//! Nothing here allocates or panics; whatever fails is unknown.

use std::cmp::Ordering;

use super::{
    Truth,
    syntax::{Arithmetic, Comparison},
};
use crate::domain::ValueRef;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    /// A missing attribute or failed arithmetic.
    Unknown,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
    Set(&'a [Box<str>]),
    /// Microseconds since 1970.
    Time(i64),
    /// Days since 1970.
    Date(i32),
    /// Minor units.
    Money(i64),
    /// Microseconds.
    Duration(i64),
}

impl<'a> From<ValueRef<'a>> for Scalar<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Missing => Scalar::Unknown,
            ValueRef::Bool(v) => Scalar::Bool(v),
            ValueRef::Int(v) => Scalar::Int(v),
            ValueRef::Double(v) => finite(v),
            ValueRef::Text(v) => Scalar::Text(v),
            ValueRef::Set(v) => Scalar::Set(v),
            ValueRef::Timestamp(v) => Scalar::Time(v.0),
            ValueRef::Date(v) => Scalar::Date(v.0),
            ValueRef::Money(v) => Scalar::Money(v),
        }
    }
}

impl Scalar<'_> {
    /// The truth of a truth value.
    pub fn truth(self) -> Truth {
        match self {
            Scalar::Bool(v) => Truth::from(v),
            _ => Truth::Unknown,
        }
    }

    /// How two values of one type, or two numbers, stand to each other.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(&b)),
            (Scalar::Int(a), Scalar::Int(b))
            | (Scalar::Time(a), Scalar::Time(b))
            | (Scalar::Money(a), Scalar::Money(b))
            | (Scalar::Duration(a), Scalar::Duration(b)) => Some(a.cmp(&b)),
            (Scalar::Double(a), Scalar::Double(b)) => a.partial_cmp(&b),
            (Scalar::Int(a), Scalar::Double(b)) => compare_mixed(a, b),
            (Scalar::Double(a), Scalar::Int(b)) => compare_mixed(b, a).map(Ordering::reverse),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            (Scalar::Date(a), Scalar::Date(b)) => Some(a.cmp(&b)),
            _ => None,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Truth::True } else { Truth::False }
    }
}

impl From<Truth> for Scalar<'_> {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::True => Scalar::Bool(true),
            Truth::False => Scalar::Bool(false),
            Truth::Unknown => Scalar::Unknown,
        }
    }
}

/// Compares a whole number with a double without rounding it first.
pub(super) fn compare_mixed(a: i64, b: f64) -> Option<Ordering> {
    const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() {
        return None;
    }
    if b >= TWO_POW_63 {
        return Some(Ordering::Less);
    }
    if b < -TWO_POW_63 {
        return Some(Ordering::Greater);
    }
    let whole = b.trunc();
    Some(a.cmp(&(whole as i64)).then_with(|| if b > whole { Ordering::Less } else { whole.total_cmp(&b) }))
}

impl Comparison {
    /// Whether an order satisfies the comparison.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The comparison with its sides swapped.
    pub fn swapped(self) -> Self {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }
}

/// A double, or unknown when it is not finite.
pub(super) fn finite<'a>(value: f64) -> Scalar<'a> {
    if value.is_finite() { Scalar::Double(value) } else { Scalar::Unknown }
}

/// Calculates; the types were checked when the text was compiled.
pub(super) fn calculate<'a>(operator: Arithmetic, left: Scalar<'a>, right: Scalar<'a>) -> Scalar<'a> {
    use Scalar::{Double, Duration, Int, Money, Time};
    match (left, right) {
        (Int(a), Int(b)) => whole(operator, a, b).map_or(Scalar::Unknown, Int),
        (Double(a), Double(b)) => real(operator, a, b),
        (Int(a), Double(b)) => real(operator, a as f64, b),
        (Double(a), Int(b)) => real(operator, a, b as f64),
        (Money(a), Money(b)) if operator == Arithmetic::Divide => real(operator, a as f64, b as f64),
        (Money(a), Money(b)) => whole(operator, a, b).map_or(Scalar::Unknown, Money),
        (Money(a), Int(b)) if operator == Arithmetic::Multiply => a.checked_mul(b).map_or(Scalar::Unknown, Money),
        (Int(a), Money(b)) => a.checked_mul(b).map_or(Scalar::Unknown, Money),
        (Money(a), Int(b)) => rounded(real(operator, a as f64, b as f64)),
        (Money(a), Double(b)) => rounded(real(operator, a as f64, b)),
        (Double(a), Money(b)) => rounded(real(operator, a, b as f64)),
        (Time(a), Time(b)) => whole(operator, a, b).map_or(Scalar::Unknown, Duration),
        (Time(a), Duration(b)) | (Duration(a), Time(b)) => whole(operator, a, b).map_or(Scalar::Unknown, Time),
        (Duration(a), Duration(b)) => whole(operator, a, b).map_or(Scalar::Unknown, Duration),
        _ => Scalar::Unknown,
    }
}

fn whole(operator: Arithmetic, a: i64, b: i64) -> Option<i64> {
    match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    }
}

fn real<'a>(operator: Arithmetic, a: f64, b: f64) -> Scalar<'a> {
    finite(match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => return Scalar::Unknown,
    })
}

/// Money of a fractional number of minor units, rounded half away from zero.
fn rounded<'a>(value: Scalar<'a>) -> Scalar<'a> {
    match value {
        Scalar::Double(v) => to_whole(v.round()).map_or(Scalar::Unknown, Scalar::Money),
        _ => Scalar::Unknown,
    }
}

/// The whole part of a double, if it fits.
pub(super) fn to_whole(value: f64) -> Option<i64> {
    // Both bounds are exact doubles; the reference interpreter leaves them out.
    (value > i64::MIN as f64 && value < i64::MAX as f64).then_some(value as i64)
}

/// The opposite.
pub(super) fn negate(value: Scalar<'_>) -> Scalar<'_> {
    match value {
        Scalar::Int(v) => v.checked_neg().map_or(Scalar::Unknown, Scalar::Int),
        Scalar::Double(v) => finite(-v),
        Scalar::Money(v) => v.checked_neg().map_or(Scalar::Unknown, Scalar::Money),
        Scalar::Duration(v) => v.checked_neg().map_or(Scalar::Unknown, Scalar::Duration),
        _ => Scalar::Unknown,
    }
}
