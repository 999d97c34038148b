//! A schema of every type, and authors and customers drawn by chance.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    domain::{
        AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, Cell, Currency, Date, Facts, Profile, Request,
        Schema, Timestamp, Value,
    },
    rules::{
        CompileEnv, Condition, Origin, Position, Truth,
        condition::normal_reference::{Question, Reference},
    },
};

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }
}

pub const NOW: i64 = 1_300_000_000_000_000;
const DAY_US: i64 = 86_400_000_000;
/// 2^53: from here on not every int is a double.
const EXACT: i64 = 1 << 53;
const INTS: [i64; 14] =
    [0, 1, 2, 3, 17, 40, -3, 1_000_000, EXACT, EXACT + 1, EXACT - 1, i64::MAX, i64::MIN + 1, i64::MAX - 512];
const DOUBLES: [f64; 12] =
    [0.0, -0.0, 0.5, 2.0, 2.5, -1.25, -3.0, 40.0, 9_007_199_254_740_992.0, 9_223_372_036_854_775_808.0, -1e300, 5e-324];
const WORDS: [&str; 7] = ["DE", "AT", "FR", "gold", "Köln", "", "a longer text that is shared"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const AGES_US: [i64; 8] = [0, 1, -1, DAY_US, 7 * DAY_US, 30 * DAY_US, -DAY_US, i64::MAX - NOW];

type Typed = (&'static str, fn() -> AttributeType);

/// Attributes by full name.
const ATTRIBUTES: [Typed; 20] = [
    ("p.age", || AttributeType::Int),
    ("p.visits", || AttributeType::Int),
    ("ctx.position", || AttributeType::Int),
    ("p.score", || AttributeType::Double),
    ("p.ratio", || AttributeType::Double),
    ("p.country", || AttributeType::Text),
    ("p.city", || AttributeType::Text),
    ("p.language", || AttributeType::Enum(["de".into(), "en".into(), "fr".into()].into())),
    ("p.tags", || AttributeType::Set),
    ("p.groups", || AttributeType::Set),
    ("p.vip", || AttributeType::Bool),
    ("p.open", || AttributeType::Bool),
    ("p.birthday", || AttributeType::Date),
    ("p.joined", || AttributeType::Timestamp),
    ("p.last_order", || AttributeType::Timestamp),
    ("p.spend", || AttributeType::Money),
    ("ctx.basket", || AttributeType::Money),
    // with defaults
    ("p.level", || AttributeType::Int),
    ("p.newsletter", || AttributeType::Bool),
    ("p.tier", || AttributeType::Text),
];

pub fn schema() -> Schema {
    let mut schema = Schema::default();
    for (at, (full_name, kind)) in ATTRIBUTES.iter().enumerate() {
        let slot = AttrSlot(at as u16);
        let name = full_name.split_once('.').map_or("", |n| n.1);
        schema.by_name.insert((*full_name).into(), slot);
        schema.attributes.push(AttributeDef {
            slot,
            id: AttrId::of(name),
            name: name.into(),
            full_name: (*full_name).into(),
            kind: kind(),
            source: AttributeSource::Context,
            default: default(full_name),
            range: None,
            pii: false,
            behavioural: false,
            client: false,
            verified: false,
        });
    }
    schema
}

fn default(name: &str) -> Option<Value> {
    match name {
        "p.level" => Some(Value::Int(3)),
        "p.newsletter" => Some(Value::Bool(false)),
        "p.tier" => Some(Value::Text("gold".into())),
        _ => None,
    }
}

/// `None` for a condition with too many rows.
pub fn compile(text: &str, schema: &Schema) -> Option<Arc<Condition>> {
    let origin = Origin {
        position: Position { path: "rules/a.yaml".into(), line: 1, column: 1 },
        source: text.into(),
        first_line: 1,
        exact_columns: true,
    };
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
    match Condition::compile(text, &origin, &env) {
        Ok(condition) => Some(Arc::new(condition)),
        Err(errors) if errors[0].message.contains("more than 64 alternatives") => None,
        Err(errors) => panic!("{text}: {errors:?}"),
    }
}

/// One who asks.
pub struct Person {
    pub values: HashMap<&'static str, Value>,
    /// What is not read, whether there is a value or not.
    pub hidden: HashSet<&'static str>,
    pub now: Timestamp,
}

impl Person {
    pub fn draw(dice: &mut Dice) -> Self {
        let mut values = HashMap::new();
        let absent = dice.pick(&[1, 3, 6, 20]);
        let hiding = dice.pick(&[0, 0, 2, 10]);
        let mut hidden = HashSet::new();
        let now = Timestamp(NOW + dice.pick(&[0, 0, 1, -1, DAY_US, 400 * DAY_US]));
        for (name, kind) in ATTRIBUTES {
            if dice.roll(20) < hiding {
                hidden.insert(name);
            }
            if dice.roll(20) < absent {
                continue;
            }
            let value = match kind() {
                AttributeType::Int => {
                    Value::Int(if dice.roll(2) == 0 { dice.pick(&INTS) } else { dice.roll(50) as i64 })
                }
                AttributeType::Double => {
                    Value::Double(if dice.roll(2) == 0 { dice.pick(&DOUBLES) } else { dice.roll(500) as f64 / 10.0 })
                }
                AttributeType::Text => Value::Text(dice.pick(&WORDS).into()),
                AttributeType::Enum(members) => Value::Text((*members[dice.roll(3)]).into()),
                AttributeType::Set => {
                    let mut members: Vec<Box<str>> = (0..dice.roll(5)).map(|_| dice.pick(&WORDS).into()).collect();
                    members.sort_unstable();
                    members.dedup();
                    Value::Set(members.into())
                }
                AttributeType::Bool => Value::Bool(dice.roll(2) == 0),
                AttributeType::Date => Value::Date(Date(dice.roll(20_000) as i32)),
                AttributeType::Money => {
                    Value::Money(if dice.roll(8) == 0 { i64::MAX } else { dice.roll(20_000) as i64 })
                }
                AttributeType::Timestamp if dice.roll(40) == 0 => {
                    Value::Timestamp(Timestamp(dice.pick(&[i64::MIN, i64::MAX, -(1 << 62), 1 << 62])))
                }
                AttributeType::Timestamp => {
                    Value::Timestamp(Timestamp(NOW.wrapping_sub(dice.pick(&AGES_US)) + dice.roll(3) as i64 - 1))
                }
            };
            values.insert(name, value);
        }
        Self { values, hidden, now }
    }

    pub fn facts<T>(&self, schema: &Schema, run: impl FnOnce(&Facts<'_>) -> T) -> T {
        let mut request = Request::default();
        let mut cells = vec![Cell::Missing; schema.attributes.len()];
        for def in &schema.attributes {
            if let Some(value) = self.values.get(&*def.full_name) {
                cells[def.slot.index()] = match value {
                    Value::Int(v) => Cell::Int(*v),
                    Value::Bool(v) => Cell::Bool(*v),
                    _ => Cell::Context(request.context.len() as u16),
                };
                request.context.push((def.id, value.clone()));
            } else if def.default.is_some() {
                cells[def.slot.index()] = Cell::Default;
            } else if def.kind == AttributeType::Set {
                cells[def.slot.index()] = Cell::EmptySet;
            }
            if self.hidden.contains(&*def.full_name) {
                cells[def.slot.index()] = Cell::Unverified;
            }
        }
        let profile = Profile::default();
        run(&Facts {
            cells: &cells,
            derived: &[],
            schema,
            profile: &profile,
            request: &request,
            now: self.now,
            record: None,
        })
    }

    pub fn reference(&self, question: &Question) -> Truth {
        let is_read = |name: &str| !self.hidden.contains(name);
        let value = |name: &str| self.values.get(name).cloned().or_else(|| default(name)).filter(|_| is_read(name));
        let is_set = |name: &str| matches!(name, "p.tags" | "p.groups") && is_read(name);
        Reference { value: &value, is_set: &is_set, now_us: self.now.0 }.truth(question)
    }
}

/// Writes conditions.
pub struct Author<'d>(pub &'d mut Dice);

impl Author<'_> {
    pub fn condition(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.leaf();
        }
        match self.0.roll(9) {
            0..3 => {
                let parts: Vec<String> = (0..2 + self.0.roll(3)).map(|_| self.condition(depth - 1)).collect();
                format!("({})", parts.join(" && "))
            }
            3 | 4 => format!("({} || {})", self.condition(depth - 1), self.condition(depth - 1)),
            5 => format!("!({})", self.condition(depth - 1)),
            6 => {
                let parts = (self.condition(depth - 1), self.condition(depth - 1), self.condition(depth - 1));
                format!("({} ? {} : {})", parts.0, parts.1, parts.2)
            }
            _ => self.leaf(),
        }
    }

    fn leaf(&mut self) -> String {
        let comparison = self.0.pick(&COMPARISONS);
        let equality = self.0.pick(&["==", "!="]);
        let int = self.0.pick(&["p.age", "p.visits", "ctx.position", "p.level"]);
        let double = self.0.pick(&["p.score", "p.ratio"]);
        let text = self.0.pick(&["p.country", "p.city", "p.tier"]);
        let set = self.0.pick(&["p.tags", "p.groups"]);
        let moment = self.0.pick(&["p.joined", "p.last_order"]);
        let money = self.0.pick(&["p.spend", "ctx.basket"]);
        match self.0.roll(27) {
            0 | 1 => format!("{int} {comparison} {}", self.int()),
            2 => format!("{} {comparison} {int}", self.int()),
            3 => format!("{int} in [{}, {}, {}]", self.int(), self.int(), self.double()),
            4 => format!("{double} {comparison} {}", self.double()),
            5 => format!("{double} {comparison} {}", self.int()),
            6 => format!("{int} {comparison} {}", self.double()),
            7 => format!("{double} in [{}, {}]", self.double(), self.int()),
            8 | 9 => format!("{text} {equality} {}", self.word()),
            10 => format!("{text} in [{}, {}]", self.word(), self.word()),
            11 | 12 => format!("{} in {set}", self.word()),
            13 => format!("size({set}) {comparison} {}", self.0.roll(4)),
            14 => format!("has({})", self.0.pick(&["p.age", "p.city", "p.tags", "p.joined", "p.vip", "p.spend"])),
            15 => self.0.pick(&["p.vip", "p.open", "p.newsletter", "p.vip == true", "p.open != false", "true"]).into(),
            16 => format!("p.language {equality} '{}'", self.0.pick(&["de", "en", "fr"])),
            17 => format!("p.birthday {comparison} date('{}-01-02')", 1970 + self.0.roll(50)),
            18 => format!("{money} {comparison} money('{}.{:02}')", self.0.roll(200), self.0.roll(100)),
            19 => format!("now - {moment} {comparison} {}", self.duration()),
            20 => format!("{moment} {comparison} now - {}", self.duration()),
            21 => format!("{moment} + {} {comparison} now", self.duration()),
            22 => format!("now {comparison} timestamp('2011-03-1{}T07:06:40Z')", self.0.roll(7)),
            23 => format!("{moment} - now {comparison} {}", self.duration()),
            24 => format!("{text}.{}({})", self.0.pick(&["startsWith", "endsWith", "contains"]), self.word()),
            25 => format!("p.age + p.visits {comparison} {}", self.int()),
            _ => self.0.pick(&["p.age < p.visits", "p.city == p.country", "p.city in p.tags", "p.city < 'E'"]).into(),
        }
    }

    fn int(&mut self) -> String {
        if self.0.roll(2) == 0 { self.0.pick(&INTS).to_string() } else { self.0.roll(50).to_string() }
    }

    fn double(&mut self) -> String {
        if self.0.roll(2) == 0 {
            format!("{:?}", self.0.pick(&DOUBLES))
        } else {
            format!("{:.1}", self.0.roll(500) as f64 / 10.0)
        }
    }

    fn word(&mut self) -> String {
        format!("'{}'", self.0.pick(&WORDS))
    }

    fn duration(&mut self) -> String {
        format!("duration('{}')", self.0.pick(&["0s", "1d", "7d", "30d", "-1d", "604800s", "90000000d"]))
    }
}
