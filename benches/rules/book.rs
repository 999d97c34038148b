//! Rules and customers of the rule benchmark, from a committed seed: 50
//! attributes of every type, constants from wide ranges.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use rapport::{
    decide::customer_cells,
    domain::{
        AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, Cells, Currency, Facts, Profile, Request,
        Schema, StoredAttribute, Timestamp, Value,
    },
    rules::{CompileEnv, Condition, Origin, Position, index::Rule},
};

use crate::generator::SplitMix64;

/// 2025-06-01T12:00:00Z.
pub const NOW: Timestamp = Timestamp(1_748_779_200_000_000);
pub const HOUR_US: i64 = 3_600_000_000;
/// The share of offers an average customer shall pass, schedules included.
const ELIGIBLE: f64 = 0.05;
/// The share of attributes a customer lacks.
pub const MISSING: f64 = 0.05;

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Below this.
    Int(u64),
    /// Thousandths below this.
    Double(u64),
    /// Minor units below this.
    Money(u64),
    /// One of so many.
    Text(u64),
    Bool,
    /// Each of so many with a chance of one third.
    Set(u64),
    /// At most so many hours ago.
    Time(u64),
}

/// How many attributes of each shape: 50.
const SHAPES: [(usize, Shape); 12] = [
    (6, Shape::Int(100)),
    (8, Shape::Int(1_000_000)),
    (6, Shape::Double(1_000_000)),
    (5, Shape::Money(500_000)),
    (3, Shape::Text(4)),
    (4, Shape::Text(30)),
    (2, Shape::Text(500)),
    (6, Shape::Bool),
    (3, Shape::Set(12)),
    (2, Shape::Set(40)),
    (3, Shape::Time(20_000)),
    (2, Shape::Time(2_000)),
];

/// The attributes by slot, with the name of each.
pub fn attributes() -> Vec<(String, Shape)> {
    let shapes = SHAPES.iter().flat_map(|(count, shape)| std::iter::repeat_n(*shape, *count));
    shapes.enumerate().map(|(at, shape)| (format!("a{at:02}"), shape)).collect()
}

pub fn schema() -> Schema {
    let mut schema = Schema::default();
    for (at, (name, shape)) in attributes().into_iter().enumerate() {
        let slot = AttrSlot(at as u16);
        let kind = match shape {
            Shape::Int(_) => AttributeType::Int,
            Shape::Double(_) => AttributeType::Double,
            Shape::Money(_) => AttributeType::Money,
            Shape::Text(_) => AttributeType::Text,
            Shape::Bool => AttributeType::Bool,
            Shape::Set(_) => AttributeType::Set,
            Shape::Time(_) => AttributeType::Timestamp,
        };
        let full_name: Arc<str> = format!("p.{name}").as_str().into();
        schema.by_name.insert(full_name.clone(), slot);
        schema.stored.push((AttrId::of(&name), slot));
        schema.attributes.push(AttributeDef {
            slot,
            id: AttrId::of(&name),
            name: name.as_str().into(),
            full_name,
            kind,
            source: AttributeSource::Stored,
            default: None,
            range: None,
            pii: false,
            behavioural: false,
            client: false,
            verified: false,
        });
    }
    schema.stored.sort_unstable();
    schema
}

/// A part of a rule.
#[derive(Clone, Debug)]
pub enum Part {
    /// At least, or (false) below, a number.
    Number(usize, bool, u64),
    /// One of these texts, or (false) none of them.
    Texts(usize, bool, Vec<u64>),
    Flag(usize, bool),
    Member(usize, bool, u64),
    /// Less than, or (false) at least, so many hours ago.
    Within(usize, bool, u64),
    Known(usize),
    Either(Box<[Part; 2]>),
    Not(Box<Part>),
}

/// Whose language a rule is printed in.
#[derive(Clone, Copy, PartialEq)]
pub enum Dialect {
    Rapport,
    /// The interpreter knows no money: minor units.
    Cel,
    /// Moments are microseconds before now.
    ATree,
}

impl Part {
    pub fn print(&self, attributes: &[(String, Shape)], dialect: Dialect) -> String {
        let tree = dialect == Dialect::ATree;
        let name = |at: &usize| if tree { attributes[*at].0.clone() } else { format!("p.{}", attributes[*at].0) };
        match self {
            Part::Number(at, least, value) => {
                let sign = if *least { ">=" } else { "<" };
                let value = match attributes[*at].1 {
                    Shape::Double(_) => format!("{}.{:03}", value / 1_000, value % 1_000),
                    Shape::Money(_) if dialect == Dialect::Rapport => {
                        format!("money('{}.{:02}')", value / 100, value % 100)
                    }
                    _ => value.to_string(),
                };
                format!("{} {sign} {value}", name(at))
            }
            Part::Texts(at, wanted, texts) => {
                let list: Vec<String> = texts.iter().map(|text| format!("'t{text}'")).collect();
                match (&list[..], wanted) {
                    ([one], true) => format!("{} {} {one}", name(at), if tree { "=" } else { "==" }),
                    ([one], false) => format!("{} {} {one}", name(at), if tree { "<>" } else { "!=" }),
                    (list, true) => format!("{} in [{}]", name(at), list.join(", ")),
                    (list, false) if tree => format!("{} not in [{}]", name(at), list.join(", ")),
                    (list, false) => format!("!({} in [{}])", name(at), list.join(", ")),
                }
            }
            Part::Flag(at, true) => name(at),
            Part::Flag(at, false) => format!("{}{}", if tree { "not " } else { "!" }, name(at)),
            Part::Member(at, true, member) if tree => format!("{} one of ['m{member}']", name(at)),
            Part::Member(at, false, member) if tree => format!("not ({} one of ['m{member}'])", name(at)),
            Part::Member(at, true, member) => format!("'m{member}' in {}", name(at)),
            Part::Member(at, false, member) => format!("!('m{member}' in {})", name(at)),
            Part::Within(at, recent, hours) => {
                let sign = if *recent { "<" } else { ">=" };
                match tree {
                    true => format!("{} {sign} {}", name(at), *hours as i64 * HOUR_US),
                    false => format!("now - {} {sign} duration('{hours}h')", name(at)),
                }
            }
            Part::Known(at) if tree => format!("{} is not null", name(at)),
            Part::Known(at) => format!("has({})", name(at)),
            Part::Either(parts) => {
                let or = if tree { "or" } else { "||" };
                format!("({} {or} {})", parts[0].print(attributes, dialect), parts[1].print(attributes, dialect))
            }
            Part::Not(part) => {
                let not = if tree { "not " } else { "!" };
                format!("{not}({})", part.print(attributes, dialect))
            }
        }
    }
}

/// One offer: its parts, which must all hold, and when it runs.
pub struct Offer {
    pub parts: Vec<Part>,
    pub schedule: (Option<Timestamp>, Option<Timestamp>),
}

impl Offer {
    /// Of 3 to 6 parts; every second has a time window.
    pub fn draw(rng: &mut SplitMix64, attributes: &[(String, Shape)], number: usize) -> Self {
        let windowed = number.is_multiple_of(2);
        let mut schedule = (None, None);
        if windowed {
            let from = NOW.plus_us((rng.below(60 * 24 * 60) as i64 - 50 * 24 * 60) * 60_000_000);
            schedule = (Some(from), Some(from.plus_us((20 + rng.below(140)) as i64 * 24 * HOUR_US)));
        }
        let count = 3 + rng.below(4) as usize;
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < count {
            let at = rng.below(attributes.len() as u64) as usize;
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        let tunable = |at: usize| !matches!(attributes[at].1, Shape::Text(_) | Shape::Bool | Shape::Set(_));
        if !chosen.iter().any(|at| tunable(*at)) {
            // all else has chances of its own: one number sets the rule's
            chosen[0] = rng.below(25) as usize;
        }
        let (numbers, others): (Vec<usize>, Vec<usize>) = chosen.into_iter().partition(|at| tunable(*at));
        // windows let through about three of four
        let mut chance = if windowed { 0.75 } else { 1.0 };
        let mut parts = Vec::new();
        for at in others {
            let (part, passes) = categorical(rng, at, attributes[at].1);
            chance *= passes;
            parts.push(part);
        }
        let known = 1.0 - MISSING;
        let each = (ELIGIBLE / chance).powf(1.0 / numbers.len() as f64) / known;
        for at in numbers {
            parts.push(numeric(rng, at, attributes, each.clamp(0.02, 0.98)));
        }
        Self { parts, schedule }
    }

    pub fn print(&self, attributes: &[(String, Shape)], dialect: Dialect) -> String {
        let parts: Vec<String> = self.parts.iter().map(|part| part.print(attributes, dialect)).collect();
        parts.join(if dialect == Dialect::ATree { " and " } else { " && " })
    }

    pub fn runs(&self) -> bool {
        self.schedule.0.is_none_or(|from| from <= NOW) && self.schedule.1.is_none_or(|until| NOW < until)
    }
}

/// A part with the chance that a customer passes it.
fn categorical(rng: &mut SplitMix64, at: usize, shape: Shape) -> (Part, f64) {
    let known = 1.0 - MISSING;
    match shape {
        Shape::Text(pool) => {
            let wanted = rng.below(3) > 0;
            let most = (pool / 2).clamp(1, 12);
            let mut texts: Vec<u64> = (0..1 + rng.below(most)).map(|_| rng.below(pool)).collect();
            texts.sort_unstable();
            texts.dedup();
            let share = texts.len() as f64 / pool as f64;
            // few of many would starve the rule: ask for the others then
            let wanted = wanted && share > 0.15;
            let passes = known * if wanted { share } else { 1.0 - share };
            (Part::Texts(at, wanted, texts), passes)
        }
        Shape::Set(pool) => {
            let wanted = rng.below(2) == 0;
            (Part::Member(at, wanted, rng.below(pool)), if wanted { known / 3.0 } else { 1.0 - known / 3.0 })
        }
        _ => (Part::Flag(at, rng.below(2) == 0), known / 2.0),
    }
}

/// A part that so many of those pass who have the attribute; now and then in
/// other words.
fn numeric(rng: &mut SplitMix64, at: usize, attributes: &[(String, Shape)], passes: f64) -> Part {
    let low = rng.below(2) == 0;
    // a little more or less than asked, so that constants spread
    let passes = (passes * (0.7 + rng.unit() * 0.6)).clamp(0.01, 0.99);
    let part = |at: usize, share: f64, low: bool| {
        let shape = attributes[at].1;
        let (Shape::Int(range) | Shape::Double(range) | Shape::Money(range) | Shape::Time(range)) = shape else {
            return Part::Known(at);
        };
        let bound = (range as f64 * if low { share } else { 1.0 - share }) as u64;
        match shape {
            Shape::Time(_) => Part::Within(at, low, bound.max(1)),
            _ => Part::Number(at, !low, bound),
        }
    };
    match rng.below(20) {
        0 => Part::Either(Box::new([part(at, passes / 2.0, low), part(at, passes / 2.0, !low)])),
        // the numbers come first in the list of attributes
        1 => Part::Either(Box::new([part(at, passes / 2.0, low), part(rng.below(25) as usize, passes / 2.0, !low)])),
        2 => Part::Not(Box::new(part(at, 1.0 - passes, low))),
        _ => part(at, passes, low),
    }
}

/// One customer.
pub struct Person {
    pub profile: Profile,
    pub values: HashMap<usize, Value>,
    pub cells: Cells,
}

impl Person {
    pub fn draw(rng: &mut SplitMix64, attributes: &[(String, Shape)], schema: &Schema, missing: f64) -> Self {
        let mut values = HashMap::new();
        for (at, (_, shape)) in attributes.iter().enumerate() {
            if rng.unit() <= missing {
                continue;
            }
            let mut name = String::new();
            let value = match *shape {
                Shape::Int(range) => Value::Int(rng.below(range) as i64),
                Shape::Double(range) => Value::Double(rng.below(range) as f64 / 1_000.0),
                Shape::Money(range) => Value::Money(rng.below(range) as i64),
                Shape::Text(pool) => {
                    let _ = write!(name, "t{}", rng.below(pool));
                    Value::Text(name.into())
                }
                Shape::Bool => Value::Bool(rng.below(2) == 0),
                Shape::Set(pool) => {
                    let mut members: Vec<Box<str>> =
                        (0..pool).filter(|_| rng.below(3) == 0).map(|m| format!("m{m}").into()).collect();
                    members.sort_unstable();
                    Value::Set(members.into())
                }
                Shape::Time(hours) => Value::Timestamp(NOW.plus_us(-(rng.below(hours * 3_600) as i64) * 1_000_000)),
            };
            values.insert(at, value);
        }
        let stored = |(at, value): (&usize, &Value)| StoredAttribute {
            id: schema.attributes[*at].id,
            value: Some(value.clone()),
            at: NOW,
        };
        let mut profile = Profile { attributes: values.iter().map(stored).collect(), ..Profile::default() };
        profile.attributes.sort_by_key(|a| a.id);
        let cells = customer_cells(schema, &profile, NOW, &rapport::predict::BaseModel::default());
        Self { profile, values, cells }
    }

    pub fn facts<'a>(&'a self, schema: &'a Schema, request: &'a Request) -> Facts<'a> {
        Facts {
            cells: &self.cells.list,
            derived: &self.cells.derived,
            schema,
            profile: &self.profile,
            request,
            now: NOW,
            record: None,
        }
    }
}

pub fn compile(text: &str, schema: &Schema) -> Result<Condition, String> {
    let segments = HashMap::new();
    let env = CompileEnv {
        each: None,
        schema,
        currency: Currency { code: *b"GBP", minor_digits: 2 },
        segments: &segments,
        macros: &segments,
        parsed: None,
        lost: Default::default(),
    };
    let position = Position { path: "bench.yaml".into(), line: 1, column: 1 };
    let origin = Origin { position, source: text.into(), first_line: 1, exact_columns: true };
    Condition::compile(text, &origin, &env).map_err(|errors| format!("{text}: {}", errors[0].message))
}

/// The rules of offers, each with its one condition as eligibility.
pub fn rules(offers: &[Offer], attributes: &[(String, Shape)], schema: &Schema) -> anyhow::Result<Vec<Rule>> {
    let rule = |offer: &Offer| {
        let text = offer.print(attributes, Dialect::Rapport);
        let condition = compile(&text, schema).map_err(|e| anyhow::anyhow!(e))?;
        Ok(Rule { schedule: offer.schedule, conditions: [Some(Arc::new(condition)), None, None] })
    };
    offers.iter().map(rule).collect()
}
