//! Messages about names that are not known.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{AttrId, AttributeType, Schema},
    rules::{CompileEnv, RuleError, SegmentSource, compile_env::did_you_mean},
};

use super::types::Members;

/// What stands before the point of a field of the record at hand.
pub(super) const RECORD: &str = "r";

/// Whether what is read is an event: filters of traits.
fn reads_event(schema: &Schema) -> bool {
    schema.by_name.contains_key("e.amount")
}

/// A bare name that is no variable.
pub(super) fn unknown_name(name: &str, schema: &Schema) -> String {
    if reads_event(schema) {
        let hint = did_you_mean(&format!("e.{name}"), schema.by_name.keys().map(|known| &**known));
        return format!("unknown name `{name}`, fields of the event are `e.NAME`, text stands in quotes{hint}");
    }
    if matches!(name, "p" | "ctx" | "seg" | "macro" | RECORD) {
        return format!("`{name}` alone has no value, write `{name}.` and a name");
    }
    let full = ["p", "ctx"].map(|root| format!("{root}.{name}"));
    if let Some(full) = full.iter().find(|full| schema.by_name.contains_key(full.as_str())) {
        return format!("unknown name `{name}`; did you mean `{full}`?");
    }
    format!("unknown name `{name}`, attributes are `p.NAME` and `ctx.NAME`, text stands in quotes")
}

/// A field that is no attribute.
pub(super) fn unknown_attribute(root: &str, name: &str, env: &CompileEnv<'_>) -> String {
    let full = format!("{root}.{name}");
    let hint = || did_you_mean(&full, env.schema.by_name.keys().map(|k| &**k));
    if reads_event(env.schema) {
        let hint = hint();
        return match root {
            "e" => format!("the event has no field `{name}`{hint}"),
            _ => format!("unknown name `{full}`: a filter reads the event alone, as `e.NAME`{hint}"),
        };
    }
    if root == RECORD {
        return unknown_field(name, env.schema, env.each);
    }
    let hint = || env.parsed.map_or_else(hint, |kept| kept.hint(&full, hint));
    if !matches!(root, "p" | "ctx") {
        let hint = hint();
        return format!("unknown name `{full}`, attributes are `p.NAME` and `ctx.NAME`{hint}");
    }
    let other = if root == "p" { "ctx" } else { "p" };
    let elsewhere = format!("{other}.{name}");
    if env.schema.by_name.contains_key(elsewhere.as_str()) {
        return format!("unknown attribute `{full}`; did you mean `{elsewhere}`?");
    }
    let alike = env.schema.by_name.keys().find(|known| known.eq_ignore_ascii_case(&full));
    if let Some(known) = alike {
        return format!("unknown attribute `{full}`; did you mean `{known}`?");
    }
    format!("unknown attribute `{full}`{}", hint())
}

/// A field of the record at hand that there is not, or where there is no record.
pub(in crate::rules) fn unknown_field(name: &str, schema: &Schema, each: Option<AttrId>) -> String {
    let Some(list) = each else {
        return format!("`r.{name}` reads a record, and only the texts of an offer with `for_each` have one");
    };
    let list_name = schema.records.iter().find(|known| known.id == list).map_or("", |known| &*known.name);
    let hint = did_you_mean(name, schema.of_record(list).map(|def| &*def.name));
    format!("a record of `{list_name}` has no field `{name}`{hint}")
}

/// What a named text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Segment,
    Macro,
}

impl Named {
    /// What stands before the point.
    pub fn root(self) -> &'static str {
        match self {
            Named::Segment => "seg",
            Named::Macro => "macro",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Named::Segment => "segment",
            Named::Macro => "macro",
        }
    }

    /// The texts by name.
    pub fn texts<'a>(self, env: &CompileEnv<'a>) -> &'a HashMap<Arc<str>, SegmentSource> {
        match self {
            Named::Segment => env.segments,
            Named::Macro => env.macros,
        }
    }

    /// A name that is not declared.
    pub fn unknown(self, name: &str, env: &CompileEnv<'_>) -> String {
        let hint = did_you_mean(name, self.texts(env).keys().map(|known| &**known));
        format!("unknown {} `{name}`{hint}", self.noun())
    }
}

/// Why a text cannot be a value of the enum; `None` when it can.
pub(super) fn not_a_member(schema: &Schema, of: Members, text: &str) -> Option<String> {
    let (kind, name) = match of {
        Members::Attribute(slot) => {
            let def = schema.attributes.get(slot.index())?;
            (&def.kind, def.full_name.to_string())
        }
        Members::Field(list, field) => {
            let list = schema.records.get(usize::from(list))?;
            let field = list.fields.get(usize::from(field))?;
            (&field.kind, format!("{}.{}", list.name, field.name))
        }
    };
    let AttributeType::Enum(members) = kind else { return None };
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
    Some(format!("`{text}` is not a value of `{name}`{known}"))
}

/// A segment or macro that contains itself. Told from its alphabetically first
/// member, so that every condition that meets the cycle tells the same.
pub(super) fn cycle(open: &[(Arc<str>, RuleError)]) -> RuleError {
    let ring = &open[..open.len().saturating_sub(1)];
    let first = (0..ring.len()).min_by_key(|i| &ring[*i].0).unwrap_or(0);
    let mut walk: Vec<&str> = (0..ring.len()).map(|i| &*ring[(first + i) % ring.len()].0).collect();
    walk.extend(walk.first().copied());
    let bare = |label: &'static str| walk.iter().all(|name| name.starts_with(label));
    let start = walk.first().copied().unwrap_or_default();
    let (root, name) = start.split_once('.').unwrap_or(("seg", start));
    // Names of one kind need no root.
    let chain = if bare("seg.") || bare("macro.") {
        let names: Vec<&str> = walk.iter().map(|label| label.split_once('.').map_or(*label, |parts| parts.1)).collect();
        names.join(" -> ")
    } else {
        walk.join(" -> ")
    };
    let noun = if root == "macro" { Named::Macro.noun() } else { Named::Segment.noun() };
    let message = format!("{noun} `{name}` contains itself: {chain}");
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
