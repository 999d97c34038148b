//! Typed values.

use super::{Date, Timestamp};

/// A value of an attribute or data field. Money is in minor units of the
/// ruleset's one currency.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Double(f64),
    /// Text, or the name of an enum member.
    Text(Box<str>),
    /// A set of texts, sorted, each once.
    Set(Box<[Box<str>]>),
    /// A moment.
    Timestamp(Timestamp),
    /// A date.
    Date(Date),
    /// Money in minor units.
    Money(i64),
}

impl Value {
    /// The value, borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Bool(v) => ValueRef::Bool(*v),
            Value::Int(v) => ValueRef::Int(*v),
            Value::Double(v) => ValueRef::Double(*v),
            Value::Text(v) => ValueRef::Text(v),
            Value::Set(v) => ValueRef::Set(v),
            Value::Timestamp(v) => ValueRef::Timestamp(*v),
            Value::Date(v) => ValueRef::Date(*v),
            Value::Money(v) => ValueRef::Money(*v),
        }
    }
}

/// A borrowed value, or its absence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// Not known.
    Missing,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Double(f64),
    /// Text.
    Text(&'a str),
    /// A set of texts, sorted.
    Set(&'a [Box<str>]),
    /// A moment.
    Timestamp(Timestamp),
    /// A date.
    Date(Date),
    /// Money in minor units.
    Money(i64),
}

impl ValueRef<'_> {
    /// Whether there is no value.
    pub fn is_missing(self) -> bool {
        matches!(self, ValueRef::Missing)
    }

    /// The owned value; `None` when missing.
    pub fn to_value(self) -> Option<Value> {
        Some(match self {
            ValueRef::Missing => return None,
            ValueRef::Bool(v) => Value::Bool(v),
            ValueRef::Int(v) => Value::Int(v),
            ValueRef::Double(v) => Value::Double(v),
            ValueRef::Text(v) => Value::Text(v.into()),
            ValueRef::Set(v) => Value::Set(v.into()),
            ValueRef::Timestamp(v) => Value::Timestamp(v),
            ValueRef::Date(v) => Value::Date(v),
            ValueRef::Money(v) => Value::Money(v),
        })
    }
}

/// The one currency of a ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency {
    /// ISO 4217 code, for example `GBP`.
    pub code: [u8; 3],
    /// Digits after the decimal point, for example 2.
    pub minor_digits: u8,
}

impl Currency {
    /// The code as text.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// Minor units of a major unit, for example 100.
    pub fn scale(&self) -> i64 {
        10_i64.pow(u32::from(self.minor_digits.min(6)))
    }

    /// Minor units as major ones.
    pub fn major(&self, minor: i64) -> f64 {
        minor as f64 / self.scale() as f64
    }

    /// Decimal text of minor units: `1250` becomes `12.50`.
    pub fn format(&self, minor: i64) -> String {
        let digits = usize::from(self.minor_digits.min(6));
        let sign = if minor < 0 { "-" } else { "" };
        let scale = self.scale().unsigned_abs();
        let (whole, part) = (minor.unsigned_abs() / scale, minor.unsigned_abs() % scale);
        if digits == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part:0digits$}") }
    }

    /// Parses decimal text into minor units; `None` when it is not an amount
    /// with at most [`Currency::minor_digits`] digits after the point.
    pub fn parse(&self, text: &str) -> Option<i64> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let wanted = usize::from(self.minor_digits.min(6));
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(part) || part.len() > wanted {
            return None;
        }
        if digits.contains('.') && part.is_empty() {
            return None;
        }
        let mut minor: i64 = whole.parse::<i64>().ok()?.checked_mul(self.scale())?;
        if !part.is_empty() {
            let pad = 10_i64.pow((wanted - part.len()) as u32);
            minor = minor.checked_add(part.parse::<i64>().ok()? * pad)?;
        }
        Some(if negative { -minor } else { minor })
    }
}
