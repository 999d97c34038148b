//! Typed fields: of events and of records; and lists of records.

use std::sync::Arc;

use crate::{
    domain::{
        AttrId, Currency,
        profile::RECORDS_MAX,
        schema::{FieldDef, RecordListDef},
    },
    rules::{
        keys::{EVENT_FIELD, RECORDS, Section},
        report::{Noun, Report},
        source::{Mark, Node},
    },
};

use super::{
    declare::{TopLevel, check_hashes, declared},
    schema::{attribute_type, bounds},
};

/// Most fields of an event or a record.
pub const FIELDS_MAX: usize = 64;
/// Most records of a list that a customer has, unless declared otherwise.
const RECORDS_DEFAULT: u16 = 16;
/// Most records of a list that may be declared.
const RECORDS_PER_LIST_MAX: i64 = 64;
/// What every event has: no field is named so.
const EVENT_NAMES: [&str; 5] = ["amount", "channel", "item", "items", "quantity"];

/// Reads a list of fields, sorted by name.
pub fn read(report: &mut Report<'_>, node: &Node, (section, currency): (&'static Section, Currency)) -> Vec<FieldDef> {
    let Some(nodes) = report.list(node) else { return Vec::new() };
    let mut all: Vec<FieldDef> = Vec::new();
    let mut marks = Vec::new();
    for field in declared(report, nodes, section, Noun::Field) {
        if section.name == EVENT_FIELD.name && EVENT_NAMES.contains(&&*field.id) {
            report.error(field.id_mark, format!("`{}` is given with every event: name the field otherwise", field.id));
            continue;
        }
        let Some(kind) = attribute_type(report, &field.fields) else { continue };
        let range = field.fields.get("range").and_then(|node| bounds(report, node, &kind, currency));
        let required = report.flag(field.fields.get("required"), false);
        let pii = report.flag(field.fields.get("pii"), false);
        marks.push((AttrId::of(&field.id), field.id.clone(), field.id_mark));
        all.push(FieldDef { id: AttrId::of(&field.id), name: field.id, kind, required, pii, range });
    }
    if all.len() > FIELDS_MAX {
        report.error(node.mark, format!("there are {} fields, at most {FIELDS_MAX} are allowed", all.len()));
    }
    check_hashes(report, Noun::Field, marks);
    all
}

/// Reads the lists of records, sorted by name: where each is declared, and
/// whether it is behaviour.
pub fn records(report: &mut Report<'_>, top: &TopLevel<'_>, currency: Currency) -> Vec<(Mark, bool, RecordListDef)> {
    let mut all = Vec::new();
    let mut marks: Vec<(AttrId, Arc<str>, _)> = Vec::new();
    for list in top.declared(report, "records", &RECORDS, Noun::Records) {
        let max = list.fields.get("max").and_then(|node| report.whole(node, 1..=RECORDS_PER_LIST_MAX));
        let max = max.and_then(|max| u16::try_from(max).ok()).unwrap_or(RECORDS_DEFAULT);
        let fields = list.fields.get("fields");
        let fields = fields.map(|node| read(report, node, (&crate::rules::keys::RECORD_FIELD, currency)));
        marks.push((AttrId::of(&list.id), list.id.clone(), list.id_mark));
        let behavioural = report.flag(list.fields.get("behavioural"), false);
        let fields = fields.unwrap_or_default();
        let def = RecordListDef { id: AttrId::of(&list.id), name: list.id, fields, max };
        all.push((list.id_mark, behavioural, def));
    }
    check_hashes(report, Noun::Records, marks);
    check_room(report, &all);
    all
}

/// Checks that a person who has the most of every list has room for it, so that
/// nothing is ever dropped.
fn check_room(report: &mut Report<'_>, lists: &[(Mark, bool, RecordListDef)]) {
    let mut sum = 0;
    for (mark, _, list) in lists {
        sum += usize::from(list.max);
        if sum > RECORDS_MAX {
            let why = format!(
                "the lists up to `{}` may hold {sum} records of one person, and at most {RECORDS_MAX} are kept: lower \
                 `max` of some",
                list.name
            );
            return report.error(*mark, why);
        }
    }
}
