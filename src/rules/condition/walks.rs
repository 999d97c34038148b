//! Lists and sets whose elements are tested one after the other, and the names
//! of those elements.

use std::ops::Range;

use super::{
    check::Checker,
    moment::{Moment, accessor, zone},
    names,
    syntax::{Ask, Comparison, Kind, Syntax, Walk},
    tree::{Constant, Leaf, RecordField, Test, Value},
    types::{Members, Type, Typed, comparable},
};
use crate::{domain::AttributeSource, rules::compile_env::did_you_mean};

/// A name for the elements of a list or set.
#[derive(Debug)]
pub(super) struct Variable {
    name: String,
    element: Element,
}

#[derive(Debug)]
enum Element {
    /// A member of a set, read when the condition runs.
    Member,
    /// The key of a record, as the member of a set is read; of the list at the
    /// index in the schema.
    Record(u16),
    /// A literal of a list.
    Literal(Type, Constant),
}

/// An element of a list in the text.
pub(super) struct Item {
    pub typed: Typed,
    pub span: Range<usize>,
    pub shown: String,
}

impl Checker<'_, '_> {
    /// A bare name: an element, else unknown.
    pub(super) fn variable(&mut self, name: &str, syntax: &Syntax) -> Option<Typed> {
        let mut outward = 0;
        for variable in self.variables.iter().rev() {
            let named = variable.name == name;
            match &variable.element {
                Element::Literal(kind, constant) if named => {
                    return Some(Typed::new(*kind, Value::Constant(constant.clone())));
                }
                Element::Member | Element::Record(_) if named => {
                    self.shared.moving += 1;
                    return Some(Typed::new(Type::Text, Value::Element(outward)));
                }
                Element::Member | Element::Record(_) => outward += 1,
                Element::Literal(..) => {}
            }
        }
        let message = names::unknown_name(name, self.shared.env.schema);
        self.fail(syntax.span.clone(), message)
    }

    /// Whether a name stands for an element here.
    pub(super) fn is_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.name == name)
    }

    /// Whether a part is the name of a record being walked.
    pub(super) fn names_record(&self, syntax: &Syntax) -> bool {
        let Kind::Name(name) = &syntax.kind else { return false };
        let innermost = self.variables.iter().rev().find(|variable| variable.name == *name);
        innermost.is_some_and(|variable| matches!(variable.element, Element::Record(_)))
    }

    /// A field of the record being walked: `c.state`.
    pub(super) fn record_field(&mut self, target: &Syntax, name: &str, syntax: &Syntax) -> Option<Typed> {
        let Kind::Name(variable) = &target.kind else { return None };
        let mut outward = 0;
        let mut list = None;
        for known in self.variables.iter().rev() {
            match known.element {
                Element::Record(index) if known.name == *variable => {
                    list = Some(index);
                    break;
                }
                Element::Record(_) | Element::Member => outward += 1,
                Element::Literal(..) => {}
            }
        }
        let index = list?;
        let def = self.shared.env.schema.records.get(usize::from(index))?;
        let Some(at) = def.fields.iter().position(|field| &*field.name == name) else {
            let hint = did_you_mean(name, def.fields.iter().map(|field| &*field.name));
            let message = format!("a record of `{}` has no field `{name}`{hint}", def.name);
            let lost = self.shared.env.lost.attributes;
            return self.unknown(syntax.span.clone(), message, lost);
        };
        self.shared.moving += 1;
        let field = RecordField { outward, list: def.id, field: def.fields[at].id };
        let kind = Type::with(&def.fields[at].kind, Members::Field(index, at as u16));
        Some(Typed::new(kind, Value::Field(field)))
    }

    /// What the members of a set are: the keys of records, or texts.
    fn element_of(&self, range: &Value) -> Element {
        let schema = self.shared.env.schema;
        let Value::Set(slot) = range else { return Element::Member };
        let Some(AttributeSource::Records(id)) = schema.attributes.get(slot.index()).map(|def| &def.source) else {
            return Element::Member;
        };
        let list = schema.records.iter().position(|list| list.id == *id);
        list.map_or(Element::Member, |list| Element::Record(list as u16))
    }

    fn name_is_free(&mut self, walk: &Walk) -> Option<()> {
        let name = &walk.variable;
        let taken = match name.as_str() {
            "p" | "ctx" | "seg" | "macro" | "now" => "already has a meaning",
            name if self.is_variable(name) => "already names an element of the list around it",
            _ => return Some(()),
        };
        self.fail(walk.variable_span.clone(), format!("`{name}` {taken}, take another name"))
    }

    fn test_with(&mut self, walk: &Walk, element: Element) -> Option<Test> {
        self.variables.push(Variable { name: walk.variable.clone(), element });
        let test = self.test(&walk.test);
        self.variables.pop();
        test
    }

    /// The test of a walk for every element of the list it walks.
    pub(super) fn test_of_each(&mut self, walk: &Walk, items: Vec<Item>) -> Option<Box<[Test]>> {
        self.name_is_free(walk)?;
        if items.is_empty() {
            return self.fail(walk.range.span.clone(), "the list is empty");
        }
        self.one_type(&items)?;
        let mut tests = Vec::with_capacity(items.len());
        for Item { typed, span, .. } in items {
            let Value::Constant(constant) = typed.value else {
                return self.fail(span, format!("a list under `{}` holds literals only", walk.ask.name()));
            };
            tests.push(self.test_with(walk, Element::Literal(typed.kind, constant))?);
        }
        Some(tests.into())
    }

    fn one_type(&mut self, items: &[Item]) -> Option<()> {
        let first = items.first()?;
        for item in items {
            let (kind, wanted) = (item.typed.kind, first.typed.kind);
            if !comparable(wanted, kind, Comparison::Equal) {
                let message = format!(
                    "a list holds values of one type, `{}` is {} and `{}` is {}",
                    first.shown,
                    wanted.name(),
                    item.shown,
                    kind.name()
                );
                return self.fail(item.span.clone(), message);
            }
        }
        Some(())
    }

    /// The set a walk goes over, and the test of its members.
    fn test_of_members(&mut self, walk: &Walk) -> Option<(Value, Test)> {
        let range = self.value(&walk.range);
        self.name_is_free(walk)?;
        let range = range?;
        if range.kind != Type::Set {
            let (name, shown, kind) = (walk.ask.name(), self.shown(&walk.range), range.kind.name());
            return self
                .fail(walk.range.span.clone(), format!("`{name}` walks over a list or a set, `{shown}` is {kind}"));
        }
        let element = self.element_of(&range.value);
        let test = self.test_with(walk, element)?;
        Some((range.value, test))
    }

    /// A walk as a part without logic.
    pub(super) fn walk(&mut self, walk: &Walk) -> Option<Leaf> {
        let one = |count| Leaf::Compare(Box::new((count, Comparison::Equal, Value::Constant(Constant::Int(1)))));
        if let Some(items) = self.items(&walk.range) {
            let tests = self.test_of_each(walk, items?)?;
            return Some(match walk.ask {
                Ask::Exists => Leaf::Value(Box::new(Value::Test(Box::new(Test::Any(tests))))),
                Ask::All => Leaf::Value(Box::new(Value::Test(Box::new(Test::All(tests))))),
                Ask::ExistsOne | Ask::Filter => one(Value::Tally(tests)),
            });
        }
        let (set, test) = self.test_of_members(walk)?;
        Some(match (walk.ask, set, test) {
            (Ask::Exists, Value::Set(slot), Test::Leaf(leaf, site)) => match is_text(&leaf) {
                Some(value) => Leaf::SetHas { slot, value },
                None => Leaf::Exists(Box::new((Value::Set(slot), Test::Leaf(leaf, site)))),
            },
            (Ask::Exists, set, test) => Leaf::Exists(Box::new((set, test))),
            (Ask::All, set, test) => Leaf::Every(Box::new((set, test))),
            (Ask::ExistsOne | Ask::Filter, set, test) => one(Value::Count(Box::new((set, test)))),
        })
    }

    /// The size of a list in the text or of what a filter keeps; `None` when
    /// the value is neither.
    pub(super) fn size_of_many(&mut self, syntax: &Syntax) -> Option<Option<Typed>> {
        if let Kind::Walk(walk) = &syntax.kind
            && walk.ask == Ask::Filter
        {
            let count = match self.items(&walk.range) {
                Some(items) => items.and_then(|items| self.test_of_each(walk, items)).map(Value::Tally),
                None => self.test_of_members(walk).map(|parts| Value::Count(Box::new(parts))),
            };
            return Some(count.map(|count| Typed::new(Type::Int, count)));
        }
        let items = self.items(syntax)?;
        Some(items.and_then(|items| {
            if !items.is_empty() {
                self.one_type(&items)?;
            }
            let known = items.iter().all(|item| matches!(item.typed.value, Value::Constant(_)));
            if !known {
                return self.fail(syntax.span.clone(), "the size is asked of a list of literals or of a set");
            }
            Some(Typed::new(Type::Int, Value::Constant(Constant::Int(items.len() as i64))))
        }))
    }

    /// The elements of a list in the text, or of a macro that is one; `None`
    /// when it is no list.
    pub(super) fn items(&mut self, syntax: &Syntax) -> Option<Option<Vec<Item>>> {
        match &syntax.kind {
            Kind::List(parts) => {
                let items: Vec<Option<Item>> = parts.iter().map(|part| self.item(part)).collect();
                Some(items.into_iter().collect())
            }
            Kind::Field(target, name) if target.is_name("macro") => self.macro_items(name, syntax),
            _ => None,
        }
    }

    fn item(&mut self, syntax: &Syntax) -> Option<Item> {
        let typed = self.value(syntax)?;
        Some(Item { typed, span: syntax.span.clone(), shown: self.shown(syntax).to_owned() })
    }

    /// A part of a moment, date or duration: `now.getHours('Europe/London')`.
    pub(super) fn moment(&mut self, name: &str, target: &Syntax, args: &[Syntax]) -> Option<Typed> {
        let subject = self.value(target)?;
        let part = accessor(name)?;
        if !part.stands_on(subject.kind) {
            let message = format!("`{}` ({}) has no `{name}`", self.shown(target), subject.kind.name());
            return self.fail(target.span.clone(), message);
        }
        let zone = match args {
            [] => jiff::tz::TimeZone::UTC,
            [arg] if subject.kind == Type::Time => match &arg.kind {
                Kind::Text(text) => match zone(text) {
                    Some(zone) => zone,
                    None => {
                        let message = format!("`{text}` is not a time zone, write it as `Europe/London` or `+02:00`");
                        return self.fail(arg.span.clone(), message);
                    }
                },
                _ => return self.fail(arg.span.clone(), format!("`{name}` takes a literal time zone")),
            },
            [arg] => {
                return self
                    .fail(arg.span.clone(), format!("`{name}` of a {} takes no time zone", subject.kind.name()));
            }
            [_, second, ..] => return self.fail(second.span.clone(), format!("`{name}` takes at most one time zone")),
        };
        Some(Typed::new(Type::Int, Value::Moment(Box::new((subject.value, Moment { part, zone })))))
    }
}

/// The text that a member must equal, when that is the whole test.
fn is_text(leaf: &Leaf) -> Option<Box<str>> {
    let Leaf::Compare(parts) = leaf else { return None };
    match &**parts {
        (Value::Element(0), Comparison::Equal, Value::Constant(Constant::Text(text)))
        | (Value::Constant(Constant::Text(text)), Comparison::Equal, Value::Element(0)) => Some(text.clone()),
        _ => None,
    }
}
