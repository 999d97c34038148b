//! Leaves as literals: a subject and what of it is accepted. Exact, also at the
//! ends of numbers and between ints and doubles; what cannot be told exactly
//! stays a leaf.

use std::{cmp::Ordering, sync::Arc};

use super::{
    normal_subject::{Computed, Kind, Side, Subject, Whole, double_key, key, kind_of},
    normal_values::{Accepts, Ranges, complement},
    scalar::{Scalar, compare_mixed},
    syntax::{Arithmetic, Comparison},
    tree::{Constant, Leaf, Value},
};
use crate::domain::AttrSlot;

/// Shifts of a moment longer than this, microseconds, are left to the leaf.
const SHIFT_MAX: u64 = 1 << 61;

/// A literal of the normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) struct Literal {
    pub subject: Subject,
    pub accepts: Accepts,
}

/// The literal that a leaf is true (or, `wanted` false, that it is false);
/// unknown satisfies neither.
pub(super) fn literal(leaf: &Arc<Leaf>, wanted: bool, kinds: &[(AttrSlot, Kind)]) -> Literal {
    exact(leaf, wanted, kinds).unwrap_or_else(|| {
        let key = i64::from(wanted);
        Literal {
            subject: Subject::Leaf(Whole::of(leaf)),
            accepts: Accepts::numbers([(key, key)].into_iter().collect()),
        }
    })
}

fn exact(leaf: &Arc<Leaf>, wanted: bool, kinds: &[(AttrSlot, Kind)]) -> Option<Literal> {
    let number = |slot: AttrSlot, kind, comparison, scalar| {
        let subject = Subject::Attribute(slot, kind);
        Some(Literal { subject, accepts: compared(kind, turned(comparison, wanted), scalar)? })
    };
    match &**leaf {
        Leaf::Flag(slot) => number(*slot, Kind::Bool, Comparison::Equal, Scalar::Bool(true)),
        Leaf::Has(slot) => Some(Literal { subject: Subject::Present(*slot), accepts: Accepts::flag(wanted) }),
        Leaf::CompareInt { slot, comparison, value } => number(*slot, Kind::Int, *comparison, Scalar::Int(*value)),
        Leaf::CompareMoney { slot, comparison, value } => {
            number(*slot, Kind::Money, *comparison, Scalar::Money(*value))
        }
        Leaf::CompareDouble { slot, comparison, value } => {
            number(*slot, Kind::Double, *comparison, Scalar::Double(*value))
        }
        Leaf::TextIs { slot, value, equal } => Some(texts(*slot, std::slice::from_ref(value), *equal == wanted)),
        Leaf::OneOf { slot, values } => Some(texts(*slot, values, wanted)),
        Leaf::SetHas { slot, value } => {
            let subject = Subject::Member(*slot, (**value).into());
            let key = i64::from(wanted);
            let accepts = Accepts { missing: !wanted, ..Accepts::numbers([(key, key)].into_iter().collect()) };
            Some(Literal { subject, accepts })
        }
        Leaf::Compare(parts) => comparison(leaf, (&parts.0, turned(parts.1, wanted), &parts.2), kinds),
        Leaf::In(parts) => membership(leaf, (&parts.0, &parts.1), wanted, kinds),
        _ => None,
    }
}

fn texts(slot: AttrSlot, values: &[Box<str>], wanted: bool) -> Literal {
    Literal { subject: Subject::Text(slot), accepts: Accepts::texts(values.to_vec(), !wanted) }
}

/// The comparison that holds where this one must, among values that compare.
fn turned(comparison: Comparison, wanted: bool) -> Comparison {
    if wanted {
        return comparison;
    }
    match comparison {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
    }
}

type Sides<'a> = (&'a Value, Comparison, &'a Value);

fn comparison(leaf: &Arc<Leaf>, sides: Sides<'_>, kinds: &[(AttrSlot, Kind)]) -> Option<Literal> {
    let (value, side, order, constant) = match sides {
        (value, order, Value::Constant(constant)) => (value, Side::Left, order, constant),
        (Value::Constant(constant), order, value) => (value, Side::Right, order.swapped(), constant),
        _ => return moments(sides, kinds),
    };
    if let (Value::Attribute(slot), Constant::Text(text)) = (value, constant) {
        let equality = matches!(order, Comparison::Equal | Comparison::NotEqual);
        let wanted = order == Comparison::Equal;
        return equality.then(|| texts(*slot, std::slice::from_ref(text), wanted));
    }
    if let (Value::Arithmetic(Arithmetic::Subtract, parts), Constant::Duration(apart)) = (value, constant)
        && let Some(literal) = age(parts, order, *apart, kinds)
    {
        return Some(literal);
    }
    let (subject, kind) = subject(leaf, value, side, kinds)?;
    Some(Literal { subject, accepts: compared(kind, order, constant.scalar())? })
}

fn membership(
    leaf: &Arc<Leaf>,
    (value, constants): (&Value, &[Constant]),
    wanted: bool,
    kinds: &[(AttrSlot, Kind)],
) -> Option<Literal> {
    let (subject, kind) = subject(leaf, value, Side::Left, kinds)?;
    let mut points = Ranges::new();
    for constant in constants {
        let split = Split::of(kind, constant.scalar())?;
        points.extend(split.equal.map(|at| (at, at)));
    }
    points.sort_unstable();
    let mut ranges = Ranges::new();
    for (from, to) in points {
        match ranges.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = to,
            _ => ranges.push((from, to)),
        }
    }
    let ranges = if wanted { ranges } else { complement(&ranges) };
    Some(Literal { subject, accepts: Accepts::numbers(ranges) })
}

/// The subject that a value is, with the kind of its keys.
fn subject(leaf: &Arc<Leaf>, value: &Value, side: Side, kinds: &[(AttrSlot, Kind)]) -> Option<(Subject, Kind)> {
    let kind = kind_of(value, kinds)?;
    let subject = match value {
        _ if matches!(kind, Kind::Text | Kind::Set) => return None,
        Value::Now => Subject::Now,
        Value::Attribute(slot) => Subject::Attribute(*slot, kind),
        _ => Subject::Computed(Computed::of(leaf, side, kind)?),
    };
    Some((subject, kind))
}

/// `now - p.x > d`, and the same the other way round.
fn age(parts: &[Value; 2], order: Comparison, apart_us: i64, kinds: &[(AttrSlot, Kind)]) -> Option<Literal> {
    let is_moment = |slot: &AttrSlot| kind_of(&Value::Attribute(*slot), kinds) == Some(Kind::Time);
    let (slot, order, apart_us) = match parts {
        [Value::Now, Value::Attribute(slot)] if is_moment(slot) => (*slot, order, apart_us),
        [Value::Attribute(slot), Value::Now] if is_moment(slot) => (*slot, order.swapped(), apart_us.checked_neg()?),
        _ => return None,
    };
    let accepts = compared(Kind::Duration, order, Scalar::Duration(apart_us))?;
    Some(Literal { subject: Subject::Age(slot), accepts })
}

/// `p.x < now - d` and every other comparison of an attribute, shifted or not,
/// with the moment of the decision, shifted or not.
fn moments((left, order, right): Sides<'_>, kinds: &[(AttrSlot, Kind)]) -> Option<Literal> {
    // now + left shift ? x + right shift is now - x ? right shift - left shift
    let (slot, order, apart_us) = match (Moment::of(left)?, Moment::of(right)?) {
        ((Moment::Now, now_us), (Moment::At(slot), at_us)) => (slot, order, at_us - now_us),
        ((Moment::At(slot), at_us), (Moment::Now, now_us)) => (slot, order.swapped(), at_us - now_us),
        _ => return None,
    };
    if kind_of(&Value::Attribute(slot), kinds) != Some(Kind::Time) {
        return None;
    }
    let accepts = compared(Kind::Duration, order, Scalar::Duration(apart_us))?;
    Some(Literal { subject: Subject::Age(slot), accepts })
}

/// A moment to which a fixed duration is added.
enum Moment {
    Now,
    At(AttrSlot),
}

impl Moment {
    fn of(value: &Value) -> Option<(Self, i64)> {
        let plain = |value: &Value| match value {
            Value::Now => Some(Moment::Now),
            Value::Attribute(slot) => Some(Moment::At(*slot)),
            _ => None,
        };
        let (moment, shift_us) = match value {
            Value::Arithmetic(operator, sides) => match (operator, &**sides) {
                (Arithmetic::Add, [value, Value::Constant(Constant::Duration(us))])
                | (Arithmetic::Add, [Value::Constant(Constant::Duration(us)), value]) => (plain(value)?, *us),
                (Arithmetic::Subtract, [value, Value::Constant(Constant::Duration(us))]) => {
                    (plain(value)?, us.checked_neg()?)
                }
                _ => return None,
            },
            value => (plain(value)?, 0),
        };
        (shift_us.unsigned_abs() <= SHIFT_MAX).then_some((moment, shift_us))
    }
}

/// The keys that compare so with a constant.
fn compared(kind: Kind, comparison: Comparison, constant: Scalar<'_>) -> Option<Accepts> {
    let split = Split::of(kind, constant)?;
    let mut ranges = Ranges::new();
    let wanted = |order: Ordering| comparison.holds(order);
    let parts = [
        (wanted(Ordering::Less), split.less.map(|to| (i64::MIN, to))),
        (wanted(Ordering::Equal), split.equal.map(|at| (at, at))),
        (wanted(Ordering::Greater), split.greater.map(|from| (from, i64::MAX))),
    ];
    for (from, to) in parts.into_iter().filter_map(|(wanted, range)| range.filter(|_| wanted)) {
        match ranges.last_mut() {
            Some(last) if last.1 + 1 == from => last.1 = to,
            _ => ranges.push((from, to)),
        }
    }
    Some(Accepts::numbers(ranges))
}

/// Where a constant stands among the keys of a kind.
struct Split {
    /// The last key that is less.
    less: Option<i64>,
    /// The key that is equal.
    equal: Option<i64>,
    /// The first key that is greater.
    greater: Option<i64>,
}

impl Split {
    fn of(kind: Kind, constant: Scalar<'_>) -> Option<Self> {
        match (kind, constant) {
            (Kind::Int, Scalar::Double(value)) => Self::of_double_among_ints(value),
            (Kind::Double, Scalar::Int(value)) => {
                let nearest = value as f64;
                let at = double_key(nearest);
                Some(match compare_mixed(value, nearest)? {
                    Ordering::Equal => Self::at(at),
                    Ordering::Less => Self { less: Some(at - 1), equal: None, greater: Some(at) },
                    Ordering::Greater => Self { less: Some(at), equal: None, greater: Some(at + 1) },
                })
            }
            (kind, constant) => key(kind, constant).map(Self::at),
        }
    }

    fn at(key: i64) -> Self {
        Self { less: key.checked_sub(1), equal: Some(key), greater: key.checked_add(1) }
    }

    fn of_double_among_ints(value: f64) -> Option<Self> {
        let order = |int: i64| compare_mixed(int, value);
        if order(i64::MAX)?.is_lt() {
            return Some(Self { less: Some(i64::MAX), equal: None, greater: None });
        }
        if order(i64::MIN)?.is_gt() {
            return Some(Self { less: None, equal: None, greater: Some(i64::MIN) });
        }
        // within the range of ints, so exact
        let whole = value.floor() as i64;
        Some(match order(whole)? {
            Ordering::Equal => Self::at(whole),
            _ => Self { less: Some(whole), equal: None, greater: whole.checked_add(1) },
        })
    }
}
