//! Attributes, traits, identities, event types.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{
        AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, Currency, EventTypeId, Schema, Trait,
        schema::{EventDef, FieldDef, RecordListDef},
    },
    rules::{
        builtin_events::EVENTS,
        feeds::Feeds,
        keys::{ATTRIBUTE, CONTEXT, EVENT, EVENT_FIELD, Section, TRAIT},
        read::{Fields, LABEL_BYTES_MAX},
        report::{Noun, Report},
        source::{Kind, Mark, Node},
    },
};

use super::{
    declare::{Names, TopLevel, check_hashes},
    fields, identities,
    series::SeriesReader,
    traits::{self, Dated},
    values::{Wanted, attribute_value},
};

/// Most attributes, stored, context and traits together.
const ATTRIBUTES_MAX: usize = 4_096;
/// Most members of an enum.
const ENUM_MEMBERS_MAX: usize = 1_024;

/// Reads everything rules may name in conditions, and what events feed.
pub fn read(
    report: &mut Report<'_>,
    top: &TopLevel<'_>,
    (currency, zone): (Currency, &jiff::tz::TimeZone),
) -> (Schema, Feeds) {
    let identities = identities::read(report, top);
    let events = events(report, top, currency);
    let lists = fields::records(report, top, currency);
    let event_names = Names::new(Noun::Event, events.iter().map(|event| (event.name.clone(), event.id)));
    let mut found: Vec<(Mark, AttributeDef)> = Vec::new();
    for (name, section, noun, source) in [
        ("attributes", &ATTRIBUTE, Noun::Attribute, AttributeSource::Stored),
        ("context", &CONTEXT, Noun::Context, AttributeSource::Context),
    ] {
        found.extend(attributes(report, top, (name, section, noun), (source, currency)));
    }
    let dates = found.iter().filter(|(_, def)| def.source == AttributeSource::Stored);
    let dates = dates.map(|(_, def)| (def.name.clone(), Dated::of(def)));
    let stored_names = Names::new(Noun::Attribute, dates);
    let lost = report.lost();
    let mut series = SeriesReader::new(&events, top.ids("channels"), (currency, zone.clone(), lost));
    for declared in top.declared(report, "traits", &TRAIT, Noun::Trait) {
        match traits::read(report, &declared, (&event_names, &stored_names), &mut series) {
            Some(def) if stored_names.find(&def.name).is_some() => {
                let message = format!("`p.{}` is already a stored attribute: rename the trait", def.name);
                report.error(declared.id_mark, message);
            }
            Some(def) => found.push((declared.id_mark, def)),
            None => report.lose(Noun::Trait),
        }
    }
    let feeds = series.finish();
    for (mark, behavioural, list) in &lists {
        found.extend(record_keys(report, &found, (*mark, *behavioural, list)));
    }
    for (mark, behavioural, list) in &lists {
        found.extend(record_fields(*behavioural, list).into_iter().map(|def| (*mark, def)));
    }
    let records = lists.into_iter().map(|(_, _, list)| list).collect();
    if let Some((mark, _)) = found.get(ATTRIBUTES_MAX) {
        report.error(*mark, format!("there are {} attributes, at most {ATTRIBUTES_MAX} are allowed", found.len()));
        found.truncate(ATTRIBUTES_MAX);
    }
    let slots = arrange(found.into_iter().map(|(_, def)| def).collect());
    (Schema { identities, events, records, time_zone: Some(zone.clone()), ..slots }, feeds)
}

/// The keys of the records of a list, as conditions read them.
fn record_keys(
    report: &mut Report<'_>,
    found: &[(Mark, AttributeDef)],
    (mark, behavioural, list): (Mark, bool, &RecordListDef),
) -> Option<(Mark, AttributeDef)> {
    let full_name: Arc<str> = format!("p.{}", list.name).into();
    if found.iter().any(|(_, def)| def.full_name == full_name) {
        report.error(mark, format!("`{full_name}` is already an attribute or a trait: rename the list"));
        return None;
    }
    let def = AttributeDef {
        slot: AttrSlot(0),
        id: list.id,
        name: list.name.clone(),
        full_name,
        kind: AttributeType::Set,
        source: AttributeSource::Records(list.id),
        default: None,
        range: None,
        pii: false,
        behavioural,
        client: false,
        verified: false,
    };
    Some((mark, def))
}

/// What is read of one record of a list. A field `key` stands above the record's
/// own key.
fn record_fields(behavioural: bool, list: &RecordListDef) -> Vec<AttributeDef> {
    let def = |name: &Arc<str>, (kind, range, pii), source| AttributeDef {
        slot: AttrSlot(0),
        id: AttrId::of(name),
        name: name.clone(),
        full_name: format!("r.{name}").into(),
        kind,
        source,
        default: None,
        range,
        pii,
        behavioural,
        client: false,
        verified: false,
    };
    let field = |field: &FieldDef| {
        let source = AttributeSource::RecordField(list.id, field.id);
        def(&field.name, (field.kind.clone(), field.range, field.pii), source)
    };
    let mut all: Vec<AttributeDef> = list.fields.iter().map(field).collect();
    if all.iter().all(|field| &*field.name != "key") {
        all.push(def(&"key".into(), (AttributeType::Text, None, false), AttributeSource::RecordKey(list.id)));
    }
    all
}

/// Gives slots in order of the full names.
fn arrange(mut attributes: Vec<AttributeDef>) -> Schema {
    attributes.sort_by(|a, b| a.full_name.cmp(&b.full_name));
    let mut schema = Schema::default();
    let mut by_name: HashMap<Arc<str>, AttrSlot> = HashMap::new();
    for (at, def) in attributes.iter_mut().enumerate() {
        // INVARIANT: there are at most ATTRIBUTES_MAX.
        def.slot = AttrSlot(at as u16);
        if def.verified {
            schema.verified.push(def.slot);
        }
        if !def.source.is_of_record() {
            by_name.insert(def.full_name.clone(), def.slot);
        }
        match def.source {
            AttributeSource::Stored => schema.stored.push((def.id, def.slot)),
            AttributeSource::Context => schema.context.push((def.id, def.slot)),
            AttributeSource::Trait(ref how) => {
                schema.traits.push(def.slot);
                schema.reads_slots |= matches!(how, Trait::Series(_) | Trait::Model(_));
            }
            AttributeSource::Records(_) => schema.record_keys.push(def.slot),
            AttributeSource::RecordKey(_) | AttributeSource::RecordField(..) => schema.record_fields.push(def.slot),
        }
    }
    schema.stored.sort_by_key(|entry| entry.0);
    schema.context.sort_by_key(|entry| entry.0);
    Schema { attributes, by_name, ..schema }
}

fn events(report: &mut Report<'_>, top: &TopLevel<'_>, currency: Currency) -> Vec<EventDef> {
    let mut all: Vec<(Mark, EventDef)> = Vec::new();
    for built_in in &EVENTS {
        all.push((Mark::default(), built_in.def()));
    }
    for declared in top.declared(report, "events", &EVENT, Noun::Event) {
        let id = EventTypeId::of(&declared.id);
        let list = declared.fields.get("fields");
        let mut fields = list.map_or_else(Vec::new, |node| fields::read(report, node, (&EVENT_FIELD, currency)));
        let of = ["bought", "conversion", "durable", "open"].map(|key| declared.fields.get(key));
        let client = declared.fields.get("client");
        if let Some((_, known)) = all.iter_mut().find(|(mark, def)| def.id == id && *mark == Mark::default()) {
            let more = (fields, list, client);
            if (list.is_none() && client.is_none()) || of.iter().any(Option::is_some) {
                let why = "is built in: leave it out, or add only `fields` or `client` to it";
                report.error(declared.id_mark, format!("the event `{}` {why}", known.name));
            } else {
                add_to(report, known, more);
            }
            continue;
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let [bought, conversion, durable] = [of[0], of[1], of[2]].map(|node| report.flag(node, false));
        let open = report.flag(of[3], fields.is_empty());
        let name = declared.id.clone();
        let mut def = EventDef { id, name, bought, conversion, durable, client: false, fields, open };
        def.client = said_by_pages(report, &def, client);
        all.push((declared.id_mark, def));
    }
    check_hashes(report, Noun::Event, all.iter().map(|(mark, def)| (def.id, def.name.clone(), *mark)));
    all.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    all.into_iter().map(|(_, def)| def).collect()
}

/// Adds to a built-in event what can be said of it.
fn add_to(
    report: &mut Report<'_>,
    known: &mut EventDef,
    (fields, list, client): (Vec<FieldDef>, Option<&Node>, Option<&Node>),
) {
    known.client = said_by_pages(report, known, client);
    for field in fields {
        if known.fields.iter().any(|had| had.id == field.id) {
            let mark = list.map_or(Mark::default(), |list| list.mark);
            report.error(mark, format!("the event `{}` has the field `{}` already", known.name, field.name));
        } else {
            known.fields.push(field);
        }
    }
}

/// Whether browsers may send an event. Everybody can read the key of a page:
/// revenue and lift are not made of what anybody may say.
fn said_by_pages(report: &mut Report<'_>, event: &EventDef, node: Option<&Node>) -> bool {
    let client = report.flag(node, event.client);
    if let Some(node) = node.filter(|_| client && (event.bought || event.conversion)) {
        let why = "is bought or a conversion: a browser may not send it, leave out `client`";
        report.error(node.mark, format!("the event `{}` {why}", event.name));
        return false;
    }
    client
}

fn attributes(
    report: &mut Report<'_>,
    top: &TopLevel<'_>,
    (name, section, noun): (&'static str, &'static Section, Noun),
    (source, currency): (AttributeSource, Currency),
) -> Vec<(Mark, AttributeDef)> {
    let mut all = Vec::new();
    for declared in top.declared(report, name, section, noun) {
        let Some(kind) = attribute_type(report, &declared.fields) else {
            report.lose(noun);
            continue;
        };
        let range = declared.fields.get("range").and_then(|node| bounds(report, node, &kind, currency));
        let wanted = Wanted { kind: &kind, range, currency };
        let default = declared.fields.get("default").and_then(|node| attribute_value(report, node, wanted));
        let pii = report.flag(declared.fields.get("pii"), false);
        let behavioural = report.flag(declared.fields.get("behavioural"), false);
        let is_context = source == AttributeSource::Context;
        let client = is_context && report.flag(declared.fields.get("client"), false);
        let verified = !is_context && assurance(report, &declared.fields);
        let id = AttrId::of(&declared.id);
        let (name, source) = (declared.id.clone(), source.clone());
        let prefix = if is_context { "ctx" } else { "p" };
        let full_name = format!("{prefix}.{name}").into();
        let def = AttributeDef {
            slot: AttrSlot(0),
            id,
            name,
            full_name,
            kind,
            source,
            default,
            range,
            pii,
            behavioural,
            client,
            verified,
        };
        all.push((declared.id_mark, def));
    }
    check_hashes(report, noun, all.iter().map(|(mark, def)| (def.id, def.name.clone(), *mark)));
    all
}

/// Whether `assurance` asks for a verified person.
pub fn assurance(report: &mut Report<'_>, fields: &Fields<'_>) -> bool {
    fields.get("assurance").and_then(|node| assured(report, node)).unwrap_or(false)
}

/// The same of its value, where its absence says something else.
pub fn assured(report: &mut Report<'_>, node: &Node) -> Option<bool> {
    report.one_of(node, &[("any", false), ("verified", true)])
}

/// The type that `type` and `values` say.
pub fn attribute_type(report: &mut Report<'_>, fields: &Fields<'_>) -> Option<AttributeType> {
    const WORDS: [(&str, u8); 10] = [
        ("bool", 0),
        ("int", 1),
        ("double", 2),
        ("string", 3),
        ("enum", 4),
        ("set<string>", 5),
        ("set", 5),
        ("timestamp", 6),
        ("date", 7),
        ("money", 8),
    ];
    let values = fields.get("values");
    let node = fields.get("type")?;
    if let Kind::Text(text) = &node.kind
        && let Some(word) = meant(text)
    {
        report.error(node.mark, format!("`{text}` is not a type, write `{word}`"));
        return None;
    }
    let kind = match report.one_of(node, &WORDS)? {
        0 => AttributeType::Bool,
        1 => AttributeType::Int,
        2 => AttributeType::Double,
        3 => AttributeType::Text,
        4 => {
            let Some(values) = values else {
                report.error(fields.mark, "an enum needs `values`: the list of its members");
                return None;
            };
            return members(report, values).map(AttributeType::Enum);
        }
        5 => AttributeType::Set,
        6 => AttributeType::Timestamp,
        7 => AttributeType::Date,
        _ => AttributeType::Money,
    };
    if let Some(values) = values {
        report.error(values.mark, format!("`values` are for an enum, the type is `{}`", kind.name()));
    }
    Some(kind)
}

/// The type that a word of another language stands for.
fn meant(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "boolean" => "bool",
        "integer" | "long" | "int64" | "int32" => "int",
        "float" | "number" | "decimal" | "float64" => "double",
        "text" | "str" | "varchar" => "string",
        "datetime" | "time" | "instant" => "timestamp",
        "list" | "array" | "list<string>" | "strings" | "set<text>" | "set<enum>" => "set<string>",
        "currency" | "amount" | "price" => "money",
        _ => return None,
    })
}

fn members(report: &mut Report<'_>, node: &Node) -> Option<Arc<[Arc<str>]>> {
    let nodes = report.list(node)?;
    let mut members: Vec<Arc<str>> = Vec::new();
    for node in nodes {
        let member = report.label(node)?;
        if members.contains(&member) {
            report.error(node.mark, format!("the member `{}` stands twice", member.escape_debug()));
        } else {
            members.push(member);
        }
        if members.len() > ENUM_MEMBERS_MAX || members.iter().any(|member| member.len() > LABEL_BYTES_MAX) {
            report.error(node.mark, format!("an enum has at most {ENUM_MEMBERS_MAX} members"));
            return None;
        }
    }
    if members.is_empty() {
        report.error(node.mark, "an enum needs at least one member");
        return None;
    }
    Some(members.into())
}

/// Smallest and largest value; of money in minor units.
pub fn bounds(report: &mut Report<'_>, node: &Node, kind: &AttributeType, currency: Currency) -> Option<(f64, f64)> {
    if !matches!(kind, AttributeType::Int | AttributeType::Double | AttributeType::Money) {
        report.error(node.mark, format!("`range` is for int, double and money, the type is `{}`", kind.name()));
        return None;
    }
    let [low, high] = report.list(node)? else {
        report.error(node.mark, "expected two numbers: `[smallest, largest]`");
        return None;
    };
    let mut read = |node: &Node| match kind {
        AttributeType::Money => report.money(node, currency).map(|minor| minor as f64),
        _ => report.number(node, f64::MIN..=f64::MAX),
    };
    let (low, high) = (read(low)?, read(high)?);
    if low > high {
        report.error(node.mark, "the smallest value of the range is larger than the largest");
        return None;
    }
    Some((low, high))
}
