//! Templates that need an engine: choices, loops, filters.

use std::{collections::BTreeMap, io, sync::Arc};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter, filters,
    tests,
};

use super::{Escape, FUEL_STEPS_MAX, OUTPUT_BYTES_MAX, RenderError, Scope, Variable, print};
use crate::domain::{AttrSlot, Currency, ValueRef};

/// The only template of its environment.
const NAME: &str = "template";

/// A template in its own environment, compiled once.
#[derive(Debug)]
pub(super) struct Engine {
    env: Environment<'static>,
    /// What it reads, in the order of the text.
    uses: Vec<(Arc<str>, Variable)>,
}

impl Engine {
    /// Compiles; an error is an offset and a message.
    pub fn compile(text: &str, escape: Escape, currency: Currency) -> Result<Self, (usize, String)> {
        let mut env = Environment::empty();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(FUEL_STEPS_MAX));
        env.set_debug(true);
        env.set_auto_escape_callback(move |_| match escape {
            Escape::None => AutoEscape::None,
            Escape::Html => AutoEscape::Html,
        });
        env.set_formatter(format_value);
        add_filters(&mut env, currency);
        env.add_test("defined", tests::is_defined);
        env.add_test("undefined", tests::is_undefined);
        env.add_template_owned(NAME, text.to_owned()).map_err(|e| syntax_error(text, &e))?;
        Ok(Self { env, uses: Vec::new() })
    }

    /// The names it looks up, each with its points: `p.country`.
    pub fn names(&self) -> Vec<String> {
        let template = self.env.get_template(NAME);
        let mut names: Vec<String> =
            template.map(|t| t.undeclared_variables(true).into_iter().collect()).unwrap_or_default();
        names.sort();
        names
    }

    /// With the variables that its names stand for.
    pub fn with_uses(self, uses: Vec<(Arc<str>, Variable)>) -> Self {
        Self { uses, ..self }
    }

    /// The attributes it cannot do without, as far as the text tells: one that is
    /// given a default or asked for somewhere counts as optional.
    pub fn needs(&self, text: &str) -> Vec<AttrSlot> {
        let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let optional = |name: &str| ["|default", "isdefined"].iter().any(|end| dense.contains(&format!("{name}{end}")));
        let slot = |(name, variable): &(Arc<str>, Variable)| match variable {
            Variable::Attribute(slot) if !optional(name) => Some(*slot),
            _ => None,
        };
        self.uses.iter().filter_map(slot).collect()
    }

    /// Renders.
    pub fn render(&self, text: &str, scope: &Scope<'_>) -> Result<String, RenderError> {
        let template =
            self.env.get_template(NAME).map_err(|_| RenderError { message: "the template is gone".into() })?;
        let mut out = Bounded { bytes: Vec::with_capacity(text.len() + 64), full: false };
        let rendered = template.render_captured_to(self.context(scope), &mut out).map(|_| ());
        match rendered {
            Ok(()) => String::from_utf8(out.bytes)
                .map_err(|_| RenderError { message: "the rendered text is not valid UTF-8".into() }),
            Err(_) if out.full => Err(RenderError::too_long()),
            Err(error) => Err(self.told(text, scope, &error)),
        }
    }

    fn context(&self, scope: &Scope<'_>) -> Value {
        let group = |root: &str| {
            let of_root = self.uses.iter().filter_map(|(name, variable)| {
                let field = name.strip_prefix(root)?.strip_prefix('.')?;
                Some((field.to_owned(), value_of(variable, scope)?))
            });
            Value::from(of_root.collect::<BTreeMap<String, Value>>())
        };
        Value::from(BTreeMap::from([
            ("p", group("p")),
            ("ctx", group("ctx")),
            ("r", group("r")),
            ("links", group("links")),
            ("offer", group("offer")),
            ("language", Value::from(scope.language)),
        ]))
    }

    fn told(&self, text: &str, scope: &Scope<'_>, error: &Error) -> RenderError {
        match error.kind() {
            ErrorKind::OutOfFuel => {
                RenderError { message: format!("the template takes more than {FUEL_STEPS_MAX} steps") }
            }
            ErrorKind::UndefinedError => {
                let near = error.range().map_or("", |range| tag_until(text, range.end));
                let mut missing =
                    self.uses.iter().filter(|(_, v)| value_of(v, scope).is_none()).map(|(name, _)| &**name);
                let named = missing.clone().filter_map(|name| Some((near.rfind(name)?, name.len(), name))).max();
                let name = named.map(|(_, _, name)| name).or_else(|| missing.next());
                name.map_or_else(|| RenderError { message: "a value is missing".into() }, RenderError::missing)
            }
            _ => {
                let line = error.line().unwrap_or(1);
                let detail = error.detail().unwrap_or("it cannot be rendered");
                RenderError { message: format!("line {line} of the template: {detail}") }
            }
        }
    }
}

/// The tag around an offset, up to it: filters tell only their own place.
fn tag_until(text: &str, end: usize) -> &str {
    let before = text.get(..end).unwrap_or("");
    let start = before.rfind("{{").max(before.rfind("{%")).unwrap_or(0);
    &before[start..]
}

fn syntax_error(text: &str, error: &Error) -> (usize, String) {
    let line = error.line().unwrap_or(1).saturating_sub(1);
    let line_start = text.split_inclusive('\n').take(line).map(str::len).sum();
    let at = error.range().map_or(line_start, |range| range.start).min(text.len());
    (at, format!("this is not a template: {}", error.detail().unwrap_or("the syntax is wrong")))
}

fn value_of(variable: &Variable, scope: &Scope<'_>) -> Option<Value> {
    let slot = match variable {
        Variable::Attribute(slot) => *slot,
        Variable::Link(link) => return scope.links.iter().find(|l| l.0 == *link).map(|l| Value::from(l.1.as_str())),
        Variable::OfferName => return Some(Value::from(scope.offer_name)),
        Variable::Language => return Some(Value::from(scope.language)),
    };
    Some(match scope.facts.get(slot) {
        ValueRef::Missing => return None,
        ValueRef::Bool(v) => Value::from(v),
        ValueRef::Int(v) => Value::from(v),
        ValueRef::Double(v) => Value::from(v),
        ValueRef::Text(v) => Value::from(v),
        ValueRef::Set(v) => Value::from_iter(v.iter().map(|member| Value::from(&**member))),
        ValueRef::Timestamp(v) => Value::from(print::moment(v.0)),
        ValueRef::Date(v) => Value::from(print::iso_date(v)),
        ValueRef::Money(v) => Value::from(scope.currency.major(v)),
    })
}

fn format_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if let Ok(truth) = bool::try_from(value.clone()) {
        return out.write_str(if truth { "true" } else { "false" }).map_err(Error::from);
    }
    if value.is_number() && !value.is_integer() {
        let number = f64::try_from(value.clone())?;
        return out.write_str(&print::double(number)).map_err(Error::from);
    }
    escape_formatter(out, state, value)
}

fn add_filters(env: &mut Environment<'static>, currency: Currency) {
    env.add_filter("default", filters::default);
    env.add_filter("upper", filters::upper);
    env.add_filter("lower", filters::lower);
    env.add_filter("capitalize", filters::capitalize);
    env.add_filter("title", filters::title);
    env.add_filter("trim", filters::trim);
    env.add_filter("length", filters::length);
    env.add_filter("join", filters::join);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("money", move |state: &State, value: &Value| {
        known(value)?;
        let major = if value.is_number() { f64::try_from(value.clone()).ok() } else { None };
        let minor = major.and_then(|major| print::minor_units(major, &currency));
        let minor = minor
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("`money` needs a number, not {value}")))?;
        Ok::<String, Error>(print::money(minor, &currency, &language(state)))
    });
    env.add_filter("date", |state: &State, value: &Value| {
        known(value)?;
        let date = value.as_str().and_then(print::parse_date);
        let date =
            date.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("`date` needs a date, not {value}")))?;
        Ok::<String, Error>(print::long_date(date, &language(state)))
    });
}

fn known(value: &Value) -> Result<(), Error> {
    if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(()) }
}

fn language(state: &State) -> String {
    state.lookup("language").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A buffer that refuses to grow beyond the limit of the output.
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_BYTES_MAX {
            self.full = true;
            return Err(io::Error::other("the output is full"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
