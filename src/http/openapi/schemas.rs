//! JSON Schemas of messages: the canonical JSON of protobuf as this service
//! reads and writes it.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::field_descriptor_proto::{Label, Type};
use serde_json::{Map, Value as Json, json};

use super::descriptors::{Descriptors, EnumType, Field, MessageType};

const TIMESTAMP: &str = ".google.protobuf.Timestamp";
const STRUCT: &str = ".google.protobuf.Struct";
/// The canonical form of a moment.
const MOMENT: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.([0-9]{3}|[0-9]{6}|[0-9]{9}))?Z$";

/// Which way a message goes: what is read is wider than what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In a request: names in either case, numbers also as text, enums also as
    /// numbers; a field that is not known is refused.
    Read,
    /// In an answer: every field but unset messages and alternatives.
    Written,
}

/// The schemas of all messages that are referred to.
pub struct Schemas<'d> {
    descriptors: &'d Descriptors,
    /// Types that go both ways: what is read has a name of its own.
    both: BTreeSet<String>,
    made: BTreeMap<String, Json>,
}

impl<'d> Schemas<'d> {
    /// For messages that are read and messages that are written, by full name.
    pub fn new(descriptors: &'d Descriptors, read: &BTreeSet<&str>, written: &BTreeSet<&str>) -> Self {
        let within = |roots: &BTreeSet<&str>| {
            let mut found = BTreeSet::new();
            roots.iter().for_each(|root| reach(descriptors, root, &mut found));
            found
        };
        let both = within(read).intersection(&within(written)).cloned().collect();
        Self { descriptors, both, made: BTreeMap::new() }
    }

    /// A reference to a message's schema, which is made when it is not there.
    pub fn message(&mut self, full: &str, side: Side) -> Json {
        let Some(message) = self.descriptors.message(full) else { return json!({}) };
        let name = self.name(full, &message.name, side);
        if !self.made.contains_key(&name) {
            // There before its fields are: a message may hold itself.
            self.made.insert(name.clone(), Json::Null);
            let schema = self.object(message, side);
            self.made.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// The schemas made, by name.
    pub fn finish(self) -> BTreeMap<String, Json> {
        self.made
    }

    /// The schema of a field's values, without its comment.
    pub fn field(&mut self, field: &Field, side: Side) -> Json {
        let descriptor = &field.descriptor;
        let repeated = descriptor.label() == Label::Repeated;
        if let Some(entry) = self.descriptors.message(descriptor.type_name()).filter(|message| message.is_map_entry) {
            let value = entry.fields.iter().find(|field| field.descriptor.name() == "value");
            let values = value.map_or_else(|| json!({}), |value| self.one(value, side));
            return json!({"type": "object", "additionalProperties": values});
        }
        let one = self.one(field, side);
        if repeated {
            return json!({"type": "array", "items": one});
        }
        let may_be_null = descriptor.r#type() == Type::Message || descriptor.oneof_index.is_some();
        if may_be_null && side == Side::Read { json!({"anyOf": [one, {"type": "null"}]}) } else { one }
    }

    fn name(&self, full: &str, name: &str, side: Side) -> String {
        match side {
            Side::Read if self.both.contains(full) => format!("{name}Input"),
            _ => name.to_owned(),
        }
    }

    fn object(&mut self, message: &MessageType, side: Side) -> Json {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in &message.fields {
            let name = field.descriptor.json_name().to_owned();
            let schema = self.field(field, side);
            if side == Side::Read && field.descriptor.name() != name {
                let same = described(schema.clone(), &format!("The same as `{name}`."));
                properties.insert(field.descriptor.name().to_owned(), same);
            }
            if side == Side::Written && is_always_written(field) {
                required.push(name.clone());
            }
            properties.insert(name, described(schema, &field.comment));
        }
        let mut schema = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("description".to_owned(), json!(message.comment)),
            ("properties".to_owned(), Json::Object(properties)),
        ]);
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if side == Side::Read {
            schema.insert("additionalProperties".to_owned(), json!(false));
        }
        let apart = alternatives(message, side);
        if !apart.is_empty() {
            schema.insert("allOf".to_owned(), Json::Array(apart));
        }
        Json::Object(schema)
    }

    /// One value of a field.
    fn one(&mut self, field: &Field, side: Side) -> Json {
        let written = side == Side::Written;
        let integer = if written { json!("integer") } else { json!(["integer", "string"]) };
        let long = |format: &str, pattern: &str| match side {
            Side::Written => json!({"type": "string", "format": format, "pattern": pattern}),
            Side::Read => json!({"type": ["integer", "string"], "format": format, "pattern": pattern}),
        };
        match field.descriptor.r#type() {
            Type::Double | Type::Float if written => json!({"type": "number", "format": "double"}),
            Type::Double | Type::Float => json!({"type": ["number", "string"], "format": "double"}),
            Type::Int32 | Type::Sint32 | Type::Sfixed32 => json!({"type": integer, "format": "int32"}),
            // no format of the registry is an unsigned integer of 32 bits
            Type::Uint32 | Type::Fixed32 => json!({"type": integer, "minimum": 0, "maximum": u32::MAX}),
            Type::Int64 | Type::Sint64 | Type::Sfixed64 => long("int64", "^-?[0-9]+$"),
            Type::Uint64 | Type::Fixed64 => long("uint64", "^[0-9]+$"),
            Type::Bool => json!({"type": "boolean"}),
            Type::String => json!({"type": "string"}),
            Type::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Type::Enum => self.enumeration(field.descriptor.type_name(), side),
            Type::Message | Type::Group => match field.descriptor.type_name() {
                TIMESTAMP if written => json!({"type": "string", "format": "date-time", "pattern": MOMENT}),
                TIMESTAMP => json!({"type": "string", "format": "date-time"}),
                STRUCT => json!({"type": "object", "additionalProperties": true}),
                other => self.message(other, side),
            },
        }
    }

    fn enumeration(&mut self, full: &str, side: Side) -> Json {
        let Some(found) = self.descriptors.enumeration(full) else { return json!({}) };
        let name = self.name(full, &found.name, side);
        self.made.entry(name.clone()).or_insert_with(|| choices(found, side));
        reference(&name)
    }
}

/// The full names of all messages and enums within one.
fn reach(descriptors: &Descriptors, full: &str, found: &mut BTreeSet<String>) {
    if !found.insert(full.to_owned()) {
        return;
    }
    let Some(message) = descriptors.message(full) else { return };
    for field in message.fields.iter().filter(|field| !field.descriptor.type_name().is_empty()) {
        reach(descriptors, field.descriptor.type_name(), found);
    }
}

/// A reference to a schema of the document.
fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A schema with the comment of what it is used for.
fn described(mut schema: Json, comment: &str) -> Json {
    if let (Json::Object(fields), false) = (&mut schema, comment.is_empty()) {
        fields.insert("description".to_owned(), json!(comment));
    }
    schema
}

/// Whether an answer has the field whatever its value.
fn is_always_written(field: &Field) -> bool {
    let descriptor = &field.descriptor;
    let is_message = descriptor.r#type() == Type::Message;
    descriptor.label() == Label::Repeated || !is_message && descriptor.oneof_index.is_none()
}

/// Of the fields of a `oneof` at most one is given.
fn alternatives(message: &MessageType, side: Side) -> Vec<Json> {
    let mut apart = Vec::new();
    for at in 0..message.oneofs {
        let mut members: Vec<[&str; 2]> = Vec::new();
        for field in message.fields.iter().map(|field| &field.descriptor) {
            if field.oneof_index() as usize == at && field.oneof_index.is_some() && !field.proto3_optional() {
                members.push([field.json_name(), field.name()]);
            }
        }
        for (first, one) in members.iter().enumerate() {
            for other in &members[first + 1..] {
                apart.extend(pairs(one, other, side).map(|pair| json!({"not": {"required": pair}})));
            }
        }
    }
    apart
}

/// The names of two fields that exclude each other.
fn pairs<'a>(one: &'a [&'a str; 2], other: &'a [&'a str; 2], side: Side) -> impl Iterator<Item = [&'a str; 2]> {
    let names = move |of: &'a [&'a str; 2]| {
        let both = side == Side::Read && of[0] != of[1];
        of.iter().copied().take(if both { 2 } else { 1 })
    };
    names(one).flat_map(move |one| names(other).map(move |other| [one, other]))
}

/// An enum: its names; read also its numbers.
fn choices(found: &EnumType, side: Side) -> Json {
    let mut description = found.comment.clone();
    for (name, number, comment) in &found.values {
        description.push_str(&format!("\n- `{name}` ({number}): {comment}"));
    }
    let mut values: Vec<Json> = found.values.iter().map(|(name, ..)| json!(name)).collect();
    if side == Side::Read {
        values.extend(found.values.iter().map(|(_, number, _)| json!(number)));
    }
    let kind = if side == Side::Read { json!(["string", "integer"]) } else { json!("string") };
    json!({"type": kind, "enum": values, "description": description})
}
