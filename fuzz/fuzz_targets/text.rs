//! Rule text: any text compiles or is refused, and what compiles evaluates and
//! explains itself, without a panic.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rapport::{
    domain::{Cell, Facts, Profile, Request, Timestamp},
    rules::{Condition, Origin, Position, SourceFile, Vocabulary},
};

const SCHEMA: &str = "
settings: { currency: GBP }
attributes:
  - { id: age, type: int }
  - { id: score, type: double }
  - { id: country, type: string }
  - { id: tags, type: set<string> }
  - { id: vip, type: bool }
  - { id: birthday, type: date }
  - { id: joined, type: timestamp }
  - { id: spend, type: money }
  - { id: size, type: enum, values: [s, m, l] }
segments: [{ id: grown, when: p.age >= macro.limit }]
macros: [{ id: limit, expression: '18' }]
";

static VOCABULARY: LazyLock<Option<Vocabulary>> = LazyLock::new(|| {
    let file = SourceFile { path: "schema.yaml".into(), text: SCHEMA.into() };
    Vocabulary::read(&[file]).ok()
});

fuzz_target!(|data: &[u8]| {
    let (Ok(text), Some(vocabulary)) = (std::str::from_utf8(data), &*VOCABULARY) else { return };
    let schema = &vocabulary.schema;
    let (profile, request) = (Profile::default(), Request::default());
    let cells = vec![Cell::Missing; schema.attributes.len()];
    let now = Timestamp(1_300_000_000_000_000);
    let facts = Facts { cells: &cells, schema, profile: &profile, request: &request, now };
    if let Ok(expression) = vocabulary.expression("expr", text) {
        expression.answer(&facts);
    }
    let position = Position { path: "expr".into(), line: 1, column: 1 };
    let origin = Origin { position, source: text.into(), exact_columns: false };
    if let Ok(condition) = Condition::compile(text, &origin, &vocabulary.env()) {
        condition.truth(&facts);
        condition.failed(&facts);
        condition.bare_negations(schema);
        condition.always();
    }
});
