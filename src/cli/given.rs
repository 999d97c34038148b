//! Values given on the command line or in a file, as JSON: `{"p": {...},
//! "ctx": {...}}`, typed by the schema.

use serde_json::{Map, Value as Json};

use crate::{
    decide,
    domain::{
        Assurance, AttrSlot, AttributeDef, AttributeSource, AttributeType, Cell, Cells, Currency, Facts, Profile,
        RecordChange, Request, Schema, StoredAttribute, StoredRecord, Timestamp, Value,
    },
    grpc::{
        convert::{
            suggest::{did_you_mean, quoted},
            value,
        },
        structs,
    },
    predict::BaseModel,
};

/// What is given of a person, who is verified, and of the moment.
#[derive(Debug)]
pub struct Given {
    /// The person: stored attributes only.
    pub profile: Profile,
    /// The moment: context attributes, and computed attributes as overrides.
    pub request: Request,
    /// Computed attributes that are given as null: missing, whatever the
    /// profile would make of them.
    missing: Vec<AttrSlot>,
}

impl Default for Given {
    fn default() -> Self {
        let request = Request { assurance: Assurance::Verified, ..Request::default() };
        Self { profile: Profile::default(), request, missing: Vec::new() }
    }
}

impl Given {
    /// Reads values. `null` is the same as leaving out, but for computed
    /// attributes, which are then missing. What is left out has its default, and
    /// computed attributes come from what is given: no event was ever seen.
    ///
    /// # Errors
    /// Every value of a wrong type and every unknown name.
    pub fn parse(json: &Json, (schema, currency): (&Schema, &Currency)) -> Result<Self, Vec<String>> {
        let Json::Object(roots) = json else {
            return Err(vec![format!(
                "the given values are {}: give {{\"p\": {{...}}, \"ctx\": {{...}}}}",
                kind_name(json)
            )]);
        };
        let mut reading = Reading { schema, currency, given: Self::default(), errors: Vec::new() };
        for (root, values) in roots {
            match (root.as_str(), values) {
                ("p" | "ctx", Json::Object(values)) => reading.root(root, values),
                ("p" | "ctx", Json::Null) => {}
                ("p" | "ctx", other) => {
                    let (name, kind) = (quoted(root), kind_name(other));
                    reading.errors.push(format!("{name} is {kind}: give an object of attributes"));
                }
                _ => reading.unknown_root(root),
            }
        }
        reading.finish()
    }

    /// Computed attributes that were given as null.
    pub fn missing(&self) -> &[AttrSlot] {
        &self.missing
    }

    /// A cell per slot of the schema, as a decision would fill them.
    pub fn cells(&self, schema: &Schema, now: Timestamp) -> Cells {
        let mut cells = decide::customer_cells(schema, &self.profile, now, &BaseModel::default());
        for slot in &self.missing {
            cells.list[slot.index()] = Cell::Missing;
        }
        for (at, (id, _)) in self.request.context.iter().enumerate() {
            if let Ok(found) = schema.context.binary_search_by_key(id, |entry| entry.0) {
                cells.list[schema.context[found].1.index()] = Cell::Context(at as u16);
            }
        }
        for (at, (id, _)) in self.request.overrides.iter().enumerate() {
            let computed = schema.traits.iter().find(|slot| schema.attributes[slot.index()].id == *id);
            if let Some(slot) = computed {
                cells.list[slot.index()] = Cell::Override(at as u16);
            }
        }
        cells
    }

    /// The facts over filled cells.
    pub fn facts<'a>(&'a self, cells: &'a Cells, schema: &'a Schema, now: Timestamp) -> Facts<'a> {
        Facts {
            cells: &cells.list,
            derived: &cells.derived,
            schema,
            profile: &self.profile,
            request: &self.request,
            now,
            record: None,
        }
    }
}

struct Reading<'s> {
    schema: &'s Schema,
    currency: &'s Currency,
    given: Given,
    errors: Vec<String>,
}

impl Reading<'_> {
    fn unknown_root(&mut self, root: &str) {
        let full = format!("p.{root}");
        let hint = if self.schema.by_name.contains_key(full.as_str()) || root.contains('.') {
            "; attributes stand in `p` and `ctx`, as in {\"p\": {\"age\": 30}}".to_owned()
        } else {
            did_you_mean(root, ["p", "ctx"].into_iter())
        };
        self.errors.push(format!("unknown name {}{hint}", quoted(root)));
    }

    fn root(&mut self, root: &str, values: &Map<String, Json>) {
        for (name, json) in values {
            let full = format!("{root}.{name}");
            let slot = self.schema.by_name.get(full.as_str()).copied();
            let Some(def) = slot.and_then(|slot| self.schema.attributes.get(slot.index())) else {
                let hint = did_you_mean(&full, self.schema.by_name.keys().map(|known| &**known));
                self.errors.push(format!("unknown attribute {}{hint}", quoted(&full)));
                continue;
            };
            match read(def, self.currency, json) {
                Ok(value) => self.keep(def, value),
                Err(why) => self.errors.push(format!("`{full}` ({}) {why}", def.kind.name())),
            }
        }
    }

    fn keep(&mut self, def: &AttributeDef, value: Option<Value>) {
        match (&def.source, value) {
            (AttributeSource::Stored, Some(value)) => {
                let stored = StoredAttribute { id: def.id, value: Some(value), at: Timestamp(0) };
                self.given.profile.attributes.push(stored);
            }
            (AttributeSource::Context, Some(value)) => self.given.request.context.push((def.id, value)),
            (AttributeSource::Trait(_), Some(value)) => self.given.request.overrides.push((def.id, value)),
            // Of records only their keys can be given.
            (AttributeSource::Records(list), Some(Value::Set(keys))) => {
                let record = |key: &str| {
                    let change = RecordChange { list: *list, key: key.into(), fields: Some(Vec::new()) };
                    StoredRecord { change, at: Timestamp(0) }
                };
                self.given.profile.records.extend(keys.iter().map(|key| record(key)));
            }
            (
                AttributeSource::Records(_) | AttributeSource::RecordKey(_) | AttributeSource::RecordField(..),
                Some(_),
            ) => {}
            (AttributeSource::Trait(_), None) => self.given.missing.push(def.slot),
            (_, None) => {}
        }
    }

    fn finish(mut self) -> Result<Given, Vec<String>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        self.given.profile.attributes.sort_by_key(|stored| stored.id);
        let key_of = |record: &StoredRecord| (record.change.list, record.change.key.clone());
        self.given.profile.records.sort_by_key(key_of);
        self.given.request.context.sort_by_key(|entry| entry.0);
        self.given.request.overrides.sort_by_key(|entry| entry.0);
        Ok(self.given)
    }
}

/// A JSON value as the attribute's type wants it; `None` of null.
fn read(def: &AttributeDef, currency: &Currency, json: &Json) -> Result<Option<Value>, String> {
    let value = match (&def.kind, json) {
        (_, Json::Null) => return Ok(None),
        // JSON texts hold whole numbers that doubles cannot.
        (AttributeType::Int, Json::Number(number)) if number.as_i64().is_some_and(is_large) => {
            let whole = number.as_i64().unwrap_or_default();
            value::in_range(def, currency, &Value::Int(whole))?;
            Value::Int(whole)
        }
        // shown as it was written, not as the nearest double
        (AttributeType::Int, Json::Number(number)) if number.is_u64() && !number.is_i64() => {
            return Err(format!("is `{number}`: give a whole number of at most {}", i64::MAX));
        }
        (AttributeType::Money, Json::String(amount)) => {
            let minor = value::money(currency, amount, currency.code())?;
            value::in_range(def, currency, &Value::Money(minor))?;
            Value::Money(minor)
        }
        _ => {
            let found =
                serde_json::from_value::<structs::Value>(json.clone()).map_err(|e| format!("cannot be read: {e}"))?;
            let kind = found.kind.ok_or("has no value")?;
            value::read(def, currency, kind)?
        }
    };
    Ok(Some(value))
}

/// Beyond what every double tells apart.
fn is_large(whole: i64) -> bool {
    whole.unsigned_abs() > 1 << 53
}

fn kind_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::{SourceFile, Vocabulary};

    const SCHEMA: &str = "\n\
        settings: { currency: GBP }\n\
        attributes:\n\
        - { id: age, type: int, range: [0, 9007199254740995] }\n\
        - { id: country, type: string, default: GB }\n\
        - { id: tags, type: set }\n\
        - { id: birthday, type: date }\n\
        - { id: joined, type: timestamp }\n\
        - { id: credit, type: money }\n\
        - { id: size, type: enum, values: [small, large] }\n\
        context:\n\
        - { id: basket, type: money }\n\
        traits:\n\
        - { id: orders, count: purchase }\n\
        - { id: days_to_birthday, days_to_anniversary: birthday }\n";

    fn vocabulary() -> Vocabulary {
        let file = SourceFile { path: "schema.yaml".into(), text: SCHEMA.into() };
        Vocabulary::read(&[file]).expect("a schema")
    }

    fn shown(json: Json) -> Vec<String> {
        let vocabulary = vocabulary();
        let given = Given::parse(&json, (&vocabulary.schema, &vocabulary.currency)).expect("values");
        let now = Timestamp(1_300_000_000_000_000);
        let cells = given.cells(&vocabulary.schema, now);
        let facts = given.facts(&cells, &vocabulary.schema, now);
        let all = vocabulary.schema.attributes.iter();
        all.map(|def| format!("{} {:?}", def.full_name, facts.get(def.slot))).collect()
    }

    #[test]
    fn values_are_typed_by_the_schema() {
        let shown = shown(json!({
            "p": {
                "age": 9_007_199_254_740_993_i64, "tags": ["b", "a", "b"], "birthday": "1980-03-14",
                "joined": "1970-01-01T00:00:01Z", "credit": {"amount": "12.50", "currency": "GBP"}, "size": "small",
                "orders": 3, "country": null
            },
            "ctx": {"basket": "1.25"}
        }));
        assert_eq!(
            shown,
            [
                "ctx.basket Money(125)",
                "p.age Int(9007199254740993)",
                "p.birthday Date(Date(3725))",
                "p.country Text(\"GB\")",
                "p.credit Money(1250)",
                "p.days_to_birthday Int(1)",
                "p.joined Timestamp(Timestamp(1000000))",
                "p.orders Int(3)",
                "p.size Text(\"small\")",
                "p.tags Set([\"a\", \"b\"])",
            ]
        );
    }

    #[test]
    fn what_is_left_out_is_missing_or_computed() {
        let left_out = shown(json!({}));
        assert!(left_out.contains(&"p.age Missing".to_owned()) && left_out.contains(&"p.tags Set([])".to_owned()));
        assert!(left_out.contains(&"p.orders Int(0)".to_owned()), "{left_out:?}");
        assert!(shown(json!({"p": {"orders": null}})).contains(&"p.orders Missing".to_owned()));
    }

    #[test]
    fn every_mistake_names_its_attribute() {
        let vocabulary = vocabulary();
        let told = |json: Json| Given::parse(&json, (&vocabulary.schema, &vocabulary.currency)).expect_err("a mistake");
        let errors = told(json!({"p": {"age": "30", "size": "smal", "tgs": [], "tags": [1]}, "c": {}}));
        let wanted = [
            "unknown name `c`",
            "`p.age` (int) is a string: give a whole number",
            "`p.size` (enum) `smal` is not a member: give one of `small`, `large`; did you mean `small`",
            "`p.tags` (set) has something else than a string at [0]",
            "unknown attribute `p.tgs`; did you mean `p.tags`",
        ];
        assert_eq!(errors.len(), wanted.len(), "{errors:?}");
        for (error, wanted) in errors.iter().zip(wanted) {
            assert!(error.contains(wanted), "{error} is not {wanted}");
        }
        assert!(told(json!([]))[0].contains("are a list"));
        assert!(told(json!({"p": 3}))[0].contains("is a number"));
        assert!(told(json!({"p": {"age": -1}}))[0].contains("out of range"));
        assert!(told(json!({"p": {"age": 1e300}}))[0].contains("whole number"));
        assert!(told(json!({"p": {"age": 9_223_372_036_854_775_808_u64}}))[0].contains("is `9223372036854775808`"));
    }
}
