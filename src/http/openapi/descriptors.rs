//! The compiled descriptors by name, each with the comment that stands above
//! it in the `.proto` files.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
};

use crate::proto::DESCRIPTORS;

/// The package of the messages that are described.
const PACKAGE: &str = "rapport.v1";

// Numbers of fields in `descriptor.proto`, of which places of comments are made.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const ENUM_VALUE: i32 = 2;
const SERVICE_METHOD: i32 = 2;

/// Everything of the package, by full name with a leading dot, as fields name
/// their types.
#[derive(Default)]
pub struct Descriptors {
    messages: BTreeMap<String, MessageType>,
    enums: BTreeMap<String, EnumType>,
    calls: BTreeMap<String, Call>,
}

/// A message.
pub struct MessageType {
    /// Its name without the package.
    pub name: String,
    /// What it is.
    pub comment: String,
    /// Its fields in the order of the file.
    pub fields: Vec<Field>,
    /// Whether it is only the entry of a map.
    pub is_map_entry: bool,
    /// The names of its groups of fields of which at most one is given; one
    /// that only marks a field as optional is not among them.
    pub oneofs: usize,
}

/// A field of a message.
pub struct Field {
    /// What the compiler made of it.
    pub descriptor: FieldDescriptorProto,
    /// What it is.
    pub comment: String,
}

/// An enum.
pub struct EnumType {
    /// Its name without the package.
    pub name: String,
    /// What it is.
    pub comment: String,
    /// Its values in the order of the file: name, number, comment.
    pub values: Vec<(String, i32, String)>,
}

/// A remote procedure call.
pub struct Call {
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub comment: String,
    /// The full name of its request.
    pub request: String,
    /// The full name of its answer.
    pub answer: String,
    /// Whether its answers come one after the other.
    pub streams: bool,
}

impl Descriptors {
    /// Those that the service was compiled with. Bytes that are no descriptors
    /// hold nothing.
    pub fn compiled() -> Self {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
        let mut all = Self::default();
        for file in set.file.iter().filter(|file| file.package() == PACKAGE) {
            all.add(file);
        }
        all
    }

    /// The full name of a message of the package.
    pub fn full_name(&self, name: &str) -> String {
        format!(".{PACKAGE}.{name}")
    }

    /// A message by its full name.
    pub fn message(&self, name: &str) -> Option<&MessageType> {
        self.messages.get(name)
    }

    /// An enum by its full name.
    pub fn enumeration(&self, name: &str) -> Option<&EnumType> {
        self.enums.get(name)
    }

    /// A call by `Service/Method`.
    pub fn call(&self, name: &str) -> Option<&Call> {
        self.calls.get(name)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let comments = Comments::of(file);
        for (at, message) in (0..).zip(&file.message_type) {
            self.add_message(message, &format!(".{PACKAGE}"), (&[FILE_MESSAGE, at], &comments));
        }
        for (at, found) in (0..).zip(&file.enum_type) {
            self.add_enum(found, &format!(".{PACKAGE}"), (&[FILE_ENUM, at], &comments));
        }
        for (at, service) in (0..).zip(&file.service) {
            for (method_at, method) in (0..).zip(&service.method) {
                let comment = comments.at(&[FILE_SERVICE, at, SERVICE_METHOD, method_at]);
                let call = Call::of(service.name(), method, comment);
                self.calls.insert(format!("{}/{}", call.service, call.name), call);
            }
        }
    }

    fn add_message(&mut self, message: &DescriptorProto, within: &str, (path, comments): (&[i32], &Comments)) {
        let full = format!("{within}.{}", message.name());
        let fields = (0..).zip(&message.field).map(|(at, field)| Field {
            descriptor: field.clone(),
            comment: comments.at(&[path, &[MESSAGE_FIELD, at]].concat()),
        });
        let is_real = |at: i32| {
            let mut members = message.field.iter().filter(|field| field.oneof_index == Some(at));
            members.any(|field| !field.proto3_optional())
        };
        let made = MessageType {
            name: short(&full),
            comment: comments.at(path),
            fields: fields.collect(),
            is_map_entry: message.options.as_ref().is_some_and(|options| options.map_entry()),
            oneofs: (0..).zip(&message.oneof_decl).filter(|(at, _)| is_real(*at)).count(),
        };
        self.messages.insert(full.clone(), made);
        for (at, nested) in (0..).zip(&message.nested_type) {
            self.add_message(nested, &full, (&[path, &[MESSAGE_NESTED, at]].concat(), comments));
        }
        for (at, nested) in (0..).zip(&message.enum_type) {
            self.add_enum(nested, &full, (&[path, &[MESSAGE_ENUM, at]].concat(), comments));
        }
    }

    fn add_enum(&mut self, found: &EnumDescriptorProto, within: &str, (path, comments): (&[i32], &Comments)) {
        let full = format!("{within}.{}", found.name());
        let values = (0..).zip(&found.value).map(|(at, value)| {
            let comment = comments.at(&[path, &[ENUM_VALUE, at]].concat());
            (value.name().to_owned(), value.number(), comment)
        });
        let made = EnumType { name: short(&full), comment: comments.at(path), values: values.collect() };
        self.enums.insert(full, made);
    }
}

impl Call {
    fn of(service: &str, method: &MethodDescriptorProto, comment: String) -> Self {
        Self {
            service: service.to_owned(),
            name: method.name().to_owned(),
            comment,
            request: method.input_type().to_owned(),
            answer: method.output_type().to_owned(),
            streams: method.server_streaming(),
        }
    }
}

/// The name within the package, dots left out.
fn short(full: &str) -> String {
    full.trim_start_matches(&format!(".{PACKAGE}.")).replace('.', "")
}

/// The comments of a file by place.
struct Comments(BTreeMap<Vec<i32>, String>);

impl Comments {
    fn of(file: &FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let commented = locations.filter(|location| location.leading_comments.is_some());
        Self(commented.map(|location| (location.path.clone(), one_line(location.leading_comments()))).collect())
    }

    fn at(&self, path: &[i32]) -> String {
        self.0.get(path).cloned().unwrap_or_default()
    }
}

/// Lines of a comment as one text; a blank line stays a paragraph.
fn one_line(comment: &str) -> String {
    let paragraphs = comment.trim().split("\n\n");
    let joined = paragraphs.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    joined.collect::<Vec<_>>().join("\n\n")
}
