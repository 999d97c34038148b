//! The customer of a scenario, as events would have left them.

use std::sync::Arc;

use crate::{
    domain::{
        AttrId, ChannelId, Consent, ConsentPurpose, CustomerKey, DecisionId, Event, EventId, EventKind, EventStat,
        EventTypeId, Interaction, ItemId, ItemLine, ItemTouch, OutcomeSet, OutcomeType, Profile, ReasonCode,
        RecordChange, RecordRef, StoredAttribute, StoredRecord, Timestamp, Value, profile, stable_hash64,
    },
    rules::{
        keys_scenarios::{CONSENT, INTERACTION, PAST_EVENT, PROFILE, PROFILE_RECORD},
        read::Fields,
        report::{Noun, Report},
        source::{Kind, Node},
    },
};

use super::{
    declare::Names,
    limits::outcome,
    scenarios::{PERMISSIONS, ScenarioEnv},
};

/// Most events of a scenario.
const EVENTS_MAX: usize = 1_000;

const PURPOSES: [(&str, ConsentPurpose); 3] = [
    ("marketing", ConsentPurpose::Marketing),
    ("service", ConsentPurpose::Service),
    ("profiling", ConsentPurpose::Profiling),
];

/// The customer of a scenario.
#[derive(Debug, Default)]
pub struct Who {
    /// The profile, but for its series.
    pub profile: Profile,
    /// What past events fed.
    pub fed: Vec<Event>,
    /// Whether the person is in the holdout.
    pub holdout: bool,
}

/// Reads a profile, and whether the person is in the holdout.
pub fn read(report: &mut Report<'_>, node: &Node, (name, now): (&Arc<str>, Timestamp), env: &ScenarioEnv<'_>) -> Who {
    let hash = stable_hash64(name);
    let key = CustomerKey((u128::from(hash) << 64) | u128::from(hash.rotate_left(32)) | 1);
    let mut who = Profile { key, version: 1, first_seen: now, ..Profile::default() };
    let mut fed = Vec::new();
    let Some(fields) = report.fields(node, &PROFILE) else { return Who { profile: who, ..Who::default() } };
    if let Some(node) = fields.get("attributes") {
        let values = env.values(report, node, &env.stored);
        let stored = values.into_iter().map(|(id, value)| StoredAttribute { id, value: Some(value), at: now });
        who.attributes = stored.collect();
        at_most(report, node, who.attributes.len(), profile::ATTRIBUTES_MAX);
    }
    if let Some(node) = fields.get("events") {
        fed = events(report, node, now, (&mut who, env));
        at_most(report, node, who.items.len(), profile::ITEMS_MAX);
    }
    if let Some(node) = fields.get("records") {
        records(report, node, now, (&mut who, env));
        at_most(report, node, who.records.len(), profile::RECORDS_MAX);
    }
    if let Some(node) = fields.get("interactions") {
        interactions(report, node, now, (&mut who, env));
        at_most(report, node, who.interactions.len(), profile::INTERACTIONS_MAX);
    }
    if let Some(node) = fields.get("consents") {
        consents(report, node, now, (&mut who, env));
        at_most(report, node, who.consents.len(), profile::CONSENTS_MAX);
    }
    who.do_not_contact = report.flag(fields.get("do_not_contact"), false).then_some(now);
    let holdout = report.flag(fields.get("holdout"), false);
    Who { profile: who, fed, holdout }
}

/// The records, sorted as profiles keep them.
fn records(report: &mut Report<'_>, node: &Node, now: Timestamp, (who, env): (&mut Profile, &ScenarioEnv<'_>)) {
    let lists = &env.ruleset.schema.records;
    let known = lists.iter().enumerate().map(|(at, list)| (list.name.clone(), at));
    let names: Names<usize> = Names::new(Noun::Records, known);
    for node in report.list(node).unwrap_or_default() {
        let Some(fields) = report.fields(node, &PROFILE_RECORD) else { continue };
        let list = fields.get("list").and_then(|node| names.read(report, node)).map(|at| &lists[at]);
        let key = fields.get("key").and_then(|node| report.label(node));
        let (Some(list), Some(key)) = (list, key) else { continue };
        let values = fields.get("fields").map(|node| env.field_values(report, node, &list.fields));
        let change = RecordChange { list: list.id, key: (&*key).into(), fields: Some(values.unwrap_or_default()) };
        if who.records.iter().any(|had| (had.change.list, &*had.change.key) == (list.id, &*key)) {
            report.error(node.mark, format!("the list `{}` has a record `{key}` already", list.name));
            continue;
        }
        who.records.push(StoredRecord { change, at: now });
    }
    who.records.sort_by(|a, b| (a.change.list, &a.change.key).cmp(&(b.change.list, &b.change.key)));
}

fn at_most(report: &mut Report<'_>, node: &Node, count: usize, max: usize) {
    if count > max {
        report.error(node.mark, format!("a profile keeps at most {max} of these, found {count}"));
    }
}

/// The moment of something past: one of `time` and `ago`.
fn moment(report: &mut Report<'_>, fields: &Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let (node, at) = match (fields.get("time"), fields.get("ago")) {
        (Some(node), None) => (node, report.moment(node)?),
        (None, Some(node)) => (node, now.plus_us(-report.duration(node)?)),
        _ => {
            report.error(fields.mark, "expected exactly one of `time` and `ago`");
            return None;
        }
    };
    if at > now {
        report.error(node.mark, "it is after the scenario's `now`");
        return None;
    }
    Some(at)
}

/// Adds past events to the counts of a profile; answers what they fed.
fn events(
    report: &mut Report<'_>,
    node: &Node,
    now: Timestamp,
    (who, env): (&mut Profile, &ScenarioEnv<'_>),
) -> Vec<Event> {
    let schema = &env.ruleset.schema;
    let known = schema.events.iter().enumerate().map(|(at, event)| (event.name.clone(), at));
    let types: Names<usize> = Names::new(Noun::Event, known);
    let mut fed = Vec::new();
    let nodes = report.list(node).unwrap_or_default();
    at_most(report, node, nodes.len(), EVENTS_MAX);
    for node in nodes.iter().take(EVENTS_MAX) {
        let Some(fields) = report.fields(node, &PAST_EVENT) else { continue };
        let event = fields.get("type").and_then(|node| types.read(report, node));
        let at = moment(report, &fields, now);
        let currency = env.ruleset.currency;
        let given = fields.get("amount").and_then(|node| report.money(node, currency));
        let names = fields.get("items").map(|node| items(report, node)).unwrap_or_default();
        let channel = fields.get("channel").and_then(|node| env.channels.read(report, node));
        let Some(def) = event.map(|at| &schema.events[at]) else { continue };
        let said = fields.get("fields").map(|node| env.field_values(report, node, &def.fields));
        let Some(at) = at else { continue };
        let (event, bought, amount) = (def.id, def.bought, given.unwrap_or_default());
        let past = Past { event, at, channel, amount: given, names: &names, fields: &said.unwrap_or_default() };
        fed.extend(past.fed(env, fed.len()));
        who.first_seen = who.first_seen.min(at);
        who.items.extend(names.iter().map(|name| ItemTouch { at, item: ItemId::of(name), bought }));
        match who.stats.iter_mut().find(|stat| stat.event == event) {
            Some(stat) => {
                stat.count += 1;
                stat.amount = stat.amount.saturating_add(amount);
                stat.first_at = stat.first_at.min(at);
                stat.last_at = stat.last_at.max(at);
            }
            None => who.stats.push(EventStat { event, count: 1, amount, first_at: at, last_at: at }),
        }
    }
    who.stats.sort_by_key(|stat| stat.event);
    who.items.sort();
    who.items.dedup();
    fed
}

/// A past event.
struct Past<'a> {
    event: EventTypeId,
    at: Timestamp,
    channel: Option<ChannelId>,
    amount: Option<i64>,
    names: &'a [Box<str>],
    fields: &'a [(AttrId, Value)],
}

impl Past<'_> {
    /// What it fed, as a change of nothing else; nothing when it fed nothing.
    fn fed(&self, env: &ScenarioEnv<'_>, number: usize) -> Option<Event> {
        let line = |name: &str| ItemLine { item: ItemId::of(name), quantity: 1, unit_price: 0 };
        let kind = EventKind::Customer {
            event: self.event,
            channel: self.channel,
            amount: self.amount,
            items: self.names.iter().map(|name| line(name)).collect(),
            bought: false,
            conversion: false,
            data: Box::default(),
        };
        let (id, at) = (EventId(number as u128 + 1), self.at);
        let event = Event { id, at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind };
        let feeds = env.ruleset.feeds(&event, self.fields, self.names);
        let nothing = EventKind::Upsert {
            attributes: Vec::new(),
            consents: Vec::new(),
            preferences: Vec::new(),
            records: Vec::new(),
        };
        (!feeds.is_empty()).then_some(Event { feeds, kind: nothing, ..event })
    }
}

/// Item ids; numbers are fine.
fn items(report: &mut Report<'_>, node: &Node) -> Vec<Box<str>> {
    let mut items = Vec::new();
    for node in report.list(node).unwrap_or_default() {
        let item = match &node.kind {
            Kind::Int(number) => Some(number.to_string().into()),
            _ => report.label(node),
        };
        items.extend(item.map(|item: Arc<str>| Box::from(&*item)));
    }
    items
}

fn interactions(report: &mut Report<'_>, node: &Node, now: Timestamp, (who, env): (&mut Profile, &ScenarioEnv<'_>)) {
    let reasons = env.ruleset.decline_reasons.iter().map(|reason| (reason.code.clone(), reason.id));
    let reasons: Names<ReasonCode> = Names::new(Noun::DeclineReason, reasons);
    let nodes = report.list(node).unwrap_or_default();
    for (at, node) in nodes.iter().enumerate() {
        let Some(fields) = report.fields(node, &INTERACTION) else { continue };
        who.interactions.extend(interaction(report, &fields, (at, now), (env, &reasons)));
    }
    if let Some(earliest) = who.interactions.iter().map(|interaction| interaction.at).min() {
        who.first_seen = who.first_seen.min(earliest);
    }
    who.interactions.sort_by_key(|i| (i.at, i.decision, i.offer));
}

fn interaction(
    report: &mut Report<'_>,
    fields: &Fields<'_>,
    (number, now): (usize, Timestamp),
    (env, reasons): (&ScenarioEnv<'_>, &Names<ReasonCode>),
) -> Option<Interaction> {
    let offer = fields.get("offer").and_then(|node| env.offers.read(report, node));
    let channel = fields.get("channel").and_then(|node| env.channels.read(report, node));
    let at = moment(report, fields, now);
    let mut outcomes = OutcomeSet::default();
    if let Some(node) = fields.get("outcomes") {
        let nodes = report.list(node).unwrap_or_default();
        if nodes.is_empty() && matches!(node.kind, Kind::List(_)) {
            report.error(node.mark, "an interaction needs at least one outcome");
        }
        outcomes = nodes.iter().filter_map(|node| outcome(report, node)).fold(outcomes, OutcomeSet::with);
    }
    let reason = fields.get("reason").and_then(|node| {
        if !outcomes.has(OutcomeType::Decline) {
            report.error(node.mark, "only a decline has a reason: add `decline` to `outcomes`, or leave `reason` out");
        }
        reasons.read(report, node)
    });
    let each = offer.and_then(|id| env.ruleset.offer(*env.ruleset.offer_slots.get(&id)?).each);
    let record = fields.get("record").and_then(|node| match (each, report.label(node)) {
        (Some(each), Some(key)) => Some(RecordRef::of(each.list, &key)),
        (None, Some(_)) => {
            report.error(node.mark, "only an offer with `for_each` speaks of a record: leave `record` out");
            None
        }
        (_, None) => None,
    });
    let (at, record) = (at?, record.unwrap_or_default());
    let answer = |outcome: OutcomeType| {
        outcome.is_positive()
            || matches!(outcome, OutcomeType::Decline | OutcomeType::Dismiss | OutcomeType::Unsubscribe)
    };
    Some(Interaction {
        record,
        decision: DecisionId::new(at.millis().unsigned_abs(), number as u128),
        offer: offer?,
        channel: channel?,
        at,
        reason_at: if reason.is_some() { at } else { Timestamp::default() },
        answered_at: if outcomes.iter().any(answer) { at } else { Timestamp::default() },
        outcomes,
        reason: reason.unwrap_or_default(),
    })
}

fn consents(report: &mut Report<'_>, node: &Node, now: Timestamp, (who, env): (&mut Profile, &ScenarioEnv<'_>)) {
    for node in report.list(node).unwrap_or_default() {
        let Some(fields) = report.fields(node, &CONSENT) else { continue };
        let purpose = fields.get("purpose").and_then(|node| report.one_of(node, &PURPOSES));
        let channel = match fields.get("channel") {
            None => Some(None),
            Some(node) => env.channels.read(report, node).map(Some),
        };
        let permission = fields.get("permission").and_then(|node| report.one_of(node, &PERMISSIONS));
        let (Some(purpose), Some(channel), Some(permission)) = (purpose, channel, permission) else { continue };
        if who.consents.iter().any(|consent| (consent.channel, consent.purpose) == (channel, purpose)) {
            report.error(node.mark, "there is a consent for this channel and purpose already");
            continue;
        }
        let (source, proof) = ("scenario".into(), Box::default());
        who.consents.push(Consent { channel, purpose, permission, at: now, source, proof });
    }
    who.consents.sort_by_key(|consent| (consent.channel, consent.purpose));
}
