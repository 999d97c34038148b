//! An event as an entry of what happened to a customer: for pages of it and for
//! who subscribes.

use crate::{
    domain::{
        AttrId, AttributeDef, AttributeSource, Consent, ConsentPurpose, Event, EventKind, ItemLine, Permission,
        Preference, RecordChange, Timestamp, Value, schema::FieldDef,
    },
    grpc::structs::{Kind, Struct, Value as Json},
    proto::{self, TimelineKind},
    store::EVENT_IDS_KEPT_US,
};

use super::{
    customer::{self, Names, channel_name, offer_name},
    reading::{money, timestamp},
    value,
};

/// The types of entries that are no event of the rules.
pub const UPSERTED: &str = "upserted";
/// Every contact was forbidden.
pub const CONTACT_FORBIDDEN: &str = "contact_forbidden";
/// Contact was permitted again.
pub const CONTACT_PERMITTED: &str = "contact_permitted";

/// Whether personal attributes and fields are shown with their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personal {
    /// With their values.
    Shown,
    /// Only that they were set.
    Hidden,
}

/// An event as an entry; `None` for one that only counts for the lift.
pub fn entry(event: &Event, names: &Names<'_>, personal: Personal) -> Option<proto::TimelineEntry> {
    let mut entry = proto::TimelineEntry {
        time: Some(timestamp(event.at)),
        received: Some(timestamp(event.received_at)),
        kind: TimelineKind::Change as i32,
        late: is_late(event.at, event.received_at),
        event_id: format!("{:032x}", event.id.0),
        ..proto::TimelineEntry::default()
    };
    match &event.kind {
        EventKind::Exposed { .. } => return None,
        EventKind::Outcome { .. } => outcome(&mut entry, &event.kind, names, personal),
        EventKind::Customer { .. } => did(&mut entry, &event.kind, names, personal),
        EventKind::Upsert { attributes, consents, preferences, records } => {
            entry.r#type = UPSERTED.to_owned();
            let changed = [
                ("attributes", attributes_set(attributes, names, personal)),
                ("consents", listed(consents, |one| consent(one, names))),
                ("preferences", wishes(preferences, names)),
                ("records", listed(records, |one| record(one, names, personal))),
            ];
            entry.data = Some(object(changed.into_iter().filter_map(|(name, value)| Some((name, value?)))));
        }
        EventKind::DoNotContact { on, reason } => {
            entry.r#type = if *on { CONTACT_FORBIDDEN } else { CONTACT_PERMITTED }.to_owned();
            entry.note = noted(reason, personal);
        }
    }
    Some(entry)
}

/// Whether it came later than a repetition of it would be noticed.
fn is_late(at: Timestamp, received: Timestamp) -> bool {
    received.0.saturating_sub(at.0) > EVENT_IDS_KEPT_US
}

fn outcome(entry: &mut proto::TimelineEntry, kind: &EventKind, names: &Names<'_>, personal: Personal) {
    let EventKind::Outcome { presentation, outcome, reason, value, note, agent, link, .. } = kind else { return };
    entry.kind = TimelineKind::Outcome as i32;
    entry.r#type = outcome.name().to_owned();
    entry.channel = channel_name(names.ruleset, presentation.channel);
    entry.offer = offer_name(names.ruleset, presentation.offer);
    entry.decision_id = presentation.decision.to_string();
    entry.reason_code = customer::reason_code(names.ruleset, *reason);
    entry.amount = value.map(|value| money(&names.ruleset.currency, value));
    entry.note = noted(note, personal);
    entry.agent_id = agent.to_string();
    entry.link = link.to_string();
    entry.record_key = (names.record)(presentation.record);
}

fn did(entry: &mut proto::TimelineEntry, kind: &EventKind, names: &Names<'_>, personal: Personal) {
    let EventKind::Customer { event, channel, amount, items, data, .. } = kind else { return };
    entry.kind = TimelineKind::Event as i32;
    entry.r#type = customer::event_name(names.ruleset, *event);
    entry.channel = channel.map_or_else(String::new, |id| channel_name(names.ruleset, id));
    entry.amount = amount.map(|amount| money(&names.ruleset.currency, amount));
    entry.items = items.iter().map(|line| customer::item_name(names, line.item)).collect();
    entry.lines = items.iter().map(|one| line(one, names)).collect();
    // INVARIANT: it was written as an object
    entry.data = if data.is_empty() { None } else { serde_json::from_str(data).ok() };
    if let Some(data) = entry.data.as_mut().filter(|_| personal == Personal::Hidden) {
        let def = names.ruleset.schema.events.iter().find(|def| def.id == *event);
        for (name, value) in &mut data.fields {
            // what nobody declared may say anything
            if is_hidden(def.map(|def| &*def.fields), |field| *field.name == **name) && *value != null() {
                *value = HIDDEN.into();
            }
        }
    }
}

/// A text that people wrote, which may say anything.
pub(super) fn noted(text: &str, personal: Personal) -> String {
    if personal == Personal::Hidden && !text.is_empty() { HIDDEN } else { text }.to_owned()
}

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

/// Whether the field that is meant is personal, or not declared.
fn is_hidden(fields: Option<&[FieldDef]>, is_it: impl Fn(&FieldDef) -> bool) -> bool {
    fields.and_then(|fields| fields.iter().find(|field| is_it(field))).is_none_or(|field| field.pii)
}

fn line(one: &ItemLine, names: &Names<'_>) -> proto::TimelineLine {
    proto::TimelineLine {
        item: customer::item_name(names, one.item),
        quantity: one.quantity,
        unit_price: Some(money(&names.ruleset.currency, one.unit_price)),
    }
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Json)>) -> Struct {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn listed<T>(all: &[T], one: impl FnMut(&T) -> Json) -> Option<Json> {
    (!all.is_empty()).then(|| all.iter().map(one).collect::<Vec<_>>().into())
}

fn null() -> Json {
    Kind::NullValue(0).into()
}

fn attributes_set(set: &[(AttrId, Option<Value>)], names: &Names<'_>, personal: Personal) -> Option<Json> {
    let field = |(id, value): &(AttrId, Option<Value>)| {
        let def = stored(names, *id);
        let name = def.map_or_else(|| format!("{:016x}", id.0), |def| def.name.to_string());
        let hidden = personal == Personal::Hidden && def.is_none_or(|def| def.pii);
        let shown = match value {
            None => null(),
            Some(_) if hidden => HIDDEN.into(),
            Some(value) => value::write_json(&names.ruleset.currency, value),
        };
        (name, shown)
    };
    (!set.is_empty()).then(|| set.iter().map(field).collect::<Struct>().into())
}

fn stored<'a>(names: &Names<'a>, id: AttrId) -> Option<&'a AttributeDef> {
    let schema = &names.ruleset.schema;
    schema.attributes.iter().find(|def| def.id == id && def.source == AttributeSource::Stored)
}

fn consent(one: &Consent, names: &Names<'_>) -> Json {
    let channel = one.channel.map_or_else(String::new, |id| channel_name(names.ruleset, id));
    let texts = [
        ("channel", channel),
        ("purpose", purpose(one.purpose).to_owned()),
        ("permission", permission(one.permission).to_owned()),
        ("source", one.source.to_string()),
        ("proof", one.proof.to_string()),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.into()));
    let time = value::write_json(&names.ruleset.currency, &Value::Timestamp(one.at));
    object(texts.chain([("time", time)])).into()
}

fn purpose(purpose: ConsentPurpose) -> &'static str {
    match purpose {
        ConsentPurpose::Marketing => "marketing",
        ConsentPurpose::Service => "service",
        ConsentPurpose::Profiling => "profiling",
    }
}

fn permission(permission: Permission) -> &'static str {
    match permission {
        Permission::Unknown => "unknown",
        Permission::Granted => "granted",
        Permission::Denied => "denied",
    }
}

fn wishes(all: &[Preference], names: &Names<'_>) -> Option<Json> {
    let field = |one: &Preference| match one {
        Preference::Channel(id) => ("channel", id.map_or_else(null, |id| channel_name(names.ruleset, id).into())),
        Preference::Language(language) => ("language", language.as_deref().map_or_else(null, Json::from)),
        Preference::QuietHours(hours) => ("quiet_hours", hours.map_or_else(null, |hours| quiet_hours(hours).into())),
        Preference::ContactsPerWeek(most) => ("contacts_per_week", most.map_or_else(null, |n| f64::from(n).into())),
    };
    (!all.is_empty()).then(|| object(all.iter().map(field)).into())
}

/// `21:00-08:00`, of minutes of the day.
fn quiet_hours((from, until): (u16, u16)) -> String {
    format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
}

/// Which record of which list, with what was set.
fn record(one: &RecordChange, names: &Names<'_>, personal: Personal) -> Json {
    let def = names.ruleset.schema.records.iter().find(|def| def.id == one.list);
    let list = def.map_or_else(|| format!("{:016x}", one.list.0), |def| def.name.to_string());
    let declared = def.map(|def| &*def.fields);
    let field = |(id, value): &(AttrId, Value)| {
        let known = declared.and_then(|fields| fields.iter().find(|field| field.id == *id));
        let name = known.map_or_else(|| format!("{:08x}", id.0), |field| field.name.to_string());
        let hidden = personal == Personal::Hidden && is_hidden(declared, |field| field.id == *id);
        (name, if hidden { HIDDEN.into() } else { value::write_json(&names.ruleset.currency, value) })
    };
    let set = match &one.fields {
        Some(fields) => ("fields", fields.iter().map(field).collect::<Struct>().into()),
        None => ("removed", true.into()),
    };
    object([("list", list.into()), ("key", Json::from(&*one.key)), set]).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            AttributeType, EventId, EventTypeId, ItemId,
            schema::{EventDef, RecordListDef},
        },
        grpc::convert::tests::ruleset,
        rules::Ruleset,
    };

    fn rules() -> Ruleset {
        let mut rules = ruleset();
        let field = |name: &str, pii| FieldDef {
            id: AttrId::of(name),
            name: name.into(),
            kind: AttributeType::Text,
            required: false,
            pii,
            range: None,
        };
        let fields = vec![field("topic", false), field("comment", true)];
        let survey = EventDef {
            id: EventTypeId::of("survey"),
            name: "survey".into(),
            bought: false,
            conversion: false,
            durable: false,
            client: false,
            fields: fields.clone(),
            open: true,
        };
        rules.schema.events.push(survey);
        rules.schema.records = vec![RecordListDef { id: AttrId::of("cases"), name: "cases".into(), fields, max: 4 }];
        rules
    }

    fn shown(kind: EventKind, personal: Personal) -> serde_json::Value {
        let rules = rules();
        let names = Names { ruleset: &rules, item: &|_| Some("mug".into()), record: &|_| "c-7".to_owned() };
        let at = Timestamp(1_300_000_000_000_000);
        let event = Event { id: EventId(7), at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind };
        serde_json::to_value(entry(&event, &names, personal).unwrap()).unwrap()
    }

    fn answered() -> EventKind {
        EventKind::Customer {
            event: EventTypeId::of("survey"),
            channel: None,
            amount: None,
            items: vec![ItemLine { item: ItemId(1), quantity: 3, unit_price: 250 }],
            bought: false,
            conversion: false,
            data: r#"{"topic":"delivery","comment":"call Ann","mail":"ann@example.org","none":null}"#.into(),
        }
    }

    #[test]
    fn who_may_not_see_personal_data_sees_declared_fields_only() {
        let hidden = shown(answered(), Personal::Hidden);
        let wanted = serde_json::json!({"topic": "delivery", "comment": "***", "mail": "***", "none": null});
        assert_eq!(hidden["data"], wanted);
        assert_eq!(shown(answered(), Personal::Shown)["data"]["comment"], "call Ann");
    }

    #[test]
    fn an_entry_has_what_joins_and_what_rebuilds() {
        let entry = shown(answered(), Personal::Shown);
        assert_eq!(entry["eventId"], format!("{:032x}", 7));
        assert_eq!((&entry["lines"][0]["item"], &entry["lines"][0]["quantity"]), (&"mug".into(), &3.into()));
        assert_eq!(entry["lines"][0]["unitPrice"]["amount"], "2.50");
    }

    #[test]
    fn a_change_tells_when_consent_was_given_and_what_a_record_says() {
        let field = |name: &str, text: &str| (AttrId::of(name), Value::Text(text.into()));
        let change = || EventKind::Upsert {
            attributes: Vec::new(),
            consents: vec![Consent {
                channel: None,
                purpose: ConsentPurpose::Marketing,
                permission: Permission::Denied,
                at: Timestamp(1_299_000_000_000_000),
                source: "form".into(),
                proof: "".into(),
            }],
            preferences: Vec::new(),
            records: vec![RecordChange {
                list: AttrId::of("cases"),
                key: "c1".into(),
                fields: Some(vec![field("topic", "delivery"), field("comment", "Ann"), field("gone", "x")]),
            }],
        };
        let told = shown(change(), Personal::Shown)["data"].clone();
        assert_eq!(told["consents"][0]["time"], "2011-03-01T17:20:00Z");
        assert_eq!(told["records"][0]["fields"]["comment"], "Ann");
        let hidden = shown(change(), Personal::Hidden)["data"]["records"][0]["fields"].clone();
        assert_eq!((&hidden["topic"], &hidden["comment"]), (&"delivery".into(), &"***".into()));
        assert_eq!(hidden.as_object().unwrap().values().filter(|value| *value == "***").count(), 2);
    }
}
