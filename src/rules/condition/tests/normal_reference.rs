//! A slow and obvious evaluator of condition text, for tests: straight over the
//! syntax, sharing nothing with the tree, the normal form or the index.

use std::cmp::Ordering;

use super::{
    Truth,
    syntax::{Arithmetic, Comparison, Kind, Operator, Syntax, parse},
};
use crate::domain::Value;

/// A value; `None` is unknown.
type Known = Option<Any>;

#[derive(Clone, Debug, PartialEq)]
enum Any {
    Bool(bool),
    Int(i128),
    Double(f64),
    Text(String),
    List(Vec<Any>),
    Time(i128),
    Date(i128),
    Money(i128),
    Duration(i128),
}

/// What is known when a condition is asked.
pub(in crate::rules) struct Reference<'a> {
    /// The value of an attribute by its full name.
    pub value: &'a dyn Fn(&str) -> Option<Value>,
    /// Whether an attribute is a set.
    pub is_set: &'a dyn Fn(&str) -> bool,
    pub now_us: i64,
}

/// A condition as it was written.
pub(in crate::rules) struct Question(Syntax);

impl Question {
    pub fn of(text: &str) -> Self {
        let Ok((syntax, _)) = parse(text) else { panic!("{text} does not parse") };
        Self(syntax)
    }
}

impl Reference<'_> {
    /// What a condition comes to.
    pub fn truth(&self, question: &Question) -> Truth {
        match self.value(&question.0) {
            Some(Any::Bool(true)) => Truth::True,
            Some(Any::Bool(false)) => Truth::False,
            None => Truth::Unknown,
            other => panic!("a condition comes to {other:?}"),
        }
    }

    fn bool(&self, syntax: &Syntax) -> Option<bool> {
        match self.value(syntax) {
            Some(Any::Bool(value)) => Some(value),
            None => None,
            other => panic!("{other:?} is no truth"),
        }
    }

    fn value(&self, syntax: &Syntax) -> Known {
        match &syntax.kind {
            Kind::Bool(v) => Some(Any::Bool(*v)),
            Kind::Int(v) => Some(Any::Int(i128::from(*v))),
            Kind::Double(v) => Some(Any::Double(*v)),
            Kind::Text(v) => Some(Any::Text(v.clone())),
            Kind::Name(name) if name == "now" => Some(Any::Time(i128::from(self.now_us))),
            Kind::Field(target, name) => self.attribute(target, name),
            Kind::Has(target, name) => Some(Any::Bool(match self.attribute(target, name) {
                Some(Any::List(members)) => !members.is_empty(),
                value => value.is_some(),
            })),
            Kind::Not(part) => self.bool(part).map(|v| Any::Bool(!v)),
            Kind::Negate(part) => fits(match self.value(part)? {
                Any::Int(v) => Any::Int(-v),
                Any::Money(v) => Any::Money(-v),
                Any::Duration(v) => Any::Duration(-v),
                Any::Double(v) => Any::Double(-v),
                other => panic!("-{other:?}"),
            }),
            Kind::All(parts) => self.decide(parts, false),
            Kind::Any(parts) => self.decide(parts, true),
            Kind::Choice(parts) => {
                if self.bool(&parts[0])? {
                    self.value(&parts[1])
                } else {
                    self.value(&parts[2])
                }
            }
            Kind::List(items) => Some(Any::List(items.iter().filter_map(|item| self.value(item)).collect())),
            Kind::Binary(operator, sides) => {
                let (left, right) = (self.value(&sides[0])?, self.value(&sides[1])?);
                match operator {
                    Operator::Compare(comparison) => holds(*comparison, order(&left, &right)?),
                    Operator::Arithmetic(operator) => fits(calculate(*operator, left, right)?),
                    Operator::In => {
                        let Any::List(items) = right else { panic!("in {right:?}") };
                        Some(Any::Bool(items.iter().any(|item| order(&left, item) == Some(Ordering::Equal))))
                    }
                }
            }
            Kind::Call { name, target, args } => self.call(name, target.as_deref(), args),
            other => panic!("{other:?} is not known to the reference"),
        }
    }

    fn attribute(&self, target: &Syntax, name: &str) -> Known {
        let Kind::Name(root) = &target.kind else { panic!("a field of {target:?}") };
        let name = format!("{root}.{name}");
        let text = |text: &str| Any::Text(text.to_owned());
        match (self.value)(&name) {
            None if (self.is_set)(&name) => Some(Any::List(Vec::new())),
            None => None,
            Some(Value::Bool(v)) => Some(Any::Bool(v)),
            Some(Value::Int(v)) => Some(Any::Int(v.into())),
            Some(Value::Double(v)) => Some(Any::Double(v)),
            Some(Value::Text(v)) => Some(text(&v)),
            Some(Value::Set(v)) => Some(Any::List(v.iter().map(|m| text(m)).collect())),
            Some(Value::Timestamp(v)) => Some(Any::Time(v.0.into())),
            Some(Value::Date(v)) => Some(Any::Date(v.0.into())),
            Some(Value::Money(v)) => Some(Any::Money(v.into())),
        }
    }

    fn decide(&self, parts: &[Syntax], deciding: bool) -> Known {
        let truths: Vec<Option<bool>> = parts.iter().map(|part| self.bool(part)).collect();
        if truths.contains(&Some(deciding)) {
            return Some(Any::Bool(deciding));
        }
        (!truths.contains(&None)).then_some(Any::Bool(!deciding))
    }

    fn call(&self, name: &str, target: Option<&Syntax>, args: &[Syntax]) -> Known {
        let first = self.value(target.or(args.first()).expect("a value"))?;
        match (name, first) {
            ("size", Any::Text(text)) => Some(Any::Int(text.chars().count() as i128)),
            ("size", Any::List(members)) => Some(Any::Int(members.len() as i128)),
            ("money", Any::Text(text)) => {
                Some(Any::Money((text.parse::<f64>().expect("money") * 100.0).round() as i128))
            }
            ("timestamp", Any::Text(text)) => {
                Some(Any::Time(text.parse::<jiff::Timestamp>().expect("a moment").as_microsecond().into()))
            }
            ("date", Any::Text(text)) => Some(Any::Date(crate::domain::Date::parse(&text).expect("a date").0.into())),
            ("duration", Any::Text(text)) => {
                let unit_us = if text.ends_with('d') { 86_400_000_000 } else { 1_000_000 };
                Some(Any::Duration(text[..text.len() - 1].parse::<i128>().expect("a duration") * unit_us))
            }
            (method, Any::Text(text)) => match self.value(args.first().expect("a text"))? {
                Any::Text(part) => Some(Any::Bool(match method {
                    "startsWith" => text.starts_with(&part),
                    "endsWith" => text.ends_with(&part),
                    "contains" => text.contains(&part),
                    _ => panic!("{method} is not known to the reference"),
                })),
                other => panic!("{method} of {other:?}"),
            },
            (name, first) => panic!("{name} of {first:?}"),
        }
    }
}

fn holds(comparison: Comparison, order: Ordering) -> Known {
    Some(Any::Bool(match comparison {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::NotEqual => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    }))
}

fn order(left: &Any, right: &Any) -> Option<Ordering> {
    match (left, right) {
        (Any::Bool(a), Any::Bool(b)) => Some(a.cmp(b)),
        (Any::Text(a), Any::Text(b)) => Some(a.cmp(b)),
        (Any::Double(a), Any::Double(b)) => a.partial_cmp(b),
        (Any::Int(a), Any::Double(b)) => Some(mixed(*a, *b)),
        (Any::Double(a), Any::Int(b)) => Some(mixed(*b, *a).reverse()),
        (Any::Int(a), Any::Int(b))
        | (Any::Time(a), Any::Time(b))
        | (Any::Date(a), Any::Date(b))
        | (Any::Money(a), Any::Money(b))
        | (Any::Duration(a), Any::Duration(b)) => Some(a.cmp(b)),
        other => panic!("{other:?} do not compare"),
    }
}

/// Ints here are far below 2^127, so the whole part of a double that is not fits.
fn mixed(int: i128, double: f64) -> Ordering {
    if double.abs() > 1e30 {
        return 0.0_f64.total_cmp(&double);
    }
    let whole = double.floor();
    int.cmp(&(whole as i128)).then(if double > whole { Ordering::Less } else { Ordering::Equal })
}

fn calculate(operator: Arithmetic, left: Any, right: Any) -> Known {
    use Any::{Double, Duration, Int, Money, Time};
    let whole = |a: i128, b: i128| match operator {
        Arithmetic::Add => Some(a + b),
        Arithmetic::Subtract => Some(a - b),
        Arithmetic::Multiply => Some(a * b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    Some(match (left, right) {
        (Int(a), Int(b)) => Int(whole(a, b)?),
        (Money(a), Money(b)) => Money(whole(a, b)?),
        (Money(a), Int(b)) | (Int(b), Money(a)) => Money(whole(a, b)?),
        (Time(a), Time(b)) | (Duration(a), Duration(b)) => Duration(whole(a, b)?),
        (Time(a), Duration(b)) | (Duration(a), Time(b)) => Time(whole(a, b)?),
        (Double(a), Double(b)) => Double(match operator {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            _ => a / b,
        }),
        other => panic!("{other:?} are not calculated by the reference"),
    })
}

/// Unknown when a result does not fit its type.
fn fits(value: Any) -> Known {
    match value {
        Any::Int(v) | Any::Time(v) | Any::Money(v) | Any::Duration(v) => i64::try_from(v).ok().map(|_| value),
        Any::Double(v) => v.is_finite().then_some(value),
        other => Some(other),
    }
}
