//! The data of events: bounded, and of the types that the rules declare.

use crate::{
    domain::{self, AttrId, schema::EventDef},
    grpc::structs::{Kind, Struct, Value},
    rules::events::{self, Given},
};

use super::{Reading, page};

/// Most bytes of an event's data as JSON.
pub const DATA_BYTES_MAX: usize = 8 << 10;
/// Deepest nesting of an event's data.
pub const DATA_DEPTH_MAX: usize = 16;

/// The declared fields of an event, of their types.
pub fn declared(r: &mut Reading<'_>, event: &EventDef, given: &Struct) -> Vec<(AttrId, domain::Value)> {
    if given.fields.is_empty() && event.fields.is_empty() {
        return Vec::new();
    }
    let each = given.fields.iter().map(|(name, value)| (name.as_str(), given_of(value)));
    match events::check(event, each, r.ruleset.currency) {
        Ok(fields) => fields,
        Err(violations) => {
            for violation in violations {
                r.wrong(format!("customer.data.{}", cut(&violation.field)), violation.why);
            }
            Vec::new()
        }
    }
}

/// Notes on fields that are kept unchecked, and are near to a declared one.
pub fn notes(event: &EventDef, given: &Struct) -> Vec<String> {
    events::likely_typos(event, given.fields.keys().map(|name| cut(name)))
}

/// A value as the rules read it.
fn given_of(value: &Value) -> Given<'_> {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Given::Nothing,
        Some(Kind::BoolValue(truth)) => Given::Bool(*truth),
        Some(Kind::NumberValue(number)) => Given::Number(*number),
        Some(Kind::StringValue(text)) => Given::Text(text),
        // INVARIANT: one level is enough, no declared type has more
        Some(Kind::ListValue(list)) => Given::List(list.values.iter().map(member_of).collect()),
        Some(Kind::StructValue(_)) => Given::Object,
    }
}

fn member_of(value: &Value) -> Given<'_> {
    match &value.kind {
        Some(Kind::ListValue(_)) => Given::List(Vec::new()),
        _ => given_of(value),
    }
}

/// A name that the caller gave, as far as it is told.
fn cut(name: &str) -> &str {
    const BYTES_MAX: usize = 64;
    &name[..name.floor_char_boundary(BYTES_MAX)]
}

/// The data of an event as JSON; empty for none.
pub fn data(r: &mut Reading<'_>, wire: &Struct) -> Box<str> {
    const FIELD: &str = "customer.data";
    if wire.fields.is_empty() {
        return Box::default();
    }
    if too_deep(wire, DATA_DEPTH_MAX) {
        r.wrong(FIELD, format!("is nested too deep: at most {DATA_DEPTH_MAX} levels"));
        return Box::default();
    }
    let bytes_max = r.bound(DATA_BYTES_MAX, page::DATA_BYTES_MAX);
    match serde_json::to_string(wire) {
        Ok(json) if json.len() > bytes_max => {
            r.wrong(FIELD, format!("is {} bytes long as JSON: at most {bytes_max}", json.len()));
            Box::default()
        }
        Ok(json) => json.into_boxed_str(),
        Err(_) => {
            r.wrong(FIELD, "has a number that is not finite");
            Box::default()
        }
    }
}

/// Whether an object is nested deeper than so many levels. The decoders bound
/// the depth already, so that this recursion is bounded.
fn too_deep(object: &Struct, levels: usize) -> bool {
    levels == 0 || object.fields.values().any(|value| value_too_deep(value, levels))
}

fn value_too_deep(value: &Value, levels: usize) -> bool {
    match &value.kind {
        Some(Kind::StructValue(object)) => too_deep(object, levels - 1),
        Some(Kind::ListValue(list)) => levels == 1 || list.values.iter().any(|v| value_too_deep(v, levels - 1)),
        _ => false,
    }
}
