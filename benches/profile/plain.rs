//! The naive form: the same knowledge as a Protocol Buffers message, one field
//! for each field of the structs.

use prost::Message;
use rapport::domain::{Interaction, ItemTouch, Profile, StoredAttribute, Value};

#[derive(Clone, PartialEq, Message)]
pub struct PlainProfile {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(int64, tag = "3")]
    first_seen: i64,
    #[prost(message, repeated, tag = "4")]
    identities: Vec<PlainIdentity>,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<PlainAttribute>,
    #[prost(message, repeated, tag = "6")]
    interactions: Vec<PlainInteraction>,
    #[prost(message, repeated, tag = "7")]
    items: Vec<PlainTouch>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PlainIdentity {
    #[prost(fixed32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PlainAttribute {
    #[prost(fixed32, tag = "1")]
    id: u32,
    #[prost(int64, tag = "2")]
    at: i64,
    #[prost(oneof = "PlainValue", tags = "3, 4, 5, 6, 7, 8, 9")]
    value: Option<PlainValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PlainValue {
    #[prost(bool, tag = "3")]
    Bool(bool),
    #[prost(sint64, tag = "4")]
    Int(i64),
    #[prost(double, tag = "5")]
    Double(f64),
    #[prost(string, tag = "6")]
    Text(String),
    #[prost(sint64, tag = "7")]
    Moment(i64),
    #[prost(sint32, tag = "8")]
    Date(i32),
    #[prost(sint64, tag = "9")]
    Money(i64),
}

#[derive(Clone, PartialEq, Message)]
pub struct PlainInteraction {
    #[prost(bytes = "vec", tag = "1")]
    decision: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    offer: u64,
    #[prost(fixed32, tag = "3")]
    channel: u32,
    #[prost(fixed64, tag = "4")]
    record: u64,
    #[prost(int64, tag = "5")]
    at: i64,
    #[prost(int64, tag = "6")]
    answered_at: i64,
    #[prost(uint32, tag = "7")]
    outcomes: u32,
    #[prost(uint32, tag = "8")]
    reason: u32,
    #[prost(int64, tag = "9")]
    reason_at: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct PlainTouch {
    #[prost(int64, tag = "1")]
    at: i64,
    #[prost(fixed64, tag = "2")]
    item: u64,
    #[prost(bool, tag = "3")]
    bought: bool,
}

/// The message of a profile of what the benchmark's profiles have.
pub fn plain(profile: &Profile) -> PlainProfile {
    let identity =
        |one: &rapport::domain::StoredIdentity| PlainIdentity { kind: one.kind.0, value: one.value.to_string() };
    PlainProfile {
        key: profile.key.0.to_le_bytes().to_vec(),
        version: profile.version,
        first_seen: profile.first_seen.0,
        identities: profile.identities.iter().map(identity).collect(),
        attributes: profile.attributes.iter().map(attribute).collect(),
        interactions: profile.interactions.iter().map(interaction).collect(),
        items: profile.items.iter().map(touch).collect(),
    }
}

fn attribute(stored: &StoredAttribute) -> PlainAttribute {
    let value = stored.value.as_ref().map(|value| match value {
        Value::Bool(v) => PlainValue::Bool(*v),
        Value::Int(v) => PlainValue::Int(*v),
        Value::Double(v) => PlainValue::Double(*v),
        Value::Text(v) => PlainValue::Text(v.to_string()),
        Value::Set(v) => PlainValue::Text(v.join(",")),
        Value::Timestamp(v) => PlainValue::Moment(v.0),
        Value::Date(v) => PlainValue::Date(v.0),
        Value::Money(v) => PlainValue::Money(*v),
    });
    PlainAttribute { id: stored.id.0, at: stored.at.0, value }
}

fn interaction(one: &Interaction) -> PlainInteraction {
    PlainInteraction {
        decision: one.decision.0.to_le_bytes().to_vec(),
        offer: one.offer.0,
        channel: one.channel.0,
        record: one.record.0,
        at: one.at.0,
        answered_at: one.answered_at.0,
        outcomes: u32::from(one.outcomes.0),
        reason: one.reason.0,
        reason_at: one.reason_at.0,
    }
}

fn touch(one: &ItemTouch) -> PlainTouch {
    PlainTouch { at: one.at.0, item: one.item.0, bought: one.bought }
}
