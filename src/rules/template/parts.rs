//! The fast path: literal text and plain variables, rendered without an engine.

use std::{ops::Range, sync::Arc};

use minijinja::HtmlEscape;

use super::{
    Escape, OUTPUT_BYTES_MAX, RenderError, Scope, TemplateEnv, Variable, print, resolve,
    tags::{Piece, Tags},
};
use crate::domain::{AttrSlot, AttributeType, ValueRef};

/// A template of literal text and plain variables.
#[derive(Debug)]
pub(super) struct Parts {
    list: Box<[Part]>,
    escape: Escape,
    /// A guess of the rendered size, bytes.
    capacity: usize,
}

#[derive(Debug)]
enum Part {
    Literal(Box<str>),
    Variable { name: Arc<str>, variable: Variable, filter: Filter },
}

#[derive(Debug)]
enum Filter {
    None,
    Default(Box<str>),
    Money,
}

impl Parts {
    /// Lowers a template; `None` when it needs the engine.
    pub fn lower(text: &str, tags: &Tags<'_>, escape: Escape, env: &TemplateEnv<'_>) -> Option<Self> {
        // Like the engine, without the last line break of the text.
        let end = text.strip_suffix('\n').map_or(text.len(), |t| t.strip_suffix('\r').unwrap_or(t).len());
        let mut list = Vec::with_capacity(tags.pieces.len());
        for piece in &tags.pieces {
            match piece {
                Piece::Literal(span) => {
                    let literal = text.get(span.start..span.end.min(end)).unwrap_or("");
                    list.push(Part::Literal(literal.into()));
                }
                Piece::Print(span) => list.push(variable(text, span.clone(), env)?),
                Piece::Statement(_) | Piece::Other => return None,
            }
        }
        let capacity = text.len() + 16 * list.len();
        Some(Self { list: list.into(), escape, capacity })
    }

    /// The attributes it cannot do without.
    pub fn needs(&self) -> Vec<AttrSlot> {
        let slot = |part: &Part| match part {
            Part::Variable { variable: Variable::Attribute(slot), filter: Filter::None | Filter::Money, .. } => {
                Some(*slot)
            }
            Part::Variable { .. } | Part::Literal(_) => None,
        };
        self.list.iter().filter_map(slot).collect()
    }

    /// Renders.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        let mut out = String::with_capacity(self.capacity);
        for part in &self.list {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Variable { name, variable, filter } => self.push(&mut out, scope, (name, variable, filter))?,
            }
            if out.len() > OUTPUT_BYTES_MAX {
                return Err(RenderError::too_long());
            }
        }
        Ok(out)
    }

    fn push(
        &self,
        out: &mut String,
        scope: &Scope<'_>,
        (name, variable, filter): (&str, &Variable, &Filter),
    ) -> Result<(), RenderError> {
        let value = match variable {
            Variable::Attribute(slot) => scope.facts.get(*slot),
            Variable::Link(link) => {
                scope.links.iter().find(|l| l.0 == *link).map_or(ValueRef::Missing, |l| ValueRef::Text(&l.1))
            }
            Variable::OfferName => ValueRef::Text(scope.offer_name),
            Variable::Language => ValueRef::Text(scope.language),
        };
        match (value, filter) {
            (ValueRef::Missing, Filter::Default(text)) => self.push_text(out, text),
            (ValueRef::Missing, _) => return Err(RenderError::missing(name)),
            (value, Filter::Money) => {
                let minor = print::major(value, &scope.currency).and_then(|v| print::minor_units(v, &scope.currency));
                let Some(minor) = minor else {
                    return Err(RenderError { message: format!("`money` needs a number that fits, {name} does not") });
                };
                self.push_text(out, &print::money(minor, &scope.currency, scope.language));
            }
            (ValueRef::Text(text), _) => self.push_text(out, text),
            (ValueRef::Int(v), _) => out.push_str(&v.to_string()),
            (ValueRef::Bool(v), _) => out.push_str(if v { "true" } else { "false" }),
            (ValueRef::Date(v), _) => out.push_str(&print::iso_date(v)),
            (ValueRef::Timestamp(v), _) => out.push_str(&print::moment(v.0)),
            (ValueRef::Double(v), _) => out.push_str(&print::double(v)),
            (ValueRef::Money(v), _) => out.push_str(&print::double(scope.currency.major(v))),
            (ValueRef::Set(_), _) => return Err(RenderError { message: format!("{name} is a set") }),
        }
        Ok(())
    }

    fn push_text(&self, out: &mut String, text: &str) {
        match self.escape {
            Escape::None => out.push_str(text),
            Escape::Html => {
                use std::fmt::Write;
                // Writing to a string cannot fail.
                let _ = write!(out, "{}", HtmlEscape(text));
            }
        }
    }
}

/// `p.x`, `p.x | default('text')` or `p.x | money`.
fn variable(text: &str, span: Range<usize>, env: &TemplateEnv<'_>) -> Option<Part> {
    let inside = text.get(span)?;
    if inside.starts_with(['-', '+']) || inside.ends_with(['-', '+']) {
        return None;
    }
    let (name, filter) = match inside.split_once('|') {
        None => (inside.trim(), Filter::None),
        Some((name, filter)) => (name.trim(), plain_filter(filter.trim())?),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !name.chars().all(plain) || name.split('.').any(str::is_empty) || name.split('.').count() > 2 {
        return None;
    }
    let variable = resolve(name, env).ok()?;
    if let Variable::Attribute(slot) = &variable {
        let kind = &env.schema.attributes.get(slot.index())?.kind;
        let number = matches!(kind, AttributeType::Int | AttributeType::Double | AttributeType::Money);
        if *kind == AttributeType::Set || (matches!(filter, Filter::Money) && !number) {
            return None;
        }
    } else if matches!(filter, Filter::Money) {
        return None;
    }
    Some(Part::Variable { name: name.into(), variable, filter })
}

fn plain_filter(filter: &str) -> Option<Filter> {
    if filter == "money" {
        return Some(Filter::Money);
    }
    let argument = filter.strip_prefix("default")?.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    let quote = argument.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inside = argument.get(1..)?.strip_suffix(quote)?;
    (!inside.contains([quote, '\\'])).then(|| Filter::Default(inside.into()))
}
