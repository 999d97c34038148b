//! Content templates.
//!
//! Text with plain `{{ p.x }}`, `{{ links.x }}`, `{{ offer.name }}` is lowered
//! to `parts` and rendered without an engine; everything else runs in the
//! `engine`, bounded in fuel and in size. Both print through [`print`], so
//! that they agree to the byte. `tags` finds tags, names and places.

mod engine;
mod parts;
mod print;
mod tags;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::domain::{AttrSlot, Currency, Facts};

use super::{Escape, Origin, RuleError, TemplateEnv, compile_env::did_you_mean, condition::unknown_field};
use engine::Engine;
use parts::Parts;
use tags::Tags;

/// The longest template, bytes.
pub const TEMPLATE_BYTES_MAX: usize = 32 * 1024;
/// The longest rendered text, bytes.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// The most steps of one rendering.
pub const FUEL_STEPS_MAX: u64 = 20_000;

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its text.
    pub text: Arc<str>,
    body: Arc<Body>,
}

#[derive(Debug)]
enum Body {
    Parts(Parts),
    Engine(Box<Engine>),
}

/// What a template may read beside the facts.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The values of the decision: `p.*`, `ctx.*`.
    pub facts: &'a Facts<'a>,
    /// `offer.name`.
    pub offer_name: &'a str,
    /// `links.NAME`: traceable links.
    pub links: &'a [(Arc<str>, String)],
    /// For money values.
    pub currency: Currency,
    /// Lower-case BCP 47; decides number and date formats.
    pub language: &'a str,
}

/// Why a template could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// In words, for the trace: `attribute p.first_name is missing`.
    pub message: String,
}

impl RenderError {
    fn missing(name: &str) -> Self {
        let noun = if name.starts_with("links.") { "link" } else { "attribute" };
        Self { message: format!("{noun} {name} is missing") }
    }

    fn too_long() -> Self {
        Self { message: format!("the rendered text is longer than {OUTPUT_BYTES_MAX} bytes") }
    }
}

/// A variable that a template reads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Variable {
    Attribute(AttrSlot),
    Link(Arc<str>),
    OfferName,
    Language,
}

impl Template {
    /// Checks the syntax and that every variable is declared.
    ///
    /// # Errors
    /// Every mistake found, with its position.
    pub fn compile(text: &str, origin: &Origin, escape: Escape, env: &TemplateEnv<'_>) -> Result<Self, Vec<RuleError>> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let message = format!("the template has {} bytes, at most {TEMPLATE_BYTES_MAX} are allowed", text.len());
            return Err(vec![origin.error(text, 0..0, message)]);
        }
        let tags = Tags::scan(text).map_err(|m| vec![origin.error(text, m.0, m.1)])?;
        let mistakes = tags.mistakes();
        if !mistakes.is_empty() {
            return Err(mistakes.into_iter().map(|m| origin.error(text, m.0, m.1)).collect());
        }
        // What needs no engine is not compiled for one: most templates are plain.
        if let Some(parts) = Parts::lower(text, &tags, escape, env) {
            return Ok(Self { text: text.into(), body: Arc::new(Body::Parts(parts)) });
        }
        let engine = Engine::compile(text, escape, env.currency)
            .map_err(|(at, message)| vec![origin.error(text, at..at, message)])?;
        let uses = Self::declared(text, origin, env, &tags, &engine)?;
        let body = Body::Engine(Box::new(engine.with_uses(uses)));
        Ok(Self { text: text.into(), body: Arc::new(body) })
    }

    /// Resolves every variable the engine would look up.
    fn declared(
        text: &str,
        origin: &Origin,
        env: &TemplateEnv<'_>,
        tags: &Tags<'_>,
        engine: &Engine,
    ) -> Result<Vec<(Arc<str>, Variable)>, Vec<RuleError>> {
        let mut uses: Vec<(usize, Arc<str>, Variable)> = Vec::new();
        let mut errors = Vec::new();
        for name in engine.names() {
            let name = name.split('.').take(2).collect::<Vec<_>>().join(".");
            let span = tags.place_of(&name);
            match resolve(&name, env) {
                // What was lost may declare it.
                Err(_) if env.lost.attributes && ["p.", "ctx.", "r."].iter().any(|root| name.starts_with(root)) => {}
                Ok(variable) => uses.push((span.start, name.as_str().into(), variable)),
                Err(message) => errors.push((span, message)),
            }
        }
        errors.sort_by_key(|(span, _)| span.start);
        errors.dedup();
        uses.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        uses.dedup();
        if errors.is_empty() {
            return Ok(uses.into_iter().map(|(_, name, variable)| (name, variable)).collect());
        }
        Err(errors.into_iter().map(|(span, message)| origin.error(text, span, message)).collect())
    }

    /// The attributes whose absence makes rendering fail: those read without a
    /// default.
    pub fn needs(&self) -> Vec<AttrSlot> {
        match &*self.body {
            Body::Parts(parts) => parts.needs(),
            Body::Engine(engine) => engine.needs(&self.text),
        }
    }

    /// Renders. Bounded in fuel and in size.
    ///
    /// # Errors
    /// A missing value, too much work, too large a result.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        match &*self.body {
            Body::Parts(parts) => parts.render(scope),
            Body::Engine(engine) => engine.render(&self.text, scope),
        }
    }
}

/// The variable of a name such as `p.country`, or why there is none.
fn resolve(name: &str, env: &TemplateEnv<'_>) -> Result<Variable, String> {
    match name.split_once('.') {
        None if name == "language" => Ok(Variable::Language),
        None if matches!(name, "p" | "ctx" | "r" | "links" | "offer") => {
            Err(format!("`{name}` alone cannot be used, write `{name}.` and a name"))
        }
        None => {
            let full = format!("p.{name}");
            let hint = match env.schema.by_name.contains_key(full.as_str()) {
                true => format!("; did you mean `{full}`?"),
                false => did_you_mean(name, ["language", "offer.name"].into_iter()),
            };
            Err(format!("unknown name `{name}`{hint}"))
        }
        Some(("offer", "name")) => Ok(Variable::OfferName),
        Some(("offer", _)) => Err(format!("unknown name `{name}`; did you mean `offer.name`?")),
        Some(("links", link)) => match env.links.iter().find(|l| &***l == link) {
            Some(link) => Ok(Variable::Link(link.clone())),
            None => Err(format!("unknown link `{name}`{}", did_you_mean(link, env.links.iter().map(|l| &**l)))),
        },
        Some(("r", field)) => match env.each.and_then(|list| env.schema.record_slot(list, field)) {
            Some(slot) => Ok(Variable::Attribute(slot)),
            None => Err(unknown_field(field, env.schema, env.each)),
        },
        Some(("p" | "ctx", _)) => match env.schema.by_name.get(name) {
            Some(slot) => Ok(Variable::Attribute(*slot)),
            None => {
                let hint = did_you_mean(name, env.schema.by_name.keys().map(|k| &**k));
                Err(format!("unknown attribute `{name}`{hint}"))
            }
        },
        Some(_) => {
            Err(format!("unknown name `{name}`, templates read `p.`, `ctx.`, `links.`, `offer.name`, `language`"))
        }
    }
}
