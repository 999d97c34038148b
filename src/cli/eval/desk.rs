//! Expressions compiled once and answered for given values.

use std::{collections::HashMap, rc::Rc};

use serde_json::{Value as Json, json};

use crate::{
    cli::given::Given,
    domain::{AttrSlot, Timestamp, Value},
    rules::{Answer, Expression, RuleError, Vocabulary},
};

/// Most expressions kept compiled.
const KEPT_MAX: usize = 10_000;

/// Why something is unknown although nothing is missing.
const NO_RESULT: &str = "a calculation has no result";

type Compiled = Rc<Result<Expression, Vec<RuleError>>>;

/// A vocabulary and the expressions compiled against it.
pub struct Desk<'v> {
    vocabulary: &'v Vocabulary,
    kept: HashMap<String, Compiled>,
}

/// Why there is no answer.
pub enum Refused {
    /// The expression is wrong; at least one mistake.
    Rules(Vec<RuleError>),
    /// The given values are wrong; at least one line.
    Given(Vec<String>),
}

impl<'v> Desk<'v> {
    /// Nothing is compiled yet.
    pub fn new(vocabulary: &'v Vocabulary) -> Self {
        Self { vocabulary, kept: HashMap::new() }
    }

    /// What an expression comes to.
    ///
    /// # Errors
    /// The expression or the given values are wrong.
    pub fn answer(&mut self, text: &str, given: &Json, at: Timestamp) -> Result<Answer, Refused> {
        let compiled = self.compiled(text);
        let expression = compiled.as_ref().as_ref().map_err(|errors| Refused::Rules(errors.clone()))?;
        let schema = &self.vocabulary.schema;
        let given = Given::parse(given, (schema, &self.vocabulary.currency)).map_err(Refused::Given)?;
        let cells = given.cells(schema, at);
        Ok(expression.answer(&given.facts(&cells, schema, at)))
    }

    fn compiled(&mut self, text: &str) -> Compiled {
        if let Some(compiled) = self.kept.get(text) {
            return Rc::clone(compiled);
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        let compiled = Rc::new(self.vocabulary.expression(super::EXPRESSION, text));
        self.kept.insert(text.to_owned(), Rc::clone(&compiled));
        compiled
    }

    /// An answer for people.
    pub fn in_words(&self, answer: &Answer) -> String {
        match answer {
            Answer::Unknown(missing) if missing.is_empty() => format!("unknown: {NO_RESULT}"),
            Answer::Unknown(missing) => format!("unknown: missing {}", self.names(missing).join(", ")),
            Answer::Value(Value::Money(minor)) => {
                let currency = &self.vocabulary.currency;
                format!("{} {}", currency.format(*minor), currency.code())
            }
            Answer::Value(Value::Text(text)) => text.to_string(),
            known => self.value(known).to_string().trim_matches('"').to_owned(),
        }
    }

    /// An answer as JSON: `{"value": ...}`.
    pub fn in_json(&self, answer: &Answer) -> Json {
        match answer {
            Answer::Unknown(missing) if missing.is_empty() => {
                json!({"value": "unknown", "unknown": [], "reason": NO_RESULT})
            }
            Answer::Unknown(missing) => json!({"value": "unknown", "unknown": self.names(missing)}),
            known => json!({"value": self.value(known)}),
        }
    }

    fn value(&self, answer: &Answer) -> Json {
        let moment = |us| jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |at| at.to_string());
        match answer {
            Answer::Unknown(_) => Json::Null,
            Answer::Duration(us) if us % 1_000_000 == 0 => json!(format!("{}s", us / 1_000_000)),
            Answer::Duration(us) => json!(format!("{}us", us)),
            Answer::Value(value) => match value {
                Value::Bool(v) => json!(v),
                Value::Int(v) => json!(v),
                Value::Double(v) => json!(v),
                Value::Text(v) => json!(v),
                Value::Set(v) => json!(v),
                Value::Timestamp(v) => json!(moment(v.0)),
                Value::Date(v) => {
                    let (year, month, day) = v.ymd();
                    json!(format!("{year:04}-{month:02}-{day:02}"))
                }
                Value::Money(minor) => json!(self.vocabulary.currency.major(*minor)),
            },
        }
    }

    fn names(&self, slots: &[AttrSlot]) -> Vec<String> {
        let attributes = &self.vocabulary.schema.attributes;
        slots.iter().filter_map(|slot| Some(attributes.get(slot.index())?.full_name.to_string())).collect()
    }
}
