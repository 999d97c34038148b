//! An event as an entry of what happened to a customer: for pages of it and for
//! who subscribes.

use crate::{
    domain::{
        AttrId, AttributeDef, AttributeSource, Consent, ConsentPurpose, Event, EventKind, Permission, Preference,
        RecordChange, Timestamp, Value,
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

/// Whether personal attributes are shown with their values.
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
        ..proto::TimelineEntry::default()
    };
    match &event.kind {
        EventKind::Exposed { .. } => return None,
        EventKind::Outcome { .. } => outcome(&mut entry, &event.kind, names),
        EventKind::Customer { .. } => did(&mut entry, &event.kind, names),
        EventKind::Upsert { attributes, consents, preferences, records } => {
            entry.r#type = UPSERTED.to_owned();
            let changed = [
                ("attributes", attributes_set(attributes, names, personal)),
                ("consents", listed(consents, |one| consent(one, names))),
                ("preferences", wishes(preferences, names)),
                ("records", listed(records, |one| record(one, names))),
            ];
            entry.data = Some(object(changed.into_iter().filter_map(|(name, value)| Some((name, value?)))));
        }
        EventKind::DoNotContact { on, reason } => {
            entry.r#type = if *on { CONTACT_FORBIDDEN } else { CONTACT_PERMITTED }.to_owned();
            entry.note = reason.to_string();
        }
    }
    Some(entry)
}

/// Whether it came later than a repetition of it would be noticed.
fn is_late(at: Timestamp, received: Timestamp) -> bool {
    received.0.saturating_sub(at.0) > EVENT_IDS_KEPT_US
}

fn outcome(entry: &mut proto::TimelineEntry, kind: &EventKind, names: &Names<'_>) {
    let EventKind::Outcome { presentation, outcome, reason, value, note, agent, link, .. } = kind else { return };
    entry.kind = TimelineKind::Outcome as i32;
    entry.r#type = outcome.name().to_owned();
    entry.channel = channel_name(names.ruleset, presentation.channel);
    entry.offer = offer_name(names.ruleset, presentation.offer);
    entry.decision_id = presentation.decision.to_string();
    entry.reason_code = customer::reason_code(names.ruleset, *reason);
    entry.amount = value.map(|value| money(&names.ruleset.currency, value));
    entry.note = note.to_string();
    entry.agent_id = agent.to_string();
    entry.link = link.to_string();
}

fn did(entry: &mut proto::TimelineEntry, kind: &EventKind, names: &Names<'_>) {
    let EventKind::Customer { event, channel, amount, items, data, .. } = kind else { return };
    entry.kind = TimelineKind::Event as i32;
    entry.r#type = customer::event_name(names.ruleset, *event);
    entry.channel = channel.map_or_else(String::new, |id| channel_name(names.ruleset, id));
    entry.amount = amount.map(|amount| money(&names.ruleset.currency, amount));
    entry.items = items.iter().map(|line| customer::item_name(names, line.item)).collect();
    // INVARIANT: it was written as an object
    entry.data = if data.is_empty() { None } else { serde_json::from_str(data).ok() };
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
            Some(_) if hidden => "***".into(),
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
    object(texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.into()))).into()
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

/// Which record of which list; its fields are in the view of the customer.
fn record(one: &RecordChange, names: &Names<'_>) -> Json {
    let list = names.ruleset.schema.records.iter().find(|def| def.id == one.list);
    let list = list.map_or_else(|| format!("{:016x}", one.list.0), |def| def.name.to_string());
    let mut fields = vec![("list", list.into()), ("key", Json::from(&*one.key))];
    if one.fields.is_none() {
        fields.push(("removed", true.into()));
    }
    object(fields).into()
}
