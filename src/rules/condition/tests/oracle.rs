//! The reference: the cel crate's own interpreter, with an evaluation error
//! read as "not true". Rules are drawn from what both know; money, dates, and
//! calculations that mix ints with doubles are ours alone. `make full-oracle`
//! compares a million evaluations.

use std::collections::HashMap;

use super::{
    hostile::Dice,
    world::{NOW, World, set, text},
};
use crate::{
    domain::{Timestamp, Value},
    rules::Truth,
};

/// How many evaluations are compared, unless `ORACLE_EVALUATIONS` says more.
const EVALUATIONS: usize = 40_000;
const RULES: usize = 50;
const PROFILES: usize = 40;

struct Author<'d> {
    dice: &'d mut Dice,
    /// Names of the elements that may be used, all of text.
    elements: Vec<&'static str>,
}

impl<'d> Author<'d> {
    fn new(dice: &'d mut Dice) -> Self {
        Self { dice, elements: Vec::new() }
    }

    fn condition(&mut self, depth: usize) -> String {
        let kinds = if depth == 0 { 11 } else { 20 };
        match self.dice.roll(kinds) {
            0 => format!("{} {} {}", self.int(1), self.comparison(), self.int(1)),
            1 => format!("{} {} {}", self.double(1), self.comparison(), self.double(1)),
            2 => format!("{} {} {}", self.int(0), self.comparison(), self.double(0)),
            3 => format!("{} {} {}", self.text(), self.dice.pick(&["==", "!=", "<", ">="]), self.text()),
            4 => format!("{} in [{}, {}]", self.text(), self.word(), self.word()),
            5 => format!("{} in p.tags", self.text()),
            6 => format!("has(p.{})", self.dice.pick(&["age", "visits", "score", "country", "city", "vip"])),
            7 => self
                .dice
                .pick(&["p.vip", "p.open", "p.vip == p.open", "p.language == 'de'", "true", "p.open != true"])
                .into(),
            8 => {
                let method = self.dice.pick(&["startsWith", "endsWith", "contains", "matches"]);
                let subject = if self.elements.is_empty() {
                    self.text_attribute()
                } else {
                    self.elements[self.dice.roll(self.elements.len())]
                };
                format!("{subject}.{method}({})", self.word())
            }
            10 if depth == 0 => format!("{} in [p.age, {}, p.visits]", self.int(0), self.int(0)),
            9 if depth == 0 => {
                let accessor = self.dice.pick(&["getHours", "getMinutes", "getDayOfWeek", "getDate", "getMonth"]);
                let accessor = if self.dice.roll(3) == 0 {
                    self.dice.pick(&["getFullYear", "getDayOfMonth", "getDayOfYear", "getSeconds", "getMilliseconds"])
                } else {
                    accessor
                };
                let zone = self.dice.pick(&["", "", "'Europe/Berlin'", "'-07:30'"]);
                format!("p.joined.{accessor}({zone}) {} {}", self.comparison(), self.dice.pick(&["0", "6", "12", "13"]))
            }
            9 => format!("({} && {})", self.condition(depth - 1), self.condition(depth - 1)),
            10 => format!("({} || {})", self.condition(depth - 1), self.condition(depth - 1)),
            11 => format!("!({})", self.condition(depth - 1)),
            12 => {
                let parts = (self.condition(depth - 1), self.condition(depth - 1), self.condition(depth - 1));
                format!("({} ? {} : {})", parts.0, parts.1, parts.2)
            }
            13 => format!("p.joined {} {}", self.comparison(), self.moment()),
            14 | 15 => self.walk_over_set(depth),
            16 => self.walk_over_texts(depth),
            17 => {
                let test = format!("n {} {}", self.comparison(), self.int(1));
                let ask = self.dice.pick(&["exists", "all", "exists_one"]);
                format!("[1, 40, {}].{ask}(n, {test} || n == p.visits)", self.dice.pick(&["-3", "2"]))
            }
            18 => {
                let size = self.dice.pick(&["0", "1", "2"]);
                let range = self.dice.pick(&["p.tags", "['AT', 'gold', 'DE']"]);
                let test = self.within(depth);
                format!("size({range}.filter({test})) {} {size}", self.comparison())
            }
            _ => format!("({} ? {} : {}) >= {}", self.condition(depth - 1), self.int(1), self.int(1), self.int(0)),
        }
    }

    /// A name for the elements and a test of them.
    fn within(&mut self, depth: usize) -> String {
        let name = ["t", "u", "v"][self.elements.len().min(2)];
        self.elements.push(name);
        let test = self.condition(depth - 1);
        self.elements.pop();
        format!("{name}, {test}")
    }

    fn walk_over_set(&mut self, depth: usize) -> String {
        let ask = self.dice.pick(&["exists", "all", "exists_one"]);
        if self.elements.len() > 2 {
            return "true".into();
        }
        format!("p.tags.{ask}({})", self.within(depth))
    }

    fn walk_over_texts(&mut self, depth: usize) -> String {
        let ask = self.dice.pick(&["exists", "all", "exists_one"]);
        if self.elements.len() > 2 {
            return "false".into();
        }
        format!("[{}, {}].{ask}({})", self.word(), self.word(), self.within(depth))
    }

    fn comparison(&mut self) -> &'static str {
        self.dice.pick(&["==", "!=", "<", "<=", ">", ">="])
    }

    fn int(&mut self, depth: usize) -> String {
        match self.dice.roll(if depth == 0 { 3 } else { 7 }) {
            0 => "p.age".into(),
            1 => "p.visits".into(),
            2 => self.dice.pick(&["0", "1", "2", "40", "-3", "9223372036854775807"]).into(),
            3 => format!("size({})", self.text_attribute()),
            4 => "p.tags.size()".into(),
            5 => format!("int({})", self.double(depth - 1)),
            _ => {
                let operator = self.dice.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.int(depth - 1), self.int(depth - 1))
            }
        }
    }

    fn double(&mut self, depth: usize) -> String {
        match self.dice.roll(if depth == 0 { 3 } else { 6 }) {
            0 => "p.score".into(),
            1 => "p.ratio".into(),
            2 => self.dice.pick(&["0.0", "0.5", "2.5", "-1.25", "40.0"]).into(),
            3 => format!("double({})", self.int(depth - 1)),
            // Division by zero is infinite in CEL, unknown here: divide by literals.
            4 => format!("({} / {})", self.double(depth - 1), self.dice.pick(&["2.0", "-0.5"])),
            _ => {
                let operator = self.dice.pick(&["+", "-", "*"]);
                format!("({} {operator} {})", self.double(depth - 1), self.double(depth - 1))
            }
        }
    }

    fn text(&mut self) -> String {
        if !self.elements.is_empty() && self.dice.roll(2) == 0 {
            return self.elements[self.dice.roll(self.elements.len())].into();
        }
        if self.dice.roll(2) == 0 { self.text_attribute().into() } else { self.word().into() }
    }

    fn text_attribute(&mut self) -> &'static str {
        self.dice.pick(&["p.country", "p.city"])
    }

    fn word(&mut self) -> &'static str {
        self.dice.pick(&["'DE'", "'AT'", "'gold'", "\"Köln\"", "'D'", "''"])
    }

    fn moment(&mut self) -> &'static str {
        self.dice.pick(&[
            "timestamp('2011-03-13T07:06:40Z')",
            "now",
            "(now - duration('24h'))",
            "(now + duration('-90m'))",
        ])
    }
}

fn profile(dice: &mut Dice, mut world: World) -> World {
    let ints = [0, 1, 2, 40, -3, i64::MAX, i64::MIN];
    let doubles = [0.0, 0.5, 2.5, -1.25, 40.0, 1e18];
    let words = ["DE", "AT", "gold", "Köln", ""];
    for name in [
        "p.age",
        "p.visits",
        "p.score",
        "p.ratio",
        "p.country",
        "p.city",
        "p.language",
        "p.tags",
        "p.vip",
        "p.open",
        "p.joined",
    ] {
        if dice.roll(4) == 0 {
            continue;
        }
        let value = match name {
            "p.age" | "p.visits" => Value::Int(ints[dice.roll(ints.len())]),
            "p.score" | "p.ratio" => Value::Double(doubles[dice.roll(doubles.len())]),
            "p.country" | "p.city" => text(dice.pick(&words[..])),
            "p.language" => text(dice.pick(&["de", "en"])),
            "p.tags" => [set(&[]), set(&["DE"]), set(&["AT", "gold"])][dice.roll(3)].clone(),
            "p.joined" => Value::Timestamp(Timestamp(NOW.0 - 3_600_000_000 * dice.roll(48) as i64)),
            _ => Value::Bool(dice.roll(2) == 0),
        };
        world = world.with(name, value);
    }
    world
}

/// Moments as the reference's values, made by the reference itself.
#[derive(Default)]
struct Moments(HashMap<i64, cel::Value>);

impl Moments {
    fn get(&mut self, micros: i64) -> cel::Value {
        let made = self.0.entry(micros).or_insert_with(|| {
            let text = format!("timestamp('{}')", jiff::Timestamp::from_microsecond(micros).unwrap());
            cel::Program::compile(&text).unwrap().execute(&cel::Context::default()).unwrap()
        });
        made.clone()
    }
}

fn reference(values: &HashMap<String, Value>, moments: &mut Moments) -> cel::Context<'static, 'static> {
    let mut person: HashMap<String, cel::Value> = HashMap::new();
    person.insert("tags".into(), cel::Value::List(Vec::new().into()));
    for (name, value) in values {
        let value: cel::Value = match value {
            Value::Bool(v) => (*v).into(),
            Value::Int(v) => (*v).into(),
            Value::Double(v) => (*v).into(),
            Value::Text(v) => v.to_string().into(),
            Value::Set(v) => v.iter().map(|m| m.to_string()).collect::<Vec<_>>().into(),
            Value::Timestamp(v) => moments.get(v.0),
            other => panic!("{other:?} has no counterpart"),
        };
        person.insert(name.trim_start_matches("p.").to_owned(), value);
    }
    let mut context = cel::Context::default();
    context.add_variable_from_value("p", person);
    context.add_variable_from_value("now", moments.get(NOW.0));
    context
}

#[test]
fn conditions_agree_with_the_reference_interpreter() {
    let mut dice = Dice(2011);
    let world = World::new();
    let mut moments = Moments::default();
    let (mut tried, mut held) = (0, 0);
    let wanted = std::env::var("ORACLE_EVALUATIONS").ok().and_then(|count| count.parse().ok());
    let evaluations: usize = wanted.unwrap_or(EVALUATIONS);
    while tried < evaluations {
        let people: Vec<World> = (0..PROFILES).map(|_| profile(&mut dice, World::new())).collect();
        let contexts: Vec<_> = people.iter().map(|p| reference(&p.values, &mut moments)).collect();
        for _ in 0..RULES {
            let rule = Author::new(&mut dice).condition(3);
            let condition = world.compile(&rule).unwrap_or_else(|e| panic!("{rule}: {e:?}"));
            let program = cel::Program::compile(&rule).unwrap_or_else(|e| panic!("{rule}: {e}"));
            for (person, context) in people.iter().zip(&contexts) {
                let wanted = program.execute(context) == Ok(cel::Value::Bool(true));
                let got = person.facts(|facts| {
                    let truth = condition.truth(facts);
                    assert_eq!(condition.holds(facts), truth == Truth::True, "{}", condition.text);
                    assert_eq!(condition.failed(facts).is_empty(), truth == Truth::True, "{rule}");
                    truth
                });
                assert_eq!(got == Truth::True, wanted, "{rule}\n{:?}", person.values);
                tried += 1;
                held += usize::from(wanted);
            }
        }
    }
    assert!(tried >= evaluations && held > tried / 10 && held < tried * 9 / 10, "{held} of {tried} held");
}
