//! The types of expressions and which of them go together.

use super::{
    literals,
    scan::Mistake,
    syntax::{Arithmetic, Comparison, Kind as SyntaxKind, Syntax},
    tree::Value,
};
use crate::domain::{AttrSlot, AttributeType};

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Double,
    Text,
    /// One of the members of an enum.
    Enum(Members),
    Set,
    Time,
    Date,
    Money,
    Duration,
}

/// Where the members of an enum stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// At an attribute.
    Attribute(AttrSlot),
    /// At a field of a list of records: the index of each in the schema.
    Field(u16, u16),
}

impl Type {
    /// The type of an attribute.
    pub fn of(kind: &AttributeType, slot: AttrSlot) -> Self {
        Self::with(kind, Members::Attribute(slot))
    }

    /// The type of something whose members, if it is an enum, stand somewhere.
    pub fn with(kind: &AttributeType, members: Members) -> Self {
        match kind {
            AttributeType::Bool => Type::Bool,
            AttributeType::Int => Type::Int,
            AttributeType::Double => Type::Double,
            AttributeType::Text => Type::Text,
            AttributeType::Enum(_) => Type::Enum(members),
            AttributeType::Set => Type::Set,
            AttributeType::Timestamp => Type::Time,
            AttributeType::Date => Type::Date,
            AttributeType::Money => Type::Money,
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Double => "double",
            Type::Text => "string",
            Type::Enum(_) => "enum",
            Type::Set => "set",
            Type::Time => "timestamp",
            Type::Date => "date",
            Type::Money => "money",
            Type::Duration => "duration",
        }
    }

    /// Whether it is int or double.
    pub fn is_number(self) -> bool {
        matches!(self, Type::Int | Type::Double)
    }

    /// Whether it is text or an enum.
    pub fn is_text(self) -> bool {
        matches!(self, Type::Text | Type::Enum(_))
    }
}

/// An expression with its type.
#[derive(Debug)]
pub(super) struct Typed {
    pub value: Value,
    pub kind: Type,
}

impl Typed {
    pub fn new(kind: Type, value: Value) -> Self {
        Self { value, kind }
    }
}

/// Whether two types compare, and by this comparison.
pub(super) fn comparable(left: Type, right: Type, comparison: Comparison) -> bool {
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    match (left, right) {
        (Type::Set, _) | (_, Type::Set) => false,
        (Type::Bool, Type::Bool) => equality,
        (Type::Enum(_), b) if b.is_text() => equality,
        (Type::Text, Type::Enum(_)) => equality,
        (a, b) => a == b || (a.is_number() && b.is_number()),
    }
}

/// The type of a calculation.
pub(super) fn result(operator: Arithmetic, left: Type, right: Type) -> Option<Type> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    Some(match (left, operator, right) {
        (Type::Int, _, Type::Int) => Type::Int,
        (a, Add | Subtract | Multiply | Divide, b) if a.is_number() && b.is_number() => Type::Double,
        (Type::Money, Add | Subtract, Type::Money) => Type::Money,
        (Type::Money, Divide, Type::Money) => Type::Double,
        (Type::Money, Multiply | Divide, b) if b.is_number() => Type::Money,
        (a, Multiply, Type::Money) if a.is_number() => Type::Money,
        (Type::Time, Subtract, Type::Time) => Type::Duration,
        (Type::Time, Add | Subtract, Type::Duration) => Type::Time,
        (Type::Duration, Add, Type::Time) => Type::Time,
        (Type::Duration, Add | Subtract, Type::Duration) => Type::Duration,
        (_, Remainder, _) => return None,
        _ => return None,
    })
}

/// The sign of an arithmetic operator.
pub(super) fn sign(operator: Arithmetic) -> &'static str {
    match operator {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Remainder => "%",
    }
}

/// Two sides that do not go together, with the fix where it is plain.
pub(super) fn mismatch(text: &str, verb: &str, sides: &[Syntax; 2], kinds: (Type, Type)) -> Mistake {
    let shown = |s: &Syntax| text.get(s.span.clone()).unwrap_or("").to_owned();
    let hint = fix(&sides[1], kinds.0, kinds.1).or_else(|| fix(&sides[0], kinds.1, kinds.0)).unwrap_or_default();
    let message = format!(
        "cannot {verb} `{}` ({}) with `{}` ({}){hint}",
        shown(&sides[0]),
        kinds.0.name(),
        shown(&sides[1]),
        kinds.1.name()
    );
    Mistake::new(sides[0].span.start..sides[1].span.end, message)
}

fn fix(literal: &Syntax, wanted: Type, kind: Type) -> Option<String> {
    let written = match &literal.kind {
        SyntaxKind::Text(text) => text.clone(),
        SyntaxKind::Int(value) => value.to_string(),
        SyntaxKind::Double(value) => value.to_string(),
        _ => return None,
    };
    Some(match (wanted, kind) {
        (Type::Money, k) if k.is_number() || k == Type::Text => format!(", write `money('{written}')`"),
        (Type::Date, Type::Text) => match literals::meant_date(&written) {
            Some(day) => format!(", write `date('{day}')`"),
            None => format!(", {}", literals::example("date")),
        },
        (Type::Time, Type::Text) => match literals::meant_timestamp(&written) {
            Some(moment) => format!(", write `timestamp('{moment}')`"),
            None => format!(", {}", literals::example("timestamp")),
        },
        (Type::Duration, Type::Text) => match literals::duration(&written) {
            Ok(_) => format!(", write `duration('{written}')`"),
            Err(_) => format!(", {}", literals::example("duration")),
        },
        (Type::Duration, Type::Int) => format!(", write `duration('{written}d')` for days"),
        (w, Type::Text) if w.is_number() => ", leave out the quotes".into(),
        (w, k) if w.is_text() && k.is_number() => format!(", write `'{written}'`"),
        _ => return None,
    })
}
