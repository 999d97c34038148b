//! Records of a customer: accounts, subscriptions, cases.

use std::collections::BTreeSet;

use crate::{
    domain::{
        AttrId, Value,
        profile::{RecordChange, StoredRecord},
        schema::{FieldDef, RecordListDef},
    },
    grpc::structs::{self, Kind, Struct},
    proto,
    rules::Ruleset,
};

use super::{
    Reading,
    suggest::{did_you_mean, quoted},
    value,
};

/// Most records of one call, over all lists.
pub const RECORDS_MAX: usize = 64;
/// Most bytes of a record's key.
pub const KEY_BYTES_MAX: usize = 64;

/// Records to set or to remove, each once, checked against their declaration.
pub fn read(r: &mut Reading<'_>, wire: Vec<proto::RecordList>) -> Vec<RecordChange> {
    let len = wire.iter().map(|list| list.records.len()).sum();
    if !r.fits("records", len, RECORDS_MAX) || !r.fits("records", wire.len(), RECORDS_MAX) {
        return Vec::new();
    }
    let (mut changes, mut seen) = (Vec::with_capacity(len), BTreeSet::new());
    for (index, list) in wire.into_iter().enumerate() {
        let at = format!("records[{index}]");
        let Some(def) = declared(r, &at, &list.name) else { continue };
        for (index, one) in list.records.into_iter().enumerate() {
            let at = format!("{at}.records[{index}]");
            let Some(change) = record(r, &at, def, one) else { continue };
            if !seen.insert((change.list, change.key.clone())) {
                r.wrong(format!("{at}.key"), "stands twice: give every record once");
            }
            changes.push(change);
        }
    }
    changes
}

fn declared<'a>(r: &mut Reading<'a>, at: &str, name: &str) -> Option<&'a RecordListDef> {
    let lists = &r.ruleset.schema.records;
    let found = lists.iter().find(|list| *list.name == *name);
    if found.is_none() {
        let hint = did_you_mean(name, lists.iter().map(|list| &*list.name));
        let why = format!("{} is not a list under `records` in the rules{hint}", quoted(name));
        r.wrong(format!("{at}.name"), why);
    }
    found
}

fn record(r: &mut Reading<'_>, at: &str, def: &RecordListDef, wire: proto::CustomerRecord) -> Option<RecordChange> {
    if wire.key.is_empty() || wire.key.len() > KEY_BYTES_MAX {
        let why = format!("is {} bytes long: give 1 to {KEY_BYTES_MAX}", wire.key.len());
        r.wrong(format!("{at}.key"), why);
        return None;
    }
    let fields = if wire.removed { None } else { Some(fields(r, at, def, wire.fields.unwrap_or_default())) };
    Some(RecordChange { list: def.id, key: wire.key.into(), fields })
}

fn fields(r: &mut Reading<'_>, at: &str, def: &RecordListDef, wire: Struct) -> Vec<(AttrId, Value)> {
    let mut read: Vec<(AttrId, Value)> = Vec::with_capacity(wire.fields.len().min(def.fields.len()));
    let currency = r.ruleset.currency;
    for (name, json) in wire.fields {
        let Some(field) = def.fields.iter().find(|field| *field.name == *name) else {
            let hint = did_you_mean(&name, def.fields.iter().map(|field| &*field.name));
            let shown = quoted(&name);
            let why = format!("{shown} is not a field of `{}`{hint}", def.name);
            r.wrong(format!("{at}.fields.{}", shown.trim_matches('`')), why);
            continue;
        };
        match json.kind {
            None | Some(Kind::NullValue(_)) => {}
            Some(kind) => match value::stored((&field.kind, field.range), &currency, kind) {
                Ok(value) => read.push((field.id, value)),
                Err(why) => r.wrong(format!("{at}.fields.{name}"), why),
            },
        }
    }
    read.sort_unstable_by_key(|(id, _)| *id);
    let missing = |field: &&FieldDef| field.required && !read.iter().any(|(id, _)| *id == field.id);
    for field in def.fields.iter().filter(missing) {
        let why = format!("is missing or wrong: `{}` needs it", def.name);
        r.wrong(format!("{at}.fields.{}", field.name), why);
    }
    read
}

/// The records that are there, by list in order of their names.
pub fn write(records: &[StoredRecord], ruleset: &Ruleset) -> Vec<proto::RecordList> {
    let mut lists: Vec<proto::RecordList> = Vec::new();
    for stored in records {
        let Some(fields) = &stored.change.fields else { continue };
        let list = stored.change.list;
        let def = ruleset.schema.records.iter().find(|def| def.id == list);
        let name = def.map_or_else(|| format!("{:08x}", list.0), |def| def.name.to_string());
        let record = proto::CustomerRecord {
            key: stored.change.key.to_string(),
            fields: Some(written(fields, def, ruleset)),
            removed: false,
        };
        match lists.iter_mut().find(|list| list.name == name) {
            Some(list) => list.records.push(record),
            None => lists.push(proto::RecordList { name, records: vec![record] }),
        }
    }
    lists.sort_by(|a, b| a.name.cmp(&b.name));
    lists
}

fn written(fields: &[(AttrId, Value)], def: Option<&RecordListDef>, ruleset: &Ruleset) -> Struct {
    let name = |id: AttrId| {
        let field = def.and_then(|def| def.fields.iter().find(|field| field.id == id));
        field.map_or_else(|| format!("{:08x}", id.0), |field| field.name.to_string())
    };
    let fields = fields.iter();
    fields.map(|(id, value)| (name(*id), value::write_json(&ruleset.currency, value))).collect::<structs::Struct>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::AppError,
        domain::{Timestamp, schema::AttributeType},
        grpc::convert::tests::{context, fields as wrong, identity, ruleset},
    };

    fn rules() -> Ruleset {
        let mut rules = ruleset();
        let field = |name: &str, kind, required| FieldDef {
            id: AttrId::of(name),
            name: name.into(),
            kind,
            required,
            pii: false,
            range: None,
        };
        let fields = vec![field("balance", AttributeType::Money, true), field("open", AttributeType::Bool, false)];
        rules.schema.records =
            vec![RecordListDef { id: AttrId::of("accounts"), name: "accounts".into(), fields, max: 2 }];
        rules
    }

    fn given(lists: Vec<proto::RecordList>) -> Result<Vec<RecordChange>, AppError> {
        let rules = rules();
        let mut reading = Reading::new(&rules, &identity);
        let changes = read(&mut reading, lists);
        reading.done(changes)
    }

    fn list(name: &str, records: Vec<proto::CustomerRecord>) -> proto::RecordList {
        proto::RecordList { name: name.into(), records }
    }

    fn one(key: &str, fields: Vec<(&str, structs::Value)>) -> proto::CustomerRecord {
        proto::CustomerRecord { key: key.into(), fields: context(fields), removed: false }
    }

    #[test]
    fn records_are_read_and_shown_until_they_are_removed() {
        let kept = one("a1", vec![("balance", 12.5.into()), ("open", true.into())]);
        let gone = proto::CustomerRecord { key: "a2".into(), fields: None, removed: true };
        let changes = given(vec![list("accounts", vec![kept, gone])]).unwrap();
        let mut fields = vec![(AttrId::of("balance"), Value::Money(1_250)), (AttrId::of("open"), Value::Bool(true))];
        fields.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!((changes[0].list, &changes[0].fields), (AttrId::of("accounts"), &Some(fields)));
        assert_eq!((&*changes[1].key, &changes[1].fields), ("a2", &None));
        let stored = |change: &RecordChange| StoredRecord { change: change.clone(), at: Timestamp(1) };
        let shown = write(&changes.iter().map(stored).collect::<Vec<_>>(), &rules());
        assert_eq!((shown.len(), &*shown[0].name, shown[0].records.len()), (1, "accounts", 1));
        let json = serde_json::to_value(&shown[0].records[0]).unwrap();
        assert_eq!(json["fields"]["balance"]["amount"], "12.50", "{json}");
    }

    #[test]
    fn a_field_out_of_its_range_is_named() {
        let mut rules = rules();
        rules.schema.records[0].fields[0].range = Some((0.0, 10_000.0));
        let read = |balance: structs::Value| {
            let mut reading = Reading::new(&rules, &identity);
            let changes = read(&mut reading, vec![list("accounts", vec![one("a1", vec![("balance", balance)])])]);
            reading.done(changes)
        };
        assert!(read(100.0.into()).is_ok());
        assert!(read("99.50".into()).is_ok());
        for outside in [structs::Value::from(100.5), "-0.01".into()] {
            // out of range, and missing as it is required
            assert_eq!(wrong(read(outside)), ["records[0].records[0].fields.balance"; 2]);
        }
    }

    #[test]
    fn every_wrong_record_is_named() {
        let balance = || ("balance", structs::Value::from(1.0));
        let lists = vec![
            list("acounts", Vec::new()),
            list(
                "accounts",
                vec![
                    one("", vec![balance()]),
                    one("a1", vec![("balance", "much".into()), ("opne", true.into())]),
                    one("a2", vec![("open", true.into())]),
                    one("a3", vec![balance()]),
                    one("a3", vec![balance()]),
                ],
            ),
        ];
        let expected = [
            "records[0].name",
            "records[1].records[0].key",
            "records[1].records[1].fields.balance",
            "records[1].records[1].fields.balance",
            "records[1].records[1].fields.opne",
            "records[1].records[2].fields.balance",
            "records[1].records[4].key",
        ];
        assert_eq!(wrong(given(lists)), expected);
        let many = (0..=RECORDS_MAX).map(|n| one(&n.to_string(), vec![balance()])).collect();
        assert_eq!(wrong(given(vec![list("accounts", many)])), ["records"]);
    }
}
