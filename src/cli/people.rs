//! People in NDJSON files: a person a line, in the ways people are written
//! down.

use serde_json::{Map, Value as Json};

use crate::{
    app::population::Person,
    domain::{AttrId, AttrSlot, Currency, Schema, Timestamp, Value, profile::StoredAttribute},
    rules::{self, Ruleset},
};

use super::given::Given;

/// The longest line that is read, bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Names of what a line says of the person.
const PERSON_KEYS: [&str; 4] = ["p", "attributes", "traits", "profile"];
/// Names of what a line says of the moment.
const MOMENT_KEYS: [&str; 2] = ["ctx", "context"];
/// Names of the time of a line.
const TIME_KEYS: [&str; 3] = ["at", "time", "now"];
/// Fields of `rapport import` that say nothing here.
const IGNORED_KEYS: [&str; 3] = ["consents", "requestId", "validateOnly"];

/// A person of a file.
#[derive(Debug)]
pub struct Someone {
    /// The id in the line; else its first identity; `None` without either.
    pub id: Option<String>,
    /// The moment in the line.
    pub at: Option<Timestamp>,
    /// What is known of them.
    pub given: Given,
}

/// A line that is not taken.
#[derive(Debug)]
pub struct Refused {
    /// As in [`Someone`].
    pub id: Option<String>,
    /// Every mistake.
    pub mistakes: Vec<String>,
}

/// How lines are read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'r> {
    schema: &'r Schema,
    currency: &'r Currency,
    unknown: Unknown,
}

/// What becomes of a line with an attribute that the rules do not declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused: the name may be mistyped.
    Refused,
    /// The attribute is left out.
    LeftOut,
}

impl<'r> Reader<'r> {
    /// Reads lines with the attributes of these rules.
    pub fn of(rules: &'r Ruleset, unknown: Unknown) -> Self {
        Self { schema: &rules.schema, currency: &rules.currency, unknown }
    }

    /// The person of a line.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(&self, line: &str) -> Result<Someone, Refused> {
        let refused = |id: Option<String>, mistakes| Err(Refused { id, mistakes });
        if line.len() > LINE_BYTES_MAX {
            let mistake = format!("the line has {} bytes, at most {LINE_BYTES_MAX} are read", line.len());
            return refused(None, vec![mistake]);
        }
        let fields = match serde_json::from_str(line) {
            Ok(Json::Object(fields)) => fields,
            Ok(_) => return refused(None, vec!["not a person: give {\"id\": \"...\", \"p\": {...}}".to_owned()]),
            Err(error) => return refused(None, vec![not_json(&error)]),
        };
        let id = match id_of(&fields) {
            Ok(id) => id,
            Err(mistake) => return refused(None, vec![mistake]),
        };
        if is_event(&fields) {
            return refused(id, vec![EVENT.to_owned()]);
        }
        let mut sorted = Sorted::new(self);
        for (name, value) in fields {
            sorted.take(name, value);
        }
        let Sorted { person, moment, at, mut mistakes, .. } = sorted;
        let given = Map::from_iter([("p".to_owned(), Json::Object(person)), ("ctx".to_owned(), Json::Object(moment))]);
        match Given::parse(&Json::Object(given), (self.schema, self.currency)) {
            Ok(given) if mistakes.is_empty() => Ok(Someone { id, at, given }),
            Ok(_) => refused(id, mistakes),
            Err(wrong) => {
                mistakes.extend(wrong);
                refused(id, mistakes)
            }
        }
    }

    fn knows(&self, root: &str, name: &str) -> bool {
        self.schema.by_name.contains_key(format!("{root}.{name}").as_str())
    }
}

impl Someone {
    /// How rules see them; with their own moment, else at `now`.
    pub fn person(&self, now: Timestamp) -> Person<'_> {
        Person {
            profile: &self.given.profile,
            request: &self.given.request,
            now: self.at.unwrap_or(now),
            profiling: true,
            missing: self.given.missing(),
        }
    }
}

/// The fields of a line, sorted by what they speak of.
struct Sorted<'r> {
    reader: &'r Reader<'r>,
    person: Map<String, Json>,
    moment: Map<String, Json>,
    at: Option<Timestamp>,
    mistakes: Vec<String>,
}

impl<'r> Sorted<'r> {
    fn new(reader: &'r Reader<'r>) -> Self {
        Self { reader, person: Map::new(), moment: Map::new(), at: None, mistakes: Vec::new() }
    }

    fn take(&mut self, name: String, value: Json) {
        let name_text = name.as_str();
        match value {
            Json::Object(values) if PERSON_KEYS.contains(&name_text) => self.all("p", values),
            Json::Object(values) if MOMENT_KEYS.contains(&name_text) => self.all("ctx", values),
            Json::Object(values) if name_text == "given" => values.into_iter().for_each(|(n, v)| self.take(n, v)),
            Json::Null if PERSON_KEYS.contains(&name_text) || MOMENT_KEYS.contains(&name_text) => {}
            value if self.reader.knows("p", name_text) && name_text != "id" => self.one("p", name, value),
            value if self.reader.knows("ctx", name_text) => self.one("ctx", name, value),
            _ if name_text == "id" || name_text == "identities" || IGNORED_KEYS.contains(&name_text) => {}
            value if TIME_KEYS.contains(&name_text) => self.time(&value),
            value => match name_text.split_once('.') {
                Some((root @ ("p" | "ctx"), bare)) => self.one(root, bare.to_owned(), value),
                _ => self.one("p", name, value),
            },
        }
    }

    fn all(&mut self, root: &str, values: Map<String, Json>) {
        for (name, value) in values {
            self.one(root, name, value);
        }
    }

    fn one(&mut self, root: &str, name: String, value: Json) {
        if self.reader.unknown == Unknown::LeftOut && !self.reader.knows(root, &name) {
            return;
        }
        let place = if root == "p" { &mut self.person } else { &mut self.moment };
        if place.contains_key(&name) {
            self.mistakes.push(format!("`{root}.{name}` is given twice"));
        } else {
            place.insert(name, value);
        }
    }

    fn time(&mut self, value: &Json) {
        let at = match value {
            Json::String(text) => rules::parse_moment(text),
            Json::Null => return,
            _ => None,
        };
        if at.is_none() {
            self.mistakes
                .push(format!("{value} is not a time: write it as \"2026-01-31T12:00:00Z\" or \"2026-01-31\""));
        }
        self.at = at;
    }
}

/// What to do with a line of events.
const EVENT: &str = "an event, not a person: `rapport import` takes events; give {\"id\": \"...\", \"p\": {...}}";

fn is_event(fields: &Map<String, Json>) -> bool {
    let object = |name| fields.get(name).is_some_and(Json::is_object);
    fields.contains_key("eventId") && (object("customer") || object("outcome"))
}

/// The place without the line, which is the file's.
fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let why = text.split(" at line ").next().unwrap_or_default();
    format!("not valid JSON: {why} at column {}", error.column())
}

/// The `id`, else the value of the first identity.
fn id_of(fields: &Map<String, Json>) -> Result<Option<String>, String> {
    let text = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let first = || text(fields.get("identities")?.as_array()?.first()?.get("value")?);
    match fields.get("id") {
        None | Some(Json::Null) => Ok(first()),
        Some(id) => match text(id) {
            None => Err("`id` is no string and no number: give \"id\": \"...\"".to_owned()),
            Some(id) if id.chars().any(char::is_control) => {
                Err("`id` has control characters: give plain text on one line".to_owned())
            }
            id => Ok(id),
        },
    }
}

/// What is kept of many people: no more than their values.
#[derive(Debug)]
pub struct Kept {
    at: Option<Timestamp>,
    attributes: Vec<StoredAttribute>,
    context: Vec<(AttrId, Value)>,
    overrides: Vec<(AttrId, Value)>,
    missing: Box<[AttrSlot]>,
}

impl Kept {
    /// What is kept of someone.
    pub fn of(someone: Someone) -> Self {
        let missing = someone.given.missing().into();
        let Someone { at, given: Given { profile, request, .. }, .. } = someone;
        Self { at, attributes: profile.attributes, context: request.context, overrides: request.overrides, missing }
    }

    /// Shows them within `frame`, whose own values are kept meanwhile.
    pub fn show(&mut self, frame: &mut Given, now: Timestamp, see: &mut dyn FnMut(Person<'_>)) {
        self.swap(frame);
        see(Person {
            profile: &frame.profile,
            request: &frame.request,
            now: self.at.unwrap_or(now),
            profiling: true,
            missing: &self.missing,
        });
        self.swap(frame);
    }

    fn swap(&mut self, frame: &mut Given) {
        std::mem::swap(&mut self.attributes, &mut frame.profile.attributes);
        std::mem::swap(&mut self.context, &mut frame.request.context);
        std::mem::swap(&mut self.overrides, &mut frame.request.overrides);
    }
}
