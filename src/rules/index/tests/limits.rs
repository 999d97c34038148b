//! How large normal forms may become, and what the index is worth when they do.

use std::collections::HashMap;

use super::world::{Dice, Person, compile, schema};
use crate::{
    domain::{Currency, OfferSet},
    rules::{
        CompileEnv, Condition, NORMAL_ROWS_MAX, Origin, Position,
        index::{Index, IndexBuffers, Policy, Rule},
    },
};

fn refusal(text: &str) -> String {
    let (schema, segments) = (schema(), HashMap::new());
    let position = Position { path: "rules/offers/a.yaml".into(), line: 7, column: 18 };
    let origin = Origin {
        position,
        source: format!("{}{text}", "\n".repeat(6)).as_str().into(),
        first_line: 1,
        exact_columns: true,
    };
    let env = CompileEnv {
        each: None,
        schema: &schema,
        currency: Currency { code: *b"GBP", minor_digits: 2 },
        segments: &segments,
        macros: &segments,
        parsed: None,
        lost: Default::default(),
    };
    match Condition::compile(text, &origin, &env) {
        Ok(_) => String::new(),
        Err(errors) => format!("{}:{}: {}", errors[0].position.line, errors[0].position.column, errors[0].message),
    }
}

/// Six times two alternatives over different subjects are 64 rows.
fn alternatives(count: usize) -> String {
    let pairs: Vec<String> = (0..count).map(|n| format!("('a{n}' in p.tags || 'b{n}' in p.tags)")).collect();
    pairs.join(" && ")
}

#[test]
fn more_rows_than_the_limit_are_refused_with_what_to_do() {
    assert_eq!(NORMAL_ROWS_MAX, 1 << 6);
    assert_eq!(refusal(&alternatives(6)), "");
    let message = refusal(&alternatives(7));
    assert!(message.starts_with("7:18: the condition has more than 64 alternatives"), "{message}");
    assert!(message.contains("write `in [...]`"), "{message}");
}

#[test]
fn what_would_grow_without_bound_is_refused_soon() {
    let mut nested = "p.vip".to_owned();
    for n in 0..12 {
        nested = format!("({nested} ? 'a{n}' in p.tags : 'b{n}' in p.tags)");
    }
    assert!(refusal(&nested).contains("alternatives"));
    let wide: Vec<String> = (0..200).map(|n| format!("(p.age == {n} && 'a{n}' in p.tags)")).collect();
    assert!(refusal(&wide.join(" || ")).contains("alternatives"));
}

#[test]
fn alternatives_over_one_subject_are_one_row() {
    let schema = schema();
    let rows = |text: &str| compile(text, &schema).map(|condition| condition.rows().len());
    let ages: Vec<String> = (0..150).map(|n| format!("p.age == {}", n * 3)).collect();
    assert_eq!(rows(&ages.join(" || ")), Some(1));
    assert_eq!(rows("p.country == 'DE' || !(p.country != 'AT')"), Some(1));
    assert_eq!(rows("p.age > 5 && p.age < 3"), Some(0));
    assert_eq!(rows("p.last_order < now - duration('30d') && now - p.last_order < duration('10d')"), Some(0));
    assert_eq!(rows("p.age > 5 || p.age <= 5 || !has(p.age)"), Some(2));
    assert_eq!(rows("(p.vip && p.age > 5) || (p.vip && p.age < 3)"), Some(1));
    assert_eq!(rows("p.vip || (p.vip && p.open)"), Some(1));
    assert_eq!(rows("p.vip ? p.age > 1 : p.age > 1"), Some(1));
}

#[test]
fn memory_stays_linear_in_the_literals() {
    let (schema, mut dice) = (schema(), Dice(5));
    let mut per_offer = Vec::new();
    for offers in [2_000, 8_000] {
        let rule = |n: usize| Rule {
            conditions: [compile(&format!("p.age >= {} && p.spend < money('{n}')", n * 7), &schema), None, None],
            ..Rule::default()
        };
        let index = Index::of((0..offers).map(rule).collect());
        let mut set = OfferSet::all(offers);
        let mut buffers = IndexBuffers::default();
        index.begin(&mut buffers);
        Person::draw(&mut dice).facts(&schema, |f| index.keep_true(Policy::Eligibility, f, &mut buffers, &mut set));
        per_offer.push(index.bytes() / offers);
    }
    assert!(per_offer.iter().all(|bytes| *bytes < 128), "{per_offer:?} bytes an offer");
}
