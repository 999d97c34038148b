//! What literals are about: the subjects of the normal form, and how they are
//! read. Every subject but text has keys: whole numbers in the subject's order.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    Truth,
    check::Site,
    scalar::Scalar,
    syntax::Arithmetic,
    tree::{Leaf, Value},
};
use crate::domain::{AttrSlot, AttributeType, Facts, Schema, ValueRef};

/// Moments as far from 1970 as this, microseconds, are not subtracted from
/// each other here: the difference might not fit.
const MOMENT_MAX: u64 = 1 << 62;

/// What one literal is about. Equal subjects have equal readings.
#[derive(Clone, Debug)]
pub(in crate::rules) enum Subject {
    /// The moment of the decision.
    Now,
    /// An attribute with an order.
    Attribute(AttrSlot, Kind),
    /// A text attribute.
    Text(AttrSlot),
    /// Whether an attribute is there, 0 or 1.
    Present(AttrSlot),
    /// Whether a set holds a text, 0 or 1.
    Member(AttrSlot, Arc<str>),
    /// Microseconds from the moment of an attribute to the decision.
    Age(AttrSlot),
    /// A computed value: one side of a comparison.
    Computed(Computed),
    /// A leaf as a whole: 0 false, 1 true, missing unknown.
    Leaf(Whole),
}

/// A value that is computed.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Computed {
    pub(super) leaf: Arc<Leaf>,
    pub(super) side: Side,
    pub(super) kind: Kind,
    /// Structure in full: equal names are equal values.
    pub(super) name: Arc<str>,
}

/// A leaf as a whole.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Whole {
    pub(super) leaf: Arc<Leaf>,
    /// Structure in full: equal names are equal leaves.
    pub(super) name: Arc<str>,
}

/// Which side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Side {
    Left,
    Right,
}

/// The type of a value, as far as its keys differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::rules) enum Kind {
    Bool,
    Int,
    Double,
    Time,
    Date,
    Money,
    Duration,
    Text,
    Set,
}

/// What was read of a subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::rules) enum Reading<'a> {
    Missing,
    Key(i64),
    Text(&'a str),
    /// A value outside of what keys can tell exactly.
    Odd,
}

impl Kind {
    fn of(kind: &AttributeType) -> Self {
        match kind {
            AttributeType::Bool => Kind::Bool,
            AttributeType::Int => Kind::Int,
            AttributeType::Double => Kind::Double,
            AttributeType::Text | AttributeType::Enum(_) => Kind::Text,
            AttributeType::Set => Kind::Set,
            AttributeType::Timestamp => Kind::Time,
            AttributeType::Date => Kind::Date,
            AttributeType::Money => Kind::Money,
        }
    }
}

/// The kinds of the attributes that these sites read, by slot.
pub(super) fn kinds(sites: &[Site], schema: &Schema) -> Box<[(AttrSlot, Kind)]> {
    let mut slots: Vec<AttrSlot> = sites.iter().flat_map(|site| site.reads.iter().copied()).collect();
    slots.sort_unstable();
    slots.dedup();
    let kind = |slot: AttrSlot| Some((slot, Kind::of(&schema.attributes.get(slot.index())?.kind)));
    slots.into_iter().filter_map(kind).collect()
}

/// A double's key: the order of keys is that of doubles, and both zeros are one.
pub(super) fn double_key(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// A value's key; `None` for what is missing or of another kind.
pub(super) fn key(kind: Kind, scalar: Scalar<'_>) -> Option<i64> {
    Some(match (kind, scalar) {
        (Kind::Bool, Scalar::Bool(v)) => i64::from(v),
        (Kind::Int, Scalar::Int(v))
        | (Kind::Time, Scalar::Time(v))
        | (Kind::Money, Scalar::Money(v))
        | (Kind::Duration, Scalar::Duration(v)) => v,
        (Kind::Date, Scalar::Date(v)) => i64::from(v),
        (Kind::Double, Scalar::Double(v)) if !v.is_nan() => double_key(v),
        _ => return None,
    })
}

/// The key of a member of a set that is not read: neither in it nor not in it.
pub(super) const MEMBER_UNKNOWN: i64 = 2;

impl Subject {
    /// Reads it.
    pub fn read<'a>(&self, facts: &Facts<'a>) -> Reading<'a> {
        let told = |key: Option<i64>| key.map_or(Reading::Missing, Reading::Key);
        match self {
            Subject::Now => Reading::Key(facts.now.0),
            Subject::Attribute(slot, kind) => told(key(*kind, facts.get(*slot).into())),
            Subject::Text(slot) => facts.text(*slot).map_or(Reading::Missing, Reading::Text),
            Subject::Present(slot) => Reading::Key(match facts.get(*slot) {
                ValueRef::Missing => 0,
                ValueRef::Set(set) => i64::from(!set.is_empty()),
                _ => 1,
            }),
            Subject::Member(slot, member) => Reading::Key(match facts.get(*slot) {
                ValueRef::Missing => MEMBER_UNKNOWN,
                ValueRef::Set(set) => i64::from(set.binary_search_by(|m| (**m).cmp(member)).is_ok()),
                _ => 0,
            }),
            Subject::Age(slot) => match facts.get(*slot) {
                ValueRef::Timestamp(at) if at.0.unsigned_abs().max(facts.now.0.unsigned_abs()) >= MOMENT_MAX => {
                    Reading::Odd
                }
                ValueRef::Timestamp(at) => Reading::Key(facts.now.0 - at.0),
                _ => Reading::Missing,
            },
            Subject::Computed(computed) => told(computed.read(facts)),
            Subject::Leaf(whole) => told(match whole.leaf.truth(facts) {
                Truth::True => Some(1),
                Truth::False => Some(0),
                Truth::Unknown => None,
            }),
        }
    }

    /// Forgets what only tells it from other subjects.
    pub fn without_name(mut self, empty: &Arc<str>) -> Self {
        if let Subject::Computed(Computed { name, .. }) | Subject::Leaf(Whole { name, .. }) = &mut self {
            *name = empty.clone();
        }
        self
    }

    /// What tells it from others of its sort; empty where slots do.
    pub(super) fn name(&self) -> &str {
        self.rank().2
    }

    fn rank(&self) -> (u8, AttrSlot, &str) {
        match self {
            Subject::Now => (0, AttrSlot(0), ""),
            Subject::Attribute(slot, _) => (1, *slot, ""),
            Subject::Text(slot) => (2, *slot, ""),
            Subject::Present(slot) => (3, *slot, ""),
            Subject::Member(slot, member) => (4, *slot, member),
            Subject::Age(slot) => (5, *slot, ""),
            Subject::Computed(computed) => (6, AttrSlot(0), &computed.name),
            Subject::Leaf(whole) => (7, AttrSlot(0), &whole.name),
        }
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Subject {}

impl PartialOrd for Subject {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Subject {
    fn cmp(&self, other: &Self) -> Ordering {
        let (this, that) = (self.rank(), other.rank());
        // names are long, and mostly shared
        let names = || if std::ptr::eq(this.2, that.2) { Ordering::Equal } else { this.2.cmp(that.2) };
        (this.0, this.1).cmp(&(that.0, that.1)).then_with(names)
    }
}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
    }
}

impl Whole {
    /// A leaf.
    pub(super) fn of(leaf: &Arc<Leaf>) -> Self {
        Self { leaf: leaf.clone(), name: format!("{leaf:?}").as_str().into() }
    }
}

impl Computed {
    /// One side of a leaf that compares.
    pub(super) fn of(leaf: &Arc<Leaf>, side: Side, kind: Kind) -> Option<Self> {
        let name = format!("{:?}", value_of(leaf, side)?).as_str().into();
        Some(Self { leaf: leaf.clone(), side, kind, name })
    }

    fn read(&self, facts: &Facts<'_>) -> Option<i64> {
        key(self.kind, value_of(&self.leaf, self.side)?.read(facts))
    }
}

pub(super) fn value_of(leaf: &Leaf, side: Side) -> Option<&Value> {
    match (leaf, side) {
        (Leaf::Compare(parts), Side::Left) => Some(&parts.0),
        (Leaf::Compare(parts), Side::Right) => Some(&parts.2),
        (Leaf::In(parts), Side::Left) => Some(&parts.0),
        _ => None,
    }
}

/// The kind of a value, where it is the same whatever is read.
pub(super) fn kind_of(value: &Value, kinds: &[(AttrSlot, Kind)]) -> Option<Kind> {
    Some(match value {
        Value::Constant(constant) => constant_kind(constant.scalar())?,
        Value::Attribute(slot) => kinds[kinds.binary_search_by_key(slot, |k| k.0).ok()?].1,
        Value::Now => Kind::Time,
        Value::Test(_) => Kind::Bool,
        Value::Negate(value) => kind_of(value, kinds)?,
        Value::Arithmetic(operator, sides) => {
            calculated(*operator, kind_of(&sides[0], kinds)?, kind_of(&sides[1], kinds)?)?
        }
        Value::Choice(parts) => {
            let (yes, no) = (kind_of(&parts.1, kinds)?, kind_of(&parts.2, kinds)?);
            (yes == no).then_some(yes)?
        }
        Value::Size(_) | Value::ToInt(_) | Value::Tally(_) | Value::Count(_) | Value::Moment(_) => Kind::Int,
        Value::ToDouble(..) => Kind::Double,
        _ => return None,
    })
}

fn constant_kind(scalar: Scalar<'_>) -> Option<Kind> {
    Some(match scalar {
        Scalar::Bool(_) => Kind::Bool,
        Scalar::Int(_) => Kind::Int,
        Scalar::Double(_) => Kind::Double,
        Scalar::Text(_) => Kind::Text,
        Scalar::Time(_) => Kind::Time,
        Scalar::Date(_) => Kind::Date,
        Scalar::Money(_) => Kind::Money,
        Scalar::Duration(_) => Kind::Duration,
        Scalar::Set(_) | Scalar::Unknown => return None,
    })
}

/// The kind of a calculation, as `scalar::calculate` makes it.
fn calculated(operator: Arithmetic, left: Kind, right: Kind) -> Option<Kind> {
    Some(match (left, right) {
        (Kind::Int, Kind::Int) => Kind::Int,
        (Kind::Double, Kind::Int | Kind::Double) | (Kind::Int, Kind::Double) => Kind::Double,
        (Kind::Money, Kind::Money) if operator == Arithmetic::Divide => Kind::Double,
        (Kind::Money, Kind::Money | Kind::Int | Kind::Double) | (Kind::Int | Kind::Double, Kind::Money) => Kind::Money,
        (Kind::Time, Kind::Time) => Kind::Duration,
        (Kind::Time, Kind::Duration) | (Kind::Duration, Kind::Time) => Kind::Time,
        (Kind::Duration, Kind::Duration) => Kind::Duration,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AttrId, Cell, Profile, Request, Timestamp, Value};

    #[test]
    fn moments_whose_difference_does_not_fit_are_odd() {
        let far = MOMENT_MAX as i64;
        let (schema, profile, cells) = (Schema::default(), Profile::default(), [Cell::Context(0)]);
        for (now, at, wanted) in [
            (far, -far, Reading::Odd),
            (-far, far, Reading::Odd),
            (far - 1, 1 - far, Reading::Key(i64::MAX - 1)),
            (i64::MIN, 0, Reading::Odd),
        ] {
            let mut request = Request::default();
            request.context.push((AttrId(0), Value::Timestamp(Timestamp(at))));
            let now = Timestamp(now);
            let facts = Facts {
                cells: &cells,
                derived: &[],
                schema: &schema,
                profile: &profile,
                request: &request,
                now,
                record: None,
            };
            assert_eq!(Subject::Age(AttrSlot(0)).read(&facts), wanted, "{now:?} {at}");
        }
    }
}
