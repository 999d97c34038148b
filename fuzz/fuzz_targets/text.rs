//! Rule text: any text compiles or is refused; what compiles evaluates and
//! explains itself without a panic, and the index answers as the condition does.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use rapport::{
    domain::{AttributeType, Cell, Date, Facts, OfferSet, Profile, Request, Schema, Timestamp, Value},
    rules::{Condition, Index, IndexBuffers, Origin, Policy, Position, SourceFile, Truth, Vocabulary, index::Rule},
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

/// Rules of one index: enough that it is asked, and not its conditions one by one.
const RULES: usize = 64;

fuzz_target!(|data: &[u8]| {
    let (Ok(text), Some(vocabulary)) = (std::str::from_utf8(data), &*VOCABULARY) else { return };
    let schema = &vocabulary.schema;
    let profile = Profile::default();
    let now = Timestamp(1_300_000_000_000_000);
    let (nobody, missing) = (Request::default(), vec![Cell::Missing; schema.attributes.len()]);
    let (somebody, cells) = known(schema, data);
    let nobody = Facts { cells: &missing, schema, profile: &profile, request: &nobody, now, record: None };
    let somebody = Facts { cells: &cells, schema, profile: &profile, request: &somebody, now, record: None };
    if let Ok(expression) = vocabulary.expression("expr", text) {
        expression.answer(&nobody);
        expression.answer(&somebody);
    }
    let position = Position { path: "expr".into(), line: 1, column: 1 };
    let origin = Origin { position, source: text.into(), first_line: 1, exact_columns: false };
    let Ok(condition) = Condition::compile(text, &origin, &vocabulary.env()) else { return };
    condition.bare_negations(schema);
    let always = condition.always();
    let condition = Arc::new(condition);
    let rule = Rule { conditions: [Some(condition.clone()), None, None], ..Rule::default() };
    let index = Index::of(vec![rule; RULES]);
    for facts in [&nobody, &somebody] {
        let truth = condition.truth(facts);
        let holds = condition.holds(facts);
        assert_eq!(holds, truth == Truth::True);
        assert!(condition.failed(facts).is_empty() || !holds);
        assert!(always.is_none_or(|always| always == holds));
        let (mut set, mut buffers) = (OfferSet::all(RULES), IndexBuffers::default());
        index.begin(&mut buffers);
        index.keep_true(Policy::Eligibility, facts, &mut buffers, &mut set);
        assert_eq!(set.len(), if holds { RULES } else { 0 });
    }
});

/// Values for some of the attributes, as the data has it.
fn known(schema: &Schema, data: &[u8]) -> (Request, Vec<Cell>) {
    let mut request = Request::default();
    let mut cells = vec![Cell::Missing; schema.attributes.len()];
    for (at, (attribute, cell)) in schema.attributes.iter().zip(&mut cells).enumerate() {
        let byte = data.get(at).copied().unwrap_or_default();
        let number = i64::from(byte % 64) - 8;
        let value = match &attribute.kind {
            _ if byte % 5 == 0 => continue,
            AttributeType::Bool => Value::Bool(byte % 2 == 0),
            AttributeType::Int => Value::Int(number),
            AttributeType::Double => Value::Double(number as f64 / 4.0),
            AttributeType::Text => Value::Text(if byte % 2 == 0 { "DE" } else { "a" }.into()),
            AttributeType::Enum(members) => match members.get(usize::from(byte) % members.len().max(1)) {
                Some(member) => Value::Text((**member).into()),
                None => continue,
            },
            AttributeType::Set => Value::Set(["a".into(), "b".into()].into()),
            AttributeType::Timestamp => Value::Timestamp(Timestamp(number * 40_000_000_000_000)),
            AttributeType::Date => Value::Date(Date(i32::from(byte) * 90)),
            AttributeType::Money => Value::Money(number * 125),
        };
        *cell = Cell::Context(request.context.len() as u16);
        request.context.push((attribute.id, value));
    }
    (request, cells)
}
