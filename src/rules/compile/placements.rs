//! Placements, issues, groups.

use std::sync::Arc;

use crate::{
    domain::{ChannelSlot, PlacementId, PlacementSlot, Value},
    rules::{
        DataField, DataKind, Issue, Placement,
        keys::{DATA_FIELD, GROUP, ISSUE, PLACEMENT},
        report::{Noun, Report},
        source::Node,
    },
};

use super::{
    declare::{Declared, Names, TopLevel, check_hashes, declared},
    values::data_value,
};

/// Most placements, issues and groups each.
const PLACEMENTS_MAX: usize = 10_000;
/// Most slots of a placement.
pub const SLOTS_MAX: i64 = 100;
/// Most data fields of a placement.
const DATA_FIELDS_MAX: usize = 100;

const KINDS: [(&str, DataKind); 4] =
    [("text", DataKind::Text), ("number", DataKind::Number), ("bool", DataKind::Bool), ("url", DataKind::Url)];

/// The name of a data field's kind in rule files.
pub fn kind_name(kind: DataKind) -> &'static str {
    match kind {
        DataKind::Text => "text",
        DataKind::Number => "number",
        DataKind::Bool => "bool",
        DataKind::Url => "url",
    }
}

fn at_most<'d, 'n>(report: &mut Report<'_>, noun: Noun, all: &'d [Declared<'n>]) -> &'d [Declared<'n>] {
    if let Some(over) = all.get(PLACEMENTS_MAX) {
        let (count, noun) = (all.len(), noun.name());
        report.error(
            over.mark,
            format!("there are {count} declarations of a {noun}, at most {PLACEMENTS_MAX} are allowed"),
        );
    }
    &all[..all.len().min(PLACEMENTS_MAX)]
}

/// Reads the placements, by id.
pub fn read(report: &mut Report<'_>, top: &TopLevel<'_>, channels: &Names<ChannelSlot>) -> Vec<Placement> {
    let all = top.declared(report, "placements", &PLACEMENT, Noun::Placement);
    check_hashes(report, Noun::Placement, all.iter().map(|d| (PlacementId::of(&d.id), d.id.clone(), d.id_mark)));
    let mut placements = Vec::new();
    for declared in at_most(report, Noun::Placement, &all) {
        let fields = &declared.fields;
        let channel = fields.get("channel").and_then(|node| channels.read(report, node));
        let slots = fields.get("slots").and_then(|node| report.whole(node, 1..=SLOTS_MAX)).unwrap_or(1);
        let data = fields.get("data").map(|node| data_fields(report, node)).unwrap_or_default();
        let fallback = fields.get("fallback").and_then(|node| fallback(report, node, &data));
        let Some(channel) = channel else {
            report.lose(Noun::Placement);
            continue;
        };
        placements.push(Placement {
            slot: PlacementSlot(placements.len() as u16),
            id: PlacementId::of(&declared.id),
            name: declared.id.clone(),
            channel,
            slots: slots as u16,
            fields: data,
            fallback,
        });
    }
    placements
}

fn data_fields(report: &mut Report<'_>, node: &Node) -> Vec<DataField> {
    let nodes = report.list(node).unwrap_or_default();
    if nodes.len() > DATA_FIELDS_MAX {
        report.error(node.mark, format!("there are {} fields, at most {DATA_FIELDS_MAX} are allowed", nodes.len()));
    }
    let mut fields = Vec::new();
    // A data field has its id in the scope of its placement only.
    for declared in declared(report, nodes.iter().take(DATA_FIELDS_MAX), &DATA_FIELD, Noun::DataField) {
        let kind = declared.fields.get("type").map(|node| report.one_of(node, &KINDS)).unwrap_or(Some(DataKind::Text));
        let required = report.flag(declared.fields.get("required"), false);
        if let Some(kind) = kind {
            fields.push(DataField { name: declared.id.clone(), kind, required });
        }
    }
    fields
}

fn fallback(report: &mut Report<'_>, node: &Node, fields: &[DataField]) -> Option<Vec<(Arc<str>, Value)>> {
    let mut values = Vec::new();
    for (key, value) in report.entries(node)? {
        let Some(field) = fields.iter().find(|field| field.name == key.text) else {
            if report.knows_all(Noun::DataField) {
                let hint = report.did_you_mean(&key.text, fields.iter().map(|field| &*field.name));
                let shown = key.text.escape_debug();
                report.error(key.mark, format!("the placement declares no data field `{shown}`{hint}"));
            }
            continue;
        };
        if let Some(value) = data_value(report, value, field.kind) {
            values.push((field.name.clone(), value));
        } else {
            values.push((field.name.clone(), Value::Bool(false)));
        }
    }
    for field in fields.iter().filter(|field| field.required) {
        if !values.iter().any(|(name, _)| *name == field.name) {
            report.error(node.mark, format!("the fallback needs the data field `{}`", field.name));
        }
    }
    values.sort_by(|a, b| a.0.cmp(&b.0));
    Some(values)
}

/// Reads the issues, by id.
pub fn issues(report: &mut Report<'_>, top: &TopLevel<'_>) -> Vec<Issue> {
    let all = top.declared(report, "issues", &ISSUE, Noun::Issue);
    let read = |declared: &Declared<'_>| {
        let floor = declared.fields.get("floor").and_then(|node| report.number(node, f64::MIN..=f64::MAX));
        let lever = declared.fields.get("lever").and_then(|node| report.number(node, 0.0..=f64::MAX));
        Issue { name: declared.id.clone(), floor, lever: lever.unwrap_or(1.0) }
    };
    let issues: Vec<Issue> = all.iter().take(PLACEMENTS_MAX).map(read).collect();
    at_most(report, Noun::Issue, &all);
    issues
}

/// Reads the groups, by id.
pub fn groups(report: &mut Report<'_>, top: &TopLevel<'_>) -> Vec<Arc<str>> {
    let all = top.declared(report, "groups", &GROUP, Noun::Group);
    at_most(report, Noun::Group, &all).iter().map(|declared| declared.id.clone()).collect()
}
