//! JSON objects checked against the attribute schema.

use crate::{
    domain::{AttrId, AttributeDef, AttributeSource, Currency, Schema, Value},
    grpc::structs::{Kind, Struct},
};

use super::{
    Reading, reachable,
    suggest::{did_you_mean, quoted},
    value,
};

/// Most fields of a context, of overrides and of an upsert.
pub const FIELDS_MAX: usize = 128;

/// Facts of the moment, sorted by attribute id. Null counts as not given.
pub fn context(reading: &mut Reading<'_>, fields: Option<Struct>) -> Vec<(AttrId, Value)> {
    let known = |schema: &Schema, name: &str| schema.context_by_name(name).map(|def| def.slot);
    let read = attributes(reading, "context", fields, &known);
    read.into_iter().filter_map(|(id, value)| Some((id, value?))).collect()
}

/// Values to assume in a preview, sorted by attribute id.
pub fn overrides(reading: &mut Reading<'_>, fields: Option<Struct>) -> Vec<(AttrId, Value)> {
    let known = |schema: &Schema, name: &str| {
        let bare = name.strip_prefix("p.").unwrap_or(name);
        schema.stored_by_name(bare).map(|def| def.slot).or_else(|| {
            let mut full = String::with_capacity(bare.len() + 2);
            full.push_str("p.");
            full.push_str(bare);
            schema.by_name.get(full.as_str()).copied()
        })
    };
    let read = attributes(reading, "attribute_overrides", fields, &known);
    read.into_iter().filter_map(|(id, value)| Some((id, value?))).collect()
}

/// Stored attributes to set, sorted by attribute id; null removes.
pub fn stored(reading: &mut Reading<'_>, fields: Option<Struct>) -> Vec<(AttrId, Option<Value>)> {
    let known = |schema: &Schema, name: &str| schema.stored_by_name(name).map(|def| def.slot);
    let read = attributes(reading, "attributes", fields, &known);
    let ruleset = reading.ruleset;
    for (id, value) in &read {
        let def = ruleset.schema.attributes.iter().find(|def| def.id == *id && def.source == AttributeSource::Stored);
        let (Some(def), Some(value)) = (def, value) else { continue };
        if let Err(why) = reachable::check(ruleset, def, value) {
            reading.wrong(format!("attributes.{}", def.name), why);
        }
    }
    read
}

type Known<'a> = &'a dyn Fn(&Schema, &str) -> Option<crate::domain::AttrSlot>;

fn attributes(
    reading: &mut Reading<'_>,
    at: &str,
    fields: Option<Struct>,
    known: Known<'_>,
) -> Vec<(AttrId, Option<Value>)> {
    let Some(fields) = fields.map(|f| f.fields) else { return Vec::new() };
    if !reading.fits(at, fields.len(), FIELDS_MAX) {
        return Vec::new();
    }
    let ruleset = reading.ruleset;
    let mut read = Vec::with_capacity(fields.len());
    for (name, json) in fields {
        let slot = known(&ruleset.schema, &name);
        let Some(def) = slot.and_then(|slot| ruleset.schema.attributes.get(slot.index())) else {
            unknown(reading, at, &name);
            continue;
        };
        if !reading.may_give(at, def) {
            continue;
        }
        match json.kind {
            None | Some(Kind::NullValue(_)) => read.push((def.id, None)),
            Some(kind) => match value_of(at, def, &ruleset.currency, kind) {
                Ok(value) => read.push((def.id, Some(value))),
                Err(why) => reading.wrong(format!("{at}.{name}"), why),
            },
        }
    }
    read.sort_unstable_by_key(|(id, _)| *id);
    if read.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        reading.wrong(at, "names an attribute twice");
    }
    read
}

/// A value of a field; what is stored may come from a file, where all is text.
fn value_of(at: &str, def: &AttributeDef, currency: &Currency, kind: Kind) -> Result<Value, String> {
    match at {
        "attributes" => value::stored((&def.kind, def.range), currency, kind),
        _ => value::read(def, currency, kind),
    }
}

fn unknown(reading: &mut Reading<'_>, at: &str, name: &str) {
    // a browser hears no names but those it may give
    let page = reading.of_browser();
    let fits = |def: &&AttributeDef| match (at, &def.source) {
        _ if page && !def.client => false,
        ("context", source) => matches!(source, AttributeSource::Context),
        ("attributes", source) => matches!(source, AttributeSource::Stored),
        (_, source) => !matches!(source, AttributeSource::Context),
    };
    let hint = did_you_mean(name, reading.ruleset.schema.attributes.iter().filter(fits).map(|def| &*def.name));
    let what = match at {
        "context" => "a context attribute",
        "attributes" => "a stored attribute",
        _ => "a stored attribute or trait",
    };
    let shown = quoted(name);
    let field = shown.trim_matches('`');
    reading.wrong(format!("{at}.{field}"), format!("{shown} is not {what} of the rules{hint}"));
}
