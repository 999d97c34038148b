//! Messages about names that are not known.

use std::sync::Arc;

use crate::{
    domain::{AttrSlot, AttributeType, Schema},
    rules::{CompileEnv, RuleError, compile_env::did_you_mean},
};

/// A bare name that is no variable.
pub(super) fn unknown_name(name: &str, schema: &Schema) -> String {
    if matches!(name, "p" | "ctx" | "seg") {
        return format!("`{name}` alone has no value, write `{name}.` and a name");
    }
    let full = ["p", "ctx"].map(|root| format!("{root}.{name}"));
    if let Some(full) = full.iter().find(|full| schema.by_name.contains_key(full.as_str())) {
        return format!("unknown name `{name}`, did you mean `{full}`?");
    }
    format!("unknown name `{name}`, attributes are `p.NAME` and `ctx.NAME`, text stands in quotes")
}

/// A field that is no attribute.
pub(super) fn unknown_attribute(root: &str, name: &str, env: &CompileEnv<'_>) -> String {
    let full = format!("{root}.{name}");
    if !matches!(root, "p" | "ctx" | "seg") {
        let hint = did_you_mean(&full, env.schema.by_name.keys().map(|k| &**k));
        return format!("unknown name `{full}`, attributes are `p.NAME` and `ctx.NAME`{hint}");
    }
    let other = if root == "p" { "ctx" } else { "p" };
    let elsewhere = format!("{other}.{name}");
    if env.schema.by_name.contains_key(elsewhere.as_str()) {
        return format!("unknown attribute `{full}`, did you mean `{elsewhere}`?");
    }
    format!("unknown attribute `{full}`{}", did_you_mean(&full, env.schema.by_name.keys().map(|k| &**k)))
}

/// A segment that is not declared.
pub(super) fn unknown_segment(name: &str, env: &CompileEnv<'_>) -> String {
    format!("unknown segment `{name}`{}", did_you_mean(name, env.segments.keys().map(|k| &**k)))
}

/// Why a text cannot be a value of the enum at the slot; `None` when it can.
pub(super) fn not_a_member(schema: &Schema, slot: AttrSlot, text: &str) -> Option<String> {
    let def = schema.attributes.get(slot.index())?;
    let AttributeType::Enum(members) = &def.kind else { return None };
    if members.iter().any(|m| &**m == text) {
        return None;
    }
    let hint = did_you_mean(text, members.iter().map(|m| &**m));
    let known = if hint.is_empty() {
        let list: Vec<String> = members.iter().take(8).map(|m| format!("`{m}`")).collect();
        format!(", it holds {}", list.join(", "))
    } else {
        hint
    };
    Some(format!("`{text}` is not a value of `{}`{known}", def.full_name))
}

/// A segment that contains itself. Told from its alphabetically first member,
/// so that every condition that meets the cycle tells the same.
pub(super) fn cycle(open: &[(Arc<str>, RuleError)]) -> RuleError {
    let ring = &open[..open.len().saturating_sub(1)];
    let first = (0..ring.len()).min_by_key(|i| &ring[*i].0).unwrap_or(0);
    let mut walk: Vec<&str> = (0..ring.len()).map(|i| &*ring[(first + i) % ring.len()].0).collect();
    walk.extend(walk.first().copied());
    let message = format!("segment `{}` contains itself: {}", walk.first().unwrap_or(&""), walk.join(" -> "));
    // The place in the first member's own text that names the next one.
    let place = open.get(first + 1).map(|(_, error)| error.clone());
    let place = place.unwrap_or_else(|| RuleError {
        position: Default::default(),
        message: String::new(),
        snippet: String::new(),
    });
    RuleError { message, ..place }
}

/// The last line of a pattern's error: what is wrong.
pub(super) fn pattern_error(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large".into(),
        error => {
            let text = error.to_string();
            let line = text.lines().last().unwrap_or("").trim();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}
