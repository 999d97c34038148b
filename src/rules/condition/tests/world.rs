//! A small schema and profiles to try conditions on.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{
        AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, Cell, Currency, Facts, Profile, Request,
        Schema, Timestamp, Value,
    },
    rules::{CompileEnv, Condition, Number, Origin, Position, RuleError, SegmentSource, Truth},
};

pub const GBP: Currency = Currency { code: *b"GBP", minor_digits: 2 };
pub const NOW: Timestamp = Timestamp(1_300_000_000_000_000);

/// Schema, segments and values by full name.
pub struct World {
    pub schema: Schema,
    pub segments: HashMap<Arc<str>, SegmentSource>,
    pub macros: HashMap<Arc<str>, SegmentSource>,
    pub values: HashMap<String, Value>,
    /// What is not read, whether there is a value or not.
    pub hidden: Vec<&'static str>,
}

pub fn origin(text: &str) -> Origin {
    Origin {
        first_line: 1,
        position: Position { path: "rules/a.yaml".into(), line: 1, column: 1 },
        source: text.into(),
        exact_columns: true,
    }
}

impl World {
    pub fn new() -> Self {
        let members: Arc<[Arc<str>]> = ["en".into(), "de".into(), "fr".into()].into();
        let kinds = [
            ("p.age", AttributeType::Int),
            ("p.visits", AttributeType::Int),
            ("p.score", AttributeType::Double),
            ("p.ratio", AttributeType::Double),
            ("p.country", AttributeType::Text),
            ("p.city", AttributeType::Text),
            ("p.language", AttributeType::Enum(members)),
            ("p.tags", AttributeType::Set),
            ("p.vip", AttributeType::Bool),
            ("p.open", AttributeType::Bool),
            ("p.birthday", AttributeType::Date),
            ("p.joined", AttributeType::Timestamp),
            ("p.spend", AttributeType::Money),
            ("ctx.basket", AttributeType::Money),
        ];
        let mut schema = Schema::default();
        for (at, (full_name, kind)) in kinds.into_iter().enumerate() {
            let slot = AttrSlot(at as u16);
            let name = full_name.split_once('.').map_or("", |n| n.1);
            schema.by_name.insert(full_name.into(), slot);
            schema.attributes.push(AttributeDef {
                slot,
                id: AttrId::of(name),
                name: name.into(),
                full_name: full_name.into(),
                kind,
                source: AttributeSource::Context,
                default: None,
                range: None,
                pii: false,
                behavioural: false,
                client: false,
                verified: false,
            });
        }
        Self { schema, segments: HashMap::new(), macros: HashMap::new(), values: HashMap::new(), hidden: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.into(), value);
        self
    }

    pub fn hiding(mut self, name: &'static str) -> Self {
        self.hidden.push(name);
        self
    }

    pub fn segment(mut self, name: &str, text: &str) -> Self {
        let mut origin = origin(text);
        origin.position.path = format!("rules/{name}.yaml").as_str().into();
        self.segments.insert(name.into(), SegmentSource { text: text.into(), origin });
        self
    }

    pub fn named(mut self, name: &str, text: &str) -> Self {
        let mut origin = origin(text);
        origin.position.path = format!("rules/{name}.yaml").as_str().into();
        self.macros.insert(name.into(), SegmentSource { text: text.into(), origin });
        self
    }

    pub fn env(&self) -> CompileEnv<'_> {
        CompileEnv {
            each: None,
            schema: &self.schema,
            currency: GBP,
            segments: &self.segments,
            macros: &self.macros,
            parsed: None,
            lost: Default::default(),
        }
    }

    pub fn compile(&self, text: &str) -> Result<Condition, Vec<RuleError>> {
        Condition::compile(text, &origin(text), &self.env())
    }

    pub fn number(&self, text: &str) -> Result<Number, Vec<RuleError>> {
        Number::compile(text, &origin(text), &self.env())
    }

    /// Runs something on the facts of the values.
    pub fn facts<T>(&self, run: impl FnOnce(&Facts<'_>) -> T) -> T {
        let mut request = Request::default();
        let blank = |def: &AttributeDef| if def.kind == AttributeType::Set { Cell::EmptySet } else { Cell::Missing };
        let mut cells: Vec<Cell> = self.schema.attributes.iter().map(blank).collect();
        for (name, value) in &self.values {
            let slot = self.schema.by_name[name.as_str()];
            cells[slot.index()] = Cell::Context(request.context.len() as u16);
            request.context.push((AttrId(0), value.clone()));
        }
        for name in &self.hidden {
            cells[self.schema.by_name[*name].index()] = Cell::Unverified;
        }
        let profile = Profile::default();
        run(&Facts {
            cells: &cells,
            derived: &[],
            schema: &self.schema,
            profile: &profile,
            request: &request,
            now: NOW,
            record: None,
        })
    }

    pub fn truth(&self, text: &str) -> Truth {
        let condition = self.compile(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        self.facts(|facts| condition.truth(facts))
    }

    pub fn value(&self, text: &str) -> Option<f64> {
        let number = self.number(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        self.facts(|facts| number.value(facts))
    }

    /// The first error as `column: message`.
    pub fn error(&self, text: &str) -> String {
        match self.compile(text) {
            Ok(_) => panic!("{text} compiles"),
            Err(errors) => format!("{}: {}", errors[0].position.column, errors[0].message),
        }
    }
}

pub fn text(value: &str) -> Value {
    Value::Text(value.into())
}

pub fn set(members: &[&str]) -> Value {
    Value::Set(members.iter().map(|m| Box::from(*m)).collect())
}
