//! Answers from protobuf straight to their canonical JSON, by the descriptors of
//! the API, without making messages first. Fields that are not set are left out:
//! a file of a million answers is half as long. What is not known here is left to
//! the messages.

use std::{collections::HashMap, io::Write};

use bytes::Buf;
use prost::{
    Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use crate::{
    grpc::{structs::Struct, timestamp::Timestamp},
    proto::DESCRIPTORS,
};

/// What an answer is.
const ANSWER: &str = ".rapport.v1.DecideStreamResponse";
/// The field that says that there is something to say.
const TOLD: (&str, &str) = (".rapport.v1.PlacementAnswer", "presentations");
/// How deep messages stand in each other at most.
const DEPTH_MAX: usize = 16;

/// The messages of the API.
pub struct Answers {
    messages: Vec<Message>,
    /// Which of them an answer is.
    answer: usize,
}

#[derive(Default)]
struct Message {
    /// By their number.
    fields: Vec<Option<Field>>,
}

struct Field {
    /// Name and colon.
    key: Box<str>,
    kind: Kind,
    many: bool,
    /// Whether it says that there is something to say.
    tells: bool,
}

enum Kind {
    Text,
    Truth,
    Whole,
    /// JSON holds 64 bits as text.
    Long,
    Double,
    Names(HashMap<u64, Box<str>>),
    Message(usize),
    Map(usize),
    Moment,
    Object,
}

/// Something is written otherwise than is known here.
pub struct Unknown;

impl Answers {
    /// From the descriptors; `None` when they are not understood.
    pub fn new() -> Option<Self> {
        let set = FileDescriptorSet::decode(DESCRIPTORS).ok()?;
        let mut named = Vec::new();
        let mut enums = HashMap::new();
        for file in &set.file {
            let package = format!(".{}", file.package());
            for message in &file.message_type {
                gather(&package, message, &mut named);
            }
            for one in &file.enum_type {
                let names = one.value.iter().map(|v| (v.number() as u64, v.name().into())).collect();
                enums.insert(format!("{package}.{}", one.name()), names);
            }
        }
        let slots: HashMap<&str, usize> = named.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
        let messages = named.iter().map(|(name, message)| read(name, message, (&slots, &named, &enums))).collect();
        Some(Self { messages, answer: *slots.get(ANSWER)? })
    }

    /// Appends an answer; whether it has something to say.
    ///
    /// # Errors
    /// Something is not known here: what was appended is no JSON.
    pub fn write(&self, answer: &[u8], out: &mut Vec<u8>) -> Result<bool, Unknown> {
        let mut told = false;
        self.message((self.answer, 0), answer, (out, &mut told))?;
        Ok(told)
    }

    fn message(
        &self,
        (message, depth): (usize, usize),
        mut bytes: &[u8],
        (out, told): (&mut Vec<u8>, &mut bool),
    ) -> Result<(), Unknown> {
        let fields = &self.messages.get(message).filter(|_| depth < DEPTH_MAX).ok_or(Unknown)?.fields;
        out.push(b'{');
        let (mut before, mut seen) = (None::<(u32, &Field)>, 0_u64);
        while !bytes.is_empty() {
            let (number, wire) = decode_key(&mut bytes).map_err(|_| Unknown)?;
            let Some(field) = fields.get(number as usize).and_then(Option::as_ref) else {
                skip_field(wire, number, &mut bytes, DecodeContext::default()).map_err(|_| Unknown)?;
                continue;
            };
            let goes_on = before.is_some_and(|(last, field)| last == number && field.many);
            if goes_on {
                out.push(b',');
            } else {
                // one that comes twice would have to be put together
                let bit = 1_u64.checked_shl(number).ok_or(Unknown)?;
                if seen & bit != 0 {
                    return Err(Unknown);
                }
                seen |= bit;
                if let Some((_, last)) = before {
                    close(last, out);
                    out.push(b',');
                }
                out.extend_from_slice(field.key.as_bytes());
                open(field, out);
            }
            *told |= field.tells;
            self.value((field, wire), &mut bytes, (depth, out, told))?;
            before = Some((number, field));
        }
        if let Some((_, last)) = before {
            close(last, out);
        }
        out.push(b'}');
        Ok(())
    }

    fn value(
        &self,
        (field, wire): (&Field, WireType),
        bytes: &mut &[u8],
        (depth, out, told): (usize, &mut Vec<u8>, &mut bool),
    ) -> Result<(), Unknown> {
        match wire {
            WireType::Varint => scalar(&field.kind, varint(bytes)?, out),
            WireType::SixtyFourBit => {
                if !matches!(field.kind, Kind::Double) || bytes.len() < 8 {
                    return Err(Unknown);
                }
                let number = bytes.get_f64_le();
                if !number.is_finite() {
                    return Err(Unknown);
                }
                serde_json::to_writer(out, &number).map_err(|_| Unknown)
            }
            WireType::LengthDelimited => {
                let len = usize::try_from(varint(bytes)?).map_err(|_| Unknown)?;
                let (inner, rest) = bytes.split_at_checked(len).ok_or(Unknown)?;
                *bytes = rest;
                self.delimited(field, inner, (depth, out, told))
            }
            _ => Err(Unknown),
        }
    }

    fn delimited(
        &self,
        field: &Field,
        mut bytes: &[u8],
        (depth, out, told): (usize, &mut Vec<u8>, &mut bool),
    ) -> Result<(), Unknown> {
        match &field.kind {
            Kind::Text => text(bytes, out),
            Kind::Message(message) => self.message((*message, depth + 1), bytes, (out, told)),
            Kind::Map(entry) => self.entry(*entry, bytes, out),
            Kind::Moment => json(&Timestamp::decode(bytes).map_err(|_| Unknown)?, out),
            Kind::Object => json(&Struct::decode(bytes).map_err(|_| Unknown)?, out),
            Kind::Truth | Kind::Whole | Kind::Long | Kind::Names(_) if field.many && !bytes.is_empty() => {
                // packed
                scalar(&field.kind, varint(&mut bytes)?, out)?;
                while !bytes.is_empty() {
                    out.push(b',');
                    scalar(&field.kind, varint(&mut bytes)?, out)?;
                }
                Ok(())
            }
            _ => Err(Unknown),
        }
    }

    /// An entry of a map of texts.
    fn entry(&self, entry: usize, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unknown> {
        let texts = |field: &Option<Field>| matches!(field, Some(Field { kind: Kind::Text, .. }));
        let fields = &self.messages.get(entry).ok_or(Unknown)?.fields;
        if !fields.iter().skip(1).all(texts) {
            return Err(Unknown);
        }
        let mut parts: [&[u8]; 2] = [&[], &[]];
        while !bytes.is_empty() {
            let (number, wire) = decode_key(&mut bytes).map_err(|_| Unknown)?;
            let len = usize::try_from(varint(&mut bytes)?).map_err(|_| Unknown)?;
            let (part, rest) = bytes.split_at_checked(len).ok_or(Unknown)?;
            let place = parts.get_mut((number as usize).wrapping_sub(1)).ok_or(Unknown)?;
            if wire != WireType::LengthDelimited {
                return Err(Unknown);
            }
            (*place, bytes) = (part, rest);
        }
        text(parts[0], out)?;
        out.push(b':');
        text(parts[1], out)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Unknown> {
    decode_varint(bytes).map_err(|_| Unknown)
}

fn text(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unknown> {
    json(std::str::from_utf8(bytes).map_err(|_| Unknown)?, out)
}

fn json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), Unknown> {
    serde_json::to_writer(out, value).map_err(|_| Unknown)
}

fn scalar(kind: &Kind, number: u64, out: &mut Vec<u8>) -> Result<(), Unknown> {
    // writing to a vector cannot fail
    let done = match kind {
        Kind::Truth => write!(out, "{}", number != 0),
        Kind::Whole => write!(out, "{}", number as i64),
        Kind::Long => write!(out, "\"{number}\""),
        Kind::Names(names) => {
            let name = names.get(&number).ok_or(Unknown)?;
            write!(out, "\"{name}\"")
        }
        _ => return Err(Unknown),
    };
    done.map_err(|_| Unknown)
}

fn open(field: &Field, out: &mut Vec<u8>) {
    match field.kind {
        Kind::Map(_) => out.push(b'{'),
        _ if field.many => out.push(b'['),
        _ => {}
    }
}

fn close(field: &Field, out: &mut Vec<u8>) {
    match field.kind {
        Kind::Map(_) => out.push(b'}'),
        _ if field.many => out.push(b']'),
        _ => {}
    }
}

/// A message and those declared in it, by their full names.
fn gather<'a>(scope: &str, message: &'a DescriptorProto, named: &mut Vec<(String, &'a DescriptorProto)>) {
    let name = format!("{scope}.{}", message.name());
    for inner in &message.nested_type {
        gather(&name, inner, named);
    }
    named.push((name, message));
}

type Known<'a> =
    (&'a HashMap<&'a str, usize>, &'a [(String, &'a DescriptorProto)], &'a HashMap<String, HashMap<u64, Box<str>>>);

fn read(name: &str, message: &DescriptorProto, known: Known<'_>) -> Message {
    let mut fields = Vec::new();
    for declared in &message.field {
        let Ok(number) = usize::try_from(declared.number()) else { continue };
        // longer numbers are left to the messages themselves
        if number >= 64 {
            continue;
        }
        if fields.len() <= number {
            fields.resize_with(number + 1, || None);
        }
        if let Some(place) = fields.get_mut(number) {
            *place = kind(declared, known).map(|kind| Field {
                key: format!("\"{}\":", declared.json_name()).into(),
                kind,
                many: declared.label() == Label::Repeated,
                tells: (name, declared.name()) == TOLD,
            });
        }
    }
    Message { fields }
}

fn kind(field: &FieldDescriptorProto, (slots, named, enums): Known<'_>) -> Option<Kind> {
    Some(match field.r#type() {
        Type::String => Kind::Text,
        Type::Bool => Kind::Truth,
        Type::Int32 | Type::Uint32 => Kind::Whole,
        Type::Uint64 => Kind::Long,
        Type::Double => Kind::Double,
        Type::Enum => Kind::Names(enums.get(field.type_name())?.clone()),
        Type::Message => match field.type_name() {
            ".google.protobuf.Timestamp" => Kind::Moment,
            ".google.protobuf.Struct" => Kind::Object,
            name => {
                let slot = *slots.get(name)?;
                let (_, message) = named.get(slot)?;
                match message.options.as_ref().is_some_and(|options| options.map_entry()) {
                    true => Kind::Map(slot),
                    false => Kind::Message(slot),
                }
            }
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Currency, Trace, View},
        grpc::convert::{decision::Shown, tests::answered, wire},
        proto::{
            DecideResponse, DecideStreamResponse, Degraded, FieldProblem, PlacementAnswer, Presentation, Problem,
            decide_stream_response::Result as Settled,
        },
    };

    fn agrees(answer: &DecideStreamResponse) -> bool {
        let mut out = Vec::new();
        let told = Answers::new().unwrap().write(&answer.encode_to_vec(), &mut out);
        assert_eq!(&serde_json::from_slice::<DecideStreamResponse>(&out).unwrap(), answer);
        let compact = String::from_utf8(out).unwrap();
        assert!(compact.len() < serde_json::to_string(answer).unwrap().len(), "{compact}");
        told.ok().unwrap()
    }

    #[test]
    fn every_answer_is_written_as_its_messages_are() {
        let currency = Currency { code: *b"GBP", minor_digits: 2 };
        for (view, trace) in [(View::Render, Trace::None), (View::Agent, Trace::Summary), (View::Full, Trace::Full)] {
            let mut bytes = Vec::new();
            wire::write_streamed("an \"id\"", &answered(), Shown { view, trace, currency: &currency }, &mut bytes);
            assert!(agrees(&DecideStreamResponse::decode(&bytes[..]).unwrap()));
        }
    }

    #[test]
    fn silence_and_problems_are_written_as_their_messages_are() {
        let placements = vec![PlacementAnswer { status: 2, silence_reason: 3, ..PlacementAnswer::default() }];
        let degraded = vec![Degraded::StaleProfile.into(), Degraded::LogUnavailable.into()];
        let mut answer = DecideResponse { placements, degraded, level: 1, ..DecideResponse::default() };
        let settled = |answer: &DecideResponse| DecideStreamResponse {
            request_id: "a\n\u{1f600}".to_owned(),
            result: Some(Settled::Answer(answer.clone())),
        };
        assert!(!agrees(&settled(&answer)));
        answer.placements[0].presentations = vec![Presentation::default(), Presentation::default()];
        let links = [("a", "b"), ("c", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        answer.placements[0].presentations[1].links = links.into();
        assert!(agrees(&settled(&answer)));
        let fields = vec![FieldProblem { field: "a".to_owned(), description: "is \\ wrong".to_owned() }];
        let problem = Problem { code: 3, reason: "R".to_owned(), message: "m".to_owned(), fields };
        let result = Some(Settled::Problem(problem));
        assert!(!agrees(&DecideStreamResponse { request_id: String::new(), result }));
    }

    #[test]
    fn what_is_torn_is_left_to_the_messages() {
        let answer = DecideResponse { decision_id: "x".repeat(40), ..DecideResponse::default() };
        let settled = DecideStreamResponse { request_id: "a".to_owned(), result: Some(Settled::Answer(answer)) };
        let bytes = settled.encode_to_vec();
        for len in 4..bytes.len() {
            assert!(Answers::new().unwrap().write(&bytes[..len], &mut Vec::new()).is_err(), "{len}");
        }
        // a field twice
        assert!(Answers::new().unwrap().write(&[bytes.clone(), bytes].concat(), &mut Vec::new()).is_err());
    }
}
