//! The type check: syntax in, compiled tree out.

use std::{cell::OnceCell, collections::BTreeSet, ops::Range, sync::Arc};

use super::{
    literals,
    moment::accessor,
    names::{self, RECORD},
    parsed::{self, ParsedText},
    scan::Mistake,
    syntax::{Ask, Kind, Operator, Syntax},
    tree::{Constant, Leaf, SiteIndex, Test, Value},
    types::{self, Type, Typed, mismatch},
    walks::Variable,
};
use crate::{
    domain::AttrSlot,
    rules::{CompileEnv, Origin, Position, RuleError, compile_env::Places},
};

/// The most parts of a condition, once its segments are put in.
pub(super) const PARTS_MAX: usize = 4_096;
/// The deepest nesting, once its segments are put in.
pub(super) const NESTED_DEPTH_MAX: usize = 128;

/// A part that explanations can name.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub text: Box<str>,
    pub position: Position,
    /// The attributes it reads.
    pub reads: Box<[AttrSlot]>,
    /// Whether it reads the time, or a member of a set.
    pub reads_now: bool,
}

/// What is shared by a condition and the segments put into it.
pub(super) struct Shared<'a> {
    pub env: &'a CompileEnv<'a>,
    pub sites: Vec<Site>,
    pub errors: Vec<RuleError>,
    /// Every attribute read.
    pub reads: BTreeSet<AttrSlot>,
    /// How often the time or a member of a set was read.
    pub moving: usize,
    /// Segments and macros being put in, outermost first, each with the place that names it.
    pub open: Vec<(Arc<str>, RuleError)>,
    parts: usize,
    /// Whether something was met that may be declared where nothing could be read.
    pub held_back: bool,
    /// Levels of the texts being checked, added up.
    pub depth: usize,
}

impl<'a> Shared<'a> {
    pub fn new(env: &'a CompileEnv<'a>) -> Self {
        let (reads, moving) = (BTreeSet::new(), 0);
        let (parts, depth, held_back) = (0, 0, false);
        Self { env, sites: Vec::new(), errors: Vec::new(), reads, moving, open: Vec::new(), parts, held_back, depth }
    }
}

/// Checks one text; mistakes go to the shared list and leave `None` behind.
pub(super) struct Checker<'c, 'a> {
    pub text: &'c str,
    pub origin: &'c Origin,
    pub shared: &'c mut Shared<'a>,
    pub reads: BTreeSet<AttrSlot>,
    /// Names of elements, outermost first.
    pub(super) variables: Vec<Variable>,
    /// Worked out for the first part that is placed.
    places: OnceCell<Places<'c>>,
}

impl<'c, 'a> Checker<'c, 'a> {
    pub fn new(text: &'c str, origin: &'c Origin, shared: &'c mut Shared<'a>) -> Self {
        Self { text, origin, shared, reads: BTreeSet::new(), variables: Vec::new(), places: OnceCell::new() }
    }

    /// Parses and checks the whole text as a condition.
    pub fn condition(mut self) -> Option<Test> {
        let parsed = self.parse()?;
        let syntax = parsed.syntax();
        self.test(syntax)
    }

    /// Parses and checks the whole text as a number or money.
    pub fn number(mut self) -> Option<Value> {
        let parsed = self.parse()?;
        let syntax = parsed.syntax();
        let typed = self.value(syntax)?;
        if !typed.kind.is_number() && typed.kind != Type::Money {
            let message = format!("a number or money is needed here, this is {}", typed.kind.name());
            return self.fail(syntax.span.clone(), message);
        }
        Some(typed.value)
    }

    /// Parses and checks the whole text as a value of any type.
    pub fn any(mut self) -> Option<Typed> {
        let parsed = self.parse()?;
        let syntax = parsed.syntax();
        let typed = self.value(syntax)?;
        // A flag by itself is a condition, with a place to be told at.
        if typed.kind == Type::Bool && !matches!(typed.value, Value::Test(_)) {
            let test = self.test(syntax)?;
            return Some(Typed::new(Type::Bool, Value::Test(Box::new(test))));
        }
        Some(typed)
    }

    /// Parses and checks the whole text as a value of any type or a list.
    pub fn anything(mut self) -> Option<()> {
        let parsed = self.parse()?;
        let syntax = parsed.syntax();
        match self.items(syntax) {
            Some(items) => items.map(|_| ()),
            None => self.value(syntax).map(|_| ()),
        }
    }

    pub(super) fn parse(&mut self) -> Option<ParsedText> {
        let parsed = match self.shared.env.parsed {
            Some(known) => known.parse(self.text),
            None => parsed::parse(self.text),
        };
        let parsed = parsed.map_err(|mistake| self.mistake(mistake)).ok()?;
        self.shared.depth += parsed.depth();
        if self.shared.depth > NESTED_DEPTH_MAX {
            let message =
                format!("the condition is nested deeper than {NESTED_DEPTH_MAX} levels once its segments are put in");
            return self.overflow(parsed.syntax(), message);
        }
        Some(parsed)
    }

    /// Tells of a limit that is broken once segments are put in, where the
    /// outermost text puts in too much: each segment by itself may be fine.
    fn overflow<T>(&mut self, syntax: &Syntax, message: String) -> Option<T> {
        let Some((label, place)) = self.shared.open.first() else { return self.fail(syntax.span.clone(), message) };
        let message = format!("{message}, here with `{label}`");
        let error = RuleError { message, ..place.clone() };
        if !self.shared.errors.contains(&error) {
            self.shared.errors.push(error);
        }
        None
    }

    pub(super) fn mistake(&mut self, mistake: Mistake) {
        let error = self.origin.error(self.text, mistake.span, mistake.message);
        if !self.shared.errors.contains(&error) {
            self.shared.errors.push(error);
        }
    }

    pub(super) fn fail<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.mistake(Mistake::new(span, message));
        None
    }

    /// An unknown name, held back when a declaration of its kind was lost.
    pub(super) fn unknown<T>(&mut self, span: Range<usize>, message: String, lost: bool) -> Option<T> {
        if lost {
            self.shared.held_back = true;
            return None;
        }
        self.fail(span, message)
    }

    pub(super) fn shown(&self, syntax: &Syntax) -> &'c str {
        self.text.get(syntax.span.clone()).unwrap_or("")
    }

    fn count(&mut self, syntax: &Syntax) -> Option<()> {
        self.shared.parts += 1;
        if self.shared.parts == PARTS_MAX + 1 {
            let message = format!("the condition has more than {PARTS_MAX} parts once its segments are put in");
            return self.overflow(syntax, message);
        }
        (self.shared.parts <= PARTS_MAX).then_some(())
    }

    fn site(&mut self, syntax: &Syntax, reads: BTreeSet<AttrSlot>, reads_now: bool) -> SiteIndex {
        let position = self.places.get_or_init(|| self.origin.places(self.text)).at(syntax.span.start);
        let site = Site { text: self.shown(syntax).into(), position, reads: reads.into_iter().collect(), reads_now };
        self.shared.sites.push(site);
        (self.shared.sites.len() - 1) as SiteIndex
    }

    // Conditions.

    pub(super) fn test(&mut self, syntax: &Syntax) -> Option<Test> {
        self.count(syntax)?;
        match &syntax.kind {
            Kind::All(parts) => Some(Test::All(self.tests(parts)?)),
            Kind::Any(parts) => Some(Test::Any(self.tests(parts)?)),
            Kind::Not(part) => {
                let (before, moving) = (std::mem::take(&mut self.reads), self.shared.moving);
                let test = self.test(part);
                let reads = self.reads.clone();
                self.reads.extend(before);
                let site = self.site(syntax, reads, self.shared.moving > moving);
                Some(Test::Not(Box::new(test?), site))
            }
            Kind::Choice(parts) => {
                let (condition, yes, no) = (self.test(&parts[0]), self.test(&parts[1]), self.test(&parts[2]));
                Some(Test::Choice(Box::new([condition?, yes?, no?])))
            }
            Kind::Field(target, name) if target.is_name("seg") => self.segment(name, syntax),
            _ => {
                let (before, moving) = (std::mem::take(&mut self.reads), self.shared.moving);
                let leaf = self.leaf(syntax);
                let reads = self.reads.clone();
                self.reads.extend(before);
                match leaf? {
                    // Logic that was put in keeps its own parts.
                    Leaf::Value(value) if matches!(*value, Value::Test(_)) => match *value {
                        Value::Test(test) => Some(*test),
                        _ => None,
                    },
                    leaf => {
                        let site = self.site(syntax, reads, self.shared.moving > moving);
                        Some(Test::Leaf(Arc::new(leaf), site))
                    }
                }
            }
        }
    }

    fn tests(&mut self, parts: &[Syntax]) -> Option<Box<[Test]>> {
        let tests: Vec<Option<Test>> = parts.iter().map(|part| self.test(part)).collect();
        tests.into_iter().collect()
    }

    // Values.

    pub(super) fn value(&mut self, syntax: &Syntax) -> Option<Typed> {
        self.count(syntax)?;
        let constant = |kind, constant| Some(Typed::new(kind, Value::Constant(constant)));
        match &syntax.kind {
            Kind::Bool(v) => constant(Type::Bool, Constant::Bool(*v)),
            Kind::Int(v) => constant(Type::Int, Constant::Int(*v)),
            Kind::Double(v) => constant(Type::Double, Constant::Double(*v)),
            Kind::Text(v) => constant(Type::Text, Constant::Text(v.as_str().into())),
            Kind::Name(name) if name == "now" => {
                self.shared.moving += 1;
                Some(Typed::new(Type::Time, Value::Now))
            }
            Kind::Name(name) => self.variable(name, syntax),
            Kind::Field(target, name) if target.is_name("macro") => self.macro_value(name, syntax),
            Kind::Field(target, name) if self.names_record(target) => self.record_field(target, name, syntax),
            Kind::Field(target, name) if !target.is_name("seg") => {
                let (slot, kind) = self.attribute(target, name, syntax)?;
                let value = if kind == Type::Set { Value::Set(slot) } else { Value::Attribute(slot) };
                Some(Typed::new(kind, value))
            }
            Kind::Negate(inner) => self.negation(inner, syntax),
            Kind::Binary(Operator::Arithmetic(operator), sides) => {
                let (left, right) = (self.value(&sides[0]), self.value(&sides[1]));
                let (left, right) = (left?, right?);
                let Some(kind) = types::result(*operator, left.kind, right.kind) else {
                    let verb = format!("combine by `{}`", types::sign(*operator));
                    let mistake = mismatch(self.text, &verb, sides, (left.kind, right.kind));
                    self.mistake(mistake);
                    return None;
                };
                Some(Typed::new(kind, Value::Arithmetic(*operator, Box::new([left.value, right.value]))))
            }
            Kind::Choice(parts) => self.choice(parts),
            Kind::Call { name, target: Some(target), args } if accessor(name).is_some() => {
                self.moment(name, target, args)
            }
            Kind::Call { name, target, args } if target.is_none() || name == "size" => {
                self.call(name, target.as_deref(), args, syntax)
            }
            Kind::Walk(walk) if walk.ask == Ask::Filter => self.fail(
                syntax.span.clone(),
                "`filter` stands only in `size(...)`, use `exists` or `all` with `&&` to ask about what it keeps",
            ),
            Kind::List(_) => self.fail(
                syntax.span.clone(),
                "a list stands only to the right of `in` or before `.exists(...)` and its like",
            ),
            _ => Some(Typed::new(Type::Bool, Value::Test(Box::new(self.test(syntax)?)))),
        }
    }

    fn negation(&mut self, inner: &Syntax, syntax: &Syntax) -> Option<Typed> {
        let typed = self.value(inner)?;
        if !typed.kind.is_number() && !matches!(typed.kind, Type::Money | Type::Duration) {
            let message = format!("`-` needs a number, `{}` is {}", self.shown(inner), typed.kind.name());
            return self.fail(syntax.span.clone(), message);
        }
        Some(Typed::new(typed.kind, Value::Negate(Box::new(typed.value))))
    }

    fn choice(&mut self, parts: &[Syntax; 3]) -> Option<Typed> {
        let (condition, yes, no) = (self.test(&parts[0]), self.value(&parts[1]), self.value(&parts[2]));
        let (condition, yes, no) = (condition?, yes?, no?);
        let kind = match (yes.kind, no.kind) {
            (a, b) if a == b => a,
            (a, b) if a.is_number() && b.is_number() => Type::Double,
            (a, b) if a.is_text() && b.is_text() => Type::Text,
            (a, b) => {
                let message = format!("both sides of a choice need one type, these are {} and {}", a.name(), b.name());
                return self.fail(parts[1].span.start..parts[2].span.end, message);
            }
        };
        if kind == Type::Set {
            return self.fail(parts[1].span.clone(), "a choice between sets is not supported");
        }
        Some(Typed::new(kind, Value::Choice(Box::new((condition, yes.value, no.value)))))
    }

    fn call(&mut self, name: &str, target: Option<&Syntax>, args: &[Syntax], syntax: &Syntax) -> Option<Typed> {
        let arg = match (target, args) {
            (Some(target), []) => target,
            (None, [arg]) => arg,
            _ => return self.fail(syntax.span.clone(), format!("`{name}` takes one value")),
        };
        if name == "size"
            && let Some(size) = self.size_of_many(arg)
        {
            return size;
        }
        let typed = self.value(arg)?;
        if let Some(parse) = literals::parser(name) {
            return match (&arg.kind, &typed.value) {
                (Kind::Text(text), _) => match parse(text, self.shared.env.currency) {
                    Ok((kind, constant)) => Some(Typed::new(kind, Value::Constant(constant))),
                    // The amounts of a currency depend on the settings.
                    Err(message) => {
                        self.unknown(arg.span.clone(), message, name == "money" && self.shared.env.lost.settings)
                    }
                },
                _ => self
                    .fail(arg.span.clone(), format!("`{name}` takes a literal in quotes, {}", literals::example(name))),
            };
        }
        let scale = self.shared.env.currency.scale() as f64;
        match (name, typed.kind) {
            ("double", k) if k.is_number() || k == Type::Money => {
                Some(Typed::new(Type::Double, Value::ToDouble(Box::new(typed.value), scale)))
            }
            ("int", k) if k.is_number() => Some(Typed::new(Type::Int, Value::ToInt(Box::new(typed.value)))),
            ("int", Type::Money) => self.fail(syntax.span.clone(), "money has no whole number, use `double(...)`"),
            ("size", k) if k.is_text() || k == Type::Set => {
                Some(Typed::new(Type::Int, Value::Size(Box::new(typed.value))))
            }
            _ => {
                let message = format!("`{name}` does not take `{}` ({})", self.shown(arg), typed.kind.name());
                self.fail(arg.span.clone(), message)
            }
        }
    }

    /// Why a name stands behind something that is no `p` or `ctx`.
    fn no_fields(&self, target: &Syntax, name: &str) -> String {
        let shown = self.shown(target);
        let env = self.shared.env;
        if let Kind::Field(root, field) = &target.kind
            && let Kind::Name(root) = &root.kind
            && !self.is_variable(root)
            && !matches!(root.as_str(), "seg" | "macro")
            && !env.schema.by_name.contains_key(shown)
        {
            let hint = match field.as_str() {
                "p" | "ctx" | "seg" | "macro" => format!("; did you mean `{field}.{name}`?"),
                _ => String::new(),
            };
            return format!("unknown name `{shown}.{name}`{hint}");
        }
        format!("`{shown}` has no fields")
    }

    pub(super) fn attribute(&mut self, target: &Syntax, name: &str, syntax: &Syntax) -> Option<(AttrSlot, Type)> {
        let schema = self.shared.env.schema;
        let root = match &target.kind {
            Kind::Name(root) if !self.is_variable(root) => root,
            _ => {
                let message = self.no_fields(target, name);
                return self.fail(syntax.span.clone(), message);
            }
        };
        let slot = match self.shared.env.each.filter(|_| root == RECORD) {
            Some(list) => schema.record_slot(list, name),
            None => schema.by_name.get(format!("{root}.{name}").as_str()).copied(),
        };
        let Some(def) = slot.and_then(|slot| schema.attributes.get(slot.index())) else {
            let message = names::unknown_attribute(root, name, self.shared.env);
            let lost = self.shared.env.lost.attributes && matches!(root.as_str(), "p" | "ctx" | "e" | RECORD);
            return self.unknown(syntax.span.clone(), message, lost);
        };
        self.reads.insert(def.slot);
        self.shared.reads.insert(def.slot);
        Some((def.slot, Type::of(&def.kind, def.slot)))
    }
}
