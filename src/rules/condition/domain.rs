//! What the schema and the calendar allow of the subjects of literals: the range
//! of a number, the members of an enum, that what has a default is there. With
//! it more conditions are told to be never true, or true for everybody.

use super::{
    Condition,
    lint::may_be_missing,
    moment::Part,
    normal::{Row, contradict, merged, tidied},
    normal_subject::{Kind, MEMBER_UNKNOWN, Subject, double_key, value_of},
    normal_values::{Accepts, Ranges},
    tree::{Leaf, Value},
};
use crate::domain::{AttrSlot, AttributeDef, AttributeSource, AttributeType, Schema};

/// The most rows of conditions taken together that are looked at.
const ROWS_TOGETHER_MAX: usize = 1_024;

/// Whether conditions can be shown never to be true together for anybody of
/// whom the schema is true; one that is never true by itself counts too.
pub(in crate::rules) fn never(conditions: &[&Condition], schema: &Schema) -> bool {
    if contradict(conditions.iter().copied()) {
        return true;
    }
    let mut left = vec![Row::new()];
    for condition in conditions {
        let rows: Vec<&Row> = condition.rows().iter().filter(|row| is_possible(row, schema)).collect();
        if left.len() * rows.len() > ROWS_TOGETHER_MAX {
            return false;
        }
        let both = left.iter().flat_map(|a| rows.iter().filter_map(|b| merged(a, b)));
        left = both.filter_map(tidied).filter(|row| is_possible(row, schema)).collect();
    }
    left.is_empty()
}

/// Whether a condition can be shown to be true for everybody of whom the schema
/// is true.
pub(in crate::rules) fn everybody(condition: &Condition, schema: &Schema) -> bool {
    let says_nothing = |literal: &super::normal_leaf::Literal| {
        allowed(&literal.subject, schema).is_some_and(|all| literal.accepts.covers(&all))
    };
    condition.rows().iter().any(|row| row.iter().all(says_nothing))
}

fn is_possible(row: &Row, schema: &Schema) -> bool {
    row.iter().all(|literal| {
        allowed(&literal.subject, schema).is_none_or(|all| !literal.accepts.intersection(&all).is_nothing())
    })
}

/// What a subject can read; `None` when nothing is known of it.
fn allowed(subject: &Subject, schema: &Schema) -> Option<Accepts> {
    let def = |slot: &AttrSlot| schema.attributes.get(slot.index());
    match subject {
        Subject::Attribute(slot, kind) => Some(numbers(of_attribute(def(slot)?, *kind), may_be_missing(schema, *slot))),
        Subject::Text(slot) => {
            let texts = match &def(slot)?.kind {
                AttributeType::Enum(members) => Accepts::texts(members.iter().map(|m| (**m).into()).collect(), false),
                _ => Accepts::texts(Vec::new(), true),
            };
            Some(Accepts { missing: may_be_missing(schema, *slot), ..texts })
        }
        Subject::Present(slot) => {
            let is_there = def(slot)?.kind != AttributeType::Set && !may_be_missing(schema, *slot);
            Some(numbers((i64::from(is_there), 1), false))
        }
        Subject::Member(slot, _) => Some(numbers((0, if def(slot)?.verified { MEMBER_UNKNOWN } else { 1 }), false)),
        Subject::Computed(computed) => of_value(value_of(&computed.leaf, computed.side)?, schema),
        Subject::Leaf(whole) => of_leaf(&whole.leaf),
        Subject::Now | Subject::Age(_) => None,
    }
}

fn numbers(range: (i64, i64), missing: bool) -> Accepts {
    let ranges: Ranges = (range.0 <= range.1).then_some(range).into_iter().collect();
    Accepts { missing, ..Accepts::numbers(ranges) }
}

/// The keys of an attribute.
fn of_attribute(def: &AttributeDef, kind: Kind) -> (i64, i64) {
    match (kind, def.range) {
        (Kind::Bool, _) => (0, 1),
        // `as` keeps what is too large at the ends.
        (Kind::Int | Kind::Money, Some((low, high))) => (low.ceil() as i64, high.floor() as i64),
        (Kind::Double, Some((low, high))) => (double_key(low), double_key(high)),
        _ if matches!(&def.source, AttributeSource::Trait(how) if how.counts()) => (0, i64::MAX),
        _ => (i64::MIN, i64::MAX),
    }
}

/// The keys of a computed value.
fn of_value(value: &Value, schema: &Schema) -> Option<Accepts> {
    match value {
        Value::Size(of) => {
            let is_there = |slot: &AttrSlot| schema.attributes.get(slot.index()).is_some_and(|def| !def.verified);
            Some(numbers((0, i64::MAX), !matches!(&**of, Value::Set(slot) if is_there(slot))))
        }
        Value::Tally(_) | Value::Count(_) => Some(numbers((0, i64::MAX), true)),
        Value::Moment(parts) => {
            let (of, moment) = &**parts;
            let is_moment = match of {
                Value::Now => true,
                Value::Attribute(slot) => schema.attributes.get(slot.index()).is_some(),
                _ => false,
            };
            let range = match moment.part {
                Part::Month => (0, 11),
                Part::Date => (1, 31),
                Part::DayOfMonth => (0, 30),
                Part::DayOfWeek => (0, 6),
                Part::DayOfYear => (0, 365),
                Part::Milliseconds => (0, 999),
                // Of a duration these are its whole length.
                Part::Hours if is_moment => (0, 23),
                Part::Minutes | Part::Seconds if is_moment => (0, 59),
                _ => return None,
            };
            Some(numbers(range, !matches!(of, Value::Now)))
        }
        _ => None,
    }
}

/// A value compared with itself.
fn of_leaf(leaf: &Leaf) -> Option<Accepts> {
    let Leaf::Compare(parts) = leaf else { return None };
    let (left, comparison, right) = &**parts;
    let is_same = format!("{left:?}") == format!("{right:?}");
    let truth = i64::from(comparison.holds(std::cmp::Ordering::Equal));
    is_same.then(|| numbers((truth, truth), true))
}
