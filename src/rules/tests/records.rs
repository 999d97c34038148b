//! Lists of records in conditions.

use super::{SAMPLE, compile_text, sample};
use crate::{
    domain::{AttrId, Cell, Cells, Facts, Profile, RecordChange, Request, StoredRecord, Timestamp, Value},
    rules::{Truth, Vocabulary},
};

fn record(key: &str, balance: Option<i64>) -> StoredRecord {
    let mut fields = vec![(AttrId::of("kind"), Value::Text("current".into()))];
    fields.extend(balance.map(|balance| (AttrId::of("balance"), Value::Money(balance))));
    fields.sort_by_key(|field| field.0);
    let change = RecordChange { list: AttrId::of("accounts"), key: key.into(), fields: Some(fields) };
    StoredRecord { change, at: Timestamp(0) }
}

/// What a condition comes to for a customer with these accounts.
fn truth(condition: &str, records: Vec<StoredRecord>) -> Truth {
    let asked = format!("segments:\n  - {{ id: asked, when: \"{condition}\" }}\n");
    let text = SAMPLE.replacen("segments:\n", &asked, 1);
    let rules = compile_text(&text).unwrap_or_else(|errors| panic!("{:#?}", errors.errors));
    let profile = Profile { records, ..Profile::default() };
    let slot = rules.schema.by_name["p.accounts"];
    let mut cells = Cells::of(vec![Cell::Missing; rules.schema.attributes.len()]);
    cells.list[slot.index()] = Cell::EmptySet;
    let keys: Box<[Box<str>]> = profile.records_of(AttrId::of("accounts")).map(|(key, _)| key.into()).collect();
    if !keys.is_empty() {
        cells.put(slot, Value::Set(keys));
    }
    let (request, now) = (Request::default(), Timestamp(0));
    let Cells { list, derived } = &cells;
    let facts =
        Facts { cells: list, derived, schema: &rules.schema, profile: &profile, request: &request, now, record: None };
    let asked = rules.segments.iter().find(|segment| &*segment.name == "asked").expect("a segment");
    asked.condition.truth(&facts)
}

#[test]
fn conditions_walk_over_records() {
    let accounts = || vec![record("a", Some(5_000)), record("b", Some(20_000)), record("c", None)];
    for (condition, wanted) in [
        ("p.accounts.exists(a, a.balance > money('100'))", Truth::True),
        ("p.accounts.exists(a, a.balance > money('1000'))", Truth::Unknown),
        ("p.accounts.exists(a, has(a.balance) && a.balance > money('1000'))", Truth::False),
        ("p.accounts.all(a, a.kind == 'current')", Truth::True),
        ("p.accounts.exists_one(a, !has(a.balance))", Truth::True),
        ("size(p.accounts.filter(a, has(a.balance))) == 2", Truth::True),
        ("size(p.accounts) == 3 && 'b' in p.accounts", Truth::True),
        ("p.accounts.exists(a, a == 'c' && !has(a.balance))", Truth::True),
        (
            "p.accounts.exists(a, p.accounts.exists(b, has(a.balance) && has(b.balance) && b.balance > a.balance))",
            Truth::True,
        ),
    ] {
        assert_eq!(truth(condition, accounts()), wanted, "{condition}");
    }
    assert_eq!(truth("p.accounts.exists(a, a.balance > money('100'))", Vec::new()), Truth::False);
    assert_eq!(truth("has(p.accounts)", Vec::new()), Truth::False);
}

#[test]
fn a_removed_record_is_not_there() {
    let mut removed = record("a", Some(1));
    removed.change.fields = None;
    assert_eq!(truth("has(p.accounts)", vec![removed]), Truth::False);
}

#[test]
fn mistakes_in_records_are_told() {
    let file = super::file("rules/all.yaml", SAMPLE);
    let vocabulary = Vocabulary::read(&[file]).unwrap();
    for (text, wanted) in [
        (
            "p.accounts.exists(a, a.balanc > money('1'))",
            "a record of `accounts` has no field `balanc`; did you mean `balance`?",
        ),
        (
            "p.accounts.exists(a, a.kind == 'savngs')",
            "`savngs` is not a value of `accounts.kind`; did you mean `savings`?",
        ),
        ("p.accounts.exists(a, a.balance > 1)", "write `money('1')`"),
        ("p.tags.exists(t, t.kind == 'x')", "has no fields"),
    ] {
        let errors = vocabulary.expression("x", text).expect_err(text);
        assert!(errors.iter().any(|error| error.message.contains(wanted)), "{text}: {errors:?}");
    }
}

#[test]
fn scenarios_have_records_and_what_their_events_fed() {
    let rules = sample();
    let scenario = &rules.scenarios[0];
    let balance = scenario.profile.record_field(AttrId::of("accounts"), "a1", AttrId::of("balance"));
    assert_eq!(balance, Some(&Value::Money(1_250)));
    assert_eq!(scenario.fed.len(), 2, "both purchases");
    assert!(scenario.fed.iter().all(|event| !event.feeds.is_empty()));
}
