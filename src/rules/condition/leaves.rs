//! The leaves of conditions: comparisons, membership, tests on text.

use std::ops::Range;

use super::{
    check::Checker,
    moment::accessor,
    names,
    scalar::Scalar,
    syntax::{Ask, Comparison, Kind, Operator, Syntax},
    tree::{Constant, Leaf, Matcher, Value},
    types::{Type, Typed, comparable, mismatch},
};

/// The largest compiled pattern of `matches`, bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// What walks over lists and sets.
const WALKS: [&str; 4] = ["exists", "all", "exists_one", "filter"];

impl Checker<'_, '_> {
    /// Checks a part without logic inside.
    pub(super) fn leaf(&mut self, syntax: &Syntax) -> Option<Leaf> {
        match &syntax.kind {
            Kind::Binary(Operator::Compare(comparison), sides) => self.comparison(*comparison, sides),
            Kind::Binary(Operator::In, sides) => self.membership(sides),
            Kind::Has(target, name) if self.names_record(target) => {
                let field = self.record_field(target, name, syntax)?;
                Some(Leaf::Value(Box::new(Value::Known(Box::new(field.value)))))
            }
            Kind::Has(target, name) => {
                let (slot, _) = self.attribute(target, name, syntax)?;
                Some(Leaf::Has(slot))
            }
            Kind::Walk(walk) if walk.ask != Ask::Filter => self.walk(walk),
            Kind::Call { name, target: Some(_), .. } if WALKS.contains(&name.as_str()) => {
                let message = format!("`{name}` takes a name and a condition, as in `p.tags.{name}(t, t == 'x')`");
                self.fail(syntax.span.clone(), message)
            }
            Kind::Call { name, target: Some(target), args } if name != "size" && accessor(name).is_none() => {
                self.text_test(name, target, args, syntax)
            }
            _ => {
                let typed = self.value(syntax)?;
                match (typed.kind, typed.value) {
                    (Type::Bool, Value::Attribute(slot)) => Some(Leaf::Flag(slot)),
                    (Type::Bool, Value::Constant(Constant::Bool(value))) => Some(Leaf::Constant(value)),
                    (Type::Bool, value) => Some(Leaf::Value(Box::new(value))),
                    (kind, _) => {
                        let message =
                            format!("a condition is needed here, `{}` is {}", self.shown(syntax), kind.name());
                        self.fail(syntax.span.clone(), message)
                    }
                }
            }
        }
    }

    fn comparison(&mut self, comparison: Comparison, sides: &[Syntax; 2]) -> Option<Leaf> {
        let (left, right) = (self.value(&sides[0]), self.value(&sides[1]));
        let (left, right) = (left?, right?);
        if !comparable(left.kind, right.kind, comparison) {
            let mistake = mismatch(self.text, "compare", sides, (left.kind, right.kind));
            self.mistake(mistake);
            return None;
        }
        self.members(&left, &right, sides[1].span.clone())?;
        self.members(&right, &left, sides[0].span.clone())?;
        Some(specialised(left, comparison, right))
    }

    /// A literal beside an enum must be one of its members.
    fn members(&mut self, side: &Typed, literal: &Typed, span: Range<usize>) -> Option<()> {
        if let (Type::Enum(of), Value::Constant(Constant::Text(text))) = (side.kind, &literal.value)
            && let Some(message) = names::not_a_member(self.shared.env.schema, of, text)
        {
            return self.fail(span, message);
        }
        Some(())
    }

    fn membership(&mut self, sides: &[Syntax; 2]) -> Option<Leaf> {
        let left = self.value(&sides[0]);
        let Some(items) = self.items(&sides[1]) else { return self.in_set(left, sides) };
        let (left, items) = (left?, items?);
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            if !comparable(left.kind, item.typed.kind, Comparison::Equal) {
                let message = format!(
                    "`{}` is {}, but the list is asked for `{}` ({})",
                    item.shown,
                    item.typed.kind.name(),
                    self.shown(&sides[0]),
                    left.kind.name()
                );
                return self.fail(item.span, message);
            }
            self.members(&left, &item.typed, item.span)?;
            values.push(item.typed.value);
        }
        Some(one_of(left, values))
    }

    fn in_set(&mut self, left: Option<Typed>, sides: &[Syntax; 2]) -> Option<Leaf> {
        let right = self.value(&sides[1])?;
        let left = left?;
        if right.kind != Type::Set {
            let message = format!("`in` needs a list or a set, `{}` is {}", self.shown(&sides[1]), right.kind.name());
            return self.fail(sides[1].span.clone(), message);
        }
        if !left.kind.is_text() {
            let message = format!("sets hold strings, `{}` is {}", self.shown(&sides[0]), left.kind.name());
            return self.fail(sides[0].span.clone(), message);
        }
        Some(match (left.value, right.value) {
            (Value::Constant(Constant::Text(value)), Value::Set(slot)) => Leaf::SetHas { slot, value },
            (left, right) => Leaf::InSet(Box::new((left, right))),
        })
    }

    fn text_test(&mut self, name: &str, target: &Syntax, args: &[Syntax], syntax: &Syntax) -> Option<Leaf> {
        let subject = self.value(target)?;
        if !subject.kind.is_text() {
            let message = format!("`{name}` asks about strings, `{}` is {}", self.shown(target), subject.kind.name());
            return self.fail(target.span.clone(), message);
        }
        let [arg] = args else { return self.fail(syntax.span.clone(), format!("`{name}` takes one string")) };
        let typed = self.value(arg)?;
        if !typed.kind.is_text() {
            let message = format!("`{name}` takes a string, `{}` is {}", self.shown(arg), typed.kind.name());
            return self.fail(arg.span.clone(), message);
        }
        let matcher = match (name, typed.value) {
            ("startsWith", value) => Matcher::StartsWith(value),
            ("endsWith", value) => Matcher::EndsWith(value),
            ("contains", value) => Matcher::Contains(value),
            ("matches", Value::Constant(Constant::Text(pattern))) => {
                match regex::RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).build() {
                    Ok(pattern) => Matcher::Pattern(pattern),
                    Err(error) => {
                        let message =
                            format!("`{}` is not a pattern: {}", self.shown(arg), names::pattern_error(&error));
                        return self.fail(arg.span.clone(), message);
                    }
                }
            }
            ("matches", _) => return self.fail(arg.span.clone(), "`matches` takes a literal pattern"),
            _ => return self.fail(syntax.span.clone(), format!("unknown function `{name}`")),
        };
        Some(Leaf::Match(Box::new((subject.value, matcher))))
    }
}

/// The comparison of an attribute with a literal as one step.
fn specialised(left: Typed, comparison: Comparison, right: Typed) -> Leaf {
    let (slot, comparison, kind, constant) = match (left, right) {
        (Typed { value: Value::Attribute(slot), kind }, Typed { value: Value::Constant(c), .. }) => {
            (slot, comparison, kind, c)
        }
        (Typed { value: Value::Constant(c), .. }, Typed { value: Value::Attribute(slot), kind }) => {
            (slot, comparison.swapped(), kind, c)
        }
        (left, right) => return Leaf::Compare(Box::new((left.value, comparison, right.value))),
    };
    let equal = comparison == Comparison::Equal;
    match (kind, constant) {
        (Type::Int, Constant::Int(value)) => Leaf::CompareInt { slot, comparison, value },
        (Type::Money, Constant::Money(value)) => Leaf::CompareMoney { slot, comparison, value },
        (Type::Double, Constant::Double(value)) => Leaf::CompareDouble { slot, comparison, value },
        (k, Constant::Text(value)) if k.is_text() && (equal || comparison == Comparison::NotEqual) => {
            Leaf::TextIs { slot, value, equal }
        }
        (_, constant) => Leaf::Compare(Box::new((Value::Attribute(slot), comparison, Value::Constant(constant)))),
    }
}

fn one_of(left: Typed, values: Vec<Value>) -> Leaf {
    let constant = |value: &Value| if let Value::Constant(constant) = value { Some(constant.clone()) } else { None };
    let Some(values) = values.iter().map(constant).collect::<Option<Vec<Constant>>>() else {
        return Leaf::InValues(Box::new((left.value, values.into())));
    };
    if let Value::Attribute(slot) = left.value
        && left.kind.is_text()
    {
        let texts = values.iter().filter_map(|v| match v.scalar() {
            Scalar::Text(text) => Some(text.into()),
            _ => None,
        });
        return Leaf::OneOf { slot, values: texts.collect() };
    }
    Leaf::In(Box::new((left.value, values.into())))
}
