use std::{collections::HashMap, sync::Arc};

use super::{Body, Engine, FUEL_STEPS_MAX, OUTPUT_BYTES_MAX, Scope, TEMPLATE_BYTES_MAX, Tags, Template};
use crate::{
    domain::{
        AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, Cell, Currency, Date, Facts, Profile, Request,
        Schema, Timestamp, Value,
    },
    rules::{Escape, Origin, Position, RuleError, TemplateEnv},
};

const GBP: Currency = Currency { code: *b"GBP", minor_digits: 2 };
const EUR: Currency = Currency { code: *b"EUR", minor_digits: 2 };

struct World {
    schema: Schema,
    values: HashMap<String, Value>,
    links: Vec<Arc<str>>,
    currency: Currency,
    language: &'static str,
}

impl World {
    fn new() -> Self {
        let kinds = [
            ("p.first_name", AttributeType::Text),
            ("p.city", AttributeType::Text),
            ("p.points", AttributeType::Int),
            ("p.score", AttributeType::Double),
            ("p.spend", AttributeType::Money),
            ("p.birthday", AttributeType::Date),
            ("p.joined", AttributeType::Timestamp),
            ("p.vip", AttributeType::Bool),
            ("p.tags", AttributeType::Set),
            ("ctx.basket", AttributeType::Money),
        ];
        let mut schema = Schema::default();
        for (at, (full_name, kind)) in kinds.into_iter().enumerate() {
            let slot = AttrSlot(at as u16);
            schema.by_name.insert(full_name.into(), slot);
            schema.attributes.push(AttributeDef {
                slot,
                id: AttrId::of(full_name),
                name: full_name.into(),
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
        let links = vec!["shop".into(), "terms".into()];
        Self { schema, values: HashMap::new(), links, currency: GBP, language: "en" }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.into(), value);
        self
    }

    fn person() -> Self {
        Self::new()
            .with("p.first_name", Value::Text("Zoë <b>&'\"/".into()))
            .with("p.points", Value::Int(1_200))
            .with("p.score", Value::Double(3.0))
            .with("p.spend", Value::Money(123_450))
            .with("p.birthday", Value::Date(Date::parse("1980-06-03").unwrap()))
            .with("p.joined", Value::Timestamp(Timestamp(1_300_000_000_000_000)))
            .with("p.vip", Value::Bool(true))
            .with("p.tags", Value::Set(["gold".into(), "tea".into()].into()))
    }

    fn env(&self) -> TemplateEnv<'_> {
        TemplateEnv {
            each: None,
            schema: &self.schema,
            links: &self.links,
            currency: self.currency,
            lost: Default::default(),
        }
    }

    fn compile(&self, text: &str, escape: Escape) -> Result<Template, Vec<RuleError>> {
        Template::compile(text, &origin(text), escape, &self.env())
    }

    fn scope<T>(&self, run: impl FnOnce(&Scope<'_>) -> T) -> T {
        let mut request = Request::default();
        let mut cells = vec![Cell::Missing; self.schema.attributes.len()];
        for (name, value) in &self.values {
            cells[self.schema.by_name[name.as_str()].index()] = Cell::Context(request.context.len() as u16);
            request.context.push((AttrId(0), value.clone()));
        }
        let profile = Profile::default();
        let facts = Facts {
            cells: &cells,
            derived: &[],
            schema: &self.schema,
            profile: &profile,
            request: &request,
            now: Timestamp(0),
            record: None,
        };
        let links = [(Arc::from("shop"), "https://r.example/l/abc?x=1&y=2".to_owned())];
        run(&Scope {
            facts: &facts,
            offer_name: "Tea & more",
            links: &links,
            currency: self.currency,
            language: self.language,
        })
    }

    fn render(&self, text: &str) -> Result<String, String> {
        let template = self.compile(text, Escape::None).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        self.scope(|scope| template.render(scope)).map_err(|e| e.message)
    }

    fn error(&self, text: &str) -> String {
        match self.compile(text, Escape::None) {
            Ok(_) => panic!("{text} compiles"),
            Err(errors) => {
                format!("{}:{}: {}", errors[0].position.line, errors[0].position.column, errors[0].message)
            }
        }
    }
}

fn origin(text: &str) -> Origin {
    let position = Position { path: "rules/a.yaml".into(), line: 1, column: 1 };
    Origin { position, source: text.into(), first_line: 1, exact_columns: true }
}

#[test]
fn values_print_as_people_write_them() {
    let world = World::person();
    for (template, wanted) in [
        ("Hello", "Hello"),
        ("{{ p.points }} points", "1200 points"),
        ("{{ p.score }} {{ p.vip }}", "3 true"),
        ("{{ p.score + 0.5 }} {{ p.vip and true }}", "3.5 true"),
        ("{{ p.spend | money }}", "£1,234.50"),
        ("{{ p.spend|money|upper }}", "£1,234.50"),
        ("{{ p.birthday | date }}", "3 June 1980"),
        ("{{ p.birthday }} {{ p.joined }}", "1980-06-03 2011-03-13T07:06:40Z"),
        ("{{ p.joined | date }}", "13 March 2011"),
        ("{{ p.city | default('your town') }}", "your town"),
        ("{{ p.city | default(\"x\") | upper }}", "X"),
        ("{{ offer.name }} {{ language }}", "Tea & more en"),
        ("{{ links.shop }}", "https://r.example/l/abc?x=1&y=2"),
        ("{% if p.points > 1000 %}many{% else %}few{% endif %}", "many"),
        ("{% if p.city is defined %}{{ p.city }}{% else %}nowhere{% endif %}", "nowhere"),
        ("{% for tag in p.tags %}{{ tag }}{% if not loop.last %}, {% endif %}{% endfor %}", "gold, tea"),
        ("{{ p.tags | join(' + ') }}", "gold + tea"),
        ("{% raw %}{{ p.nothing }}{% endraw %}{# {{ p.nothing }} #}", "{{ p.nothing }}"),
        ("line\n", "line"),
        ("{{ p.points }}\n", "1200"),
        ("  {{- p.points -}}  x", "1200x"),
    ] {
        assert_eq!(world.render(template).as_deref(), Ok(wanted), "{template}");
    }
}

#[test]
fn money_and_dates_follow_the_language() {
    let spend = |currency, language, minor| {
        let world = World { currency, language, ..World::new() }.with("p.spend", Value::Money(minor));
        world.render("{{ p.spend | money }}").unwrap()
    };
    assert_eq!(spend(GBP, "en", 1_250), "£12.50");
    assert_eq!(spend(GBP, "de", 1_250), "12,50 £");
    assert_eq!(spend(EUR, "de-at", 123_456_789), "1.234.567,89 €");
    assert_eq!(spend(EUR, "en-us", -5), "-€0.05");
    assert_eq!(spend(Currency { code: *b"CHF", minor_digits: 2 }, "de", 100), "1,00 CHF");
    assert_eq!(spend(Currency { code: *b"JPY", minor_digits: 0 }, "en", 1_000), "¥1,000");
    let born = |language| World { language, ..World::person() }.render("{{ p.birthday | date }}").unwrap();
    assert_eq!(born("de"), "3. Juni 1980");
    assert_eq!(born("en-us"), "June 3, 1980");
    assert_eq!(born("fr"), "1980-06-03");
}

#[test]
fn a_missing_value_is_named() {
    let world = World::person();
    for (template, wanted) in [
        ("{{ p.city }}", "attribute p.city is missing"),
        ("{{ ctx.basket | money }}", "attribute ctx.basket is missing"),
        ("{{ links.terms }}", "link links.terms is missing"),
        ("{% if p.vip %}{{ p.city }}{% endif %}", "attribute p.city is missing"),
        (
            "{{ p.city | default('x') }}{% if p.vip %}{{ ctx.basket | money }}{% endif %}",
            "attribute ctx.basket is missing",
        ),
        ("{% if p.city == 'x' %}y{% endif %}", "attribute p.city is missing"),
        ("{{ p.city | upper }}", "attribute p.city is missing"),
    ] {
        assert_eq!(world.render(template), Err(wanted.to_owned()), "{template}");
    }
}

#[test]
fn values_are_escaped_for_html_and_literal_text_is_not() {
    let world = World::person();
    for (text, wanted) in [
        ("<b>{{ p.first_name }}</b>", "<b>Zoë &lt;b&gt;&amp;&#x27;&quot;&#x2f;</b>"),
        ("<b>{{ p.first_name | trim }}</b>", "<b>Zoë &lt;b&gt;&amp;&#x27;&quot;&#x2f;</b>"),
        ("{{ p.city | default('<i>') }}", "&lt;i&gt;"),
        ("{% if p.vip %}{{ offer.name }}{% endif %}", "Tea &amp; more"),
    ] {
        let template = world.compile(text, Escape::Html).unwrap();
        assert_eq!(world.scope(|scope| template.render(scope)).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn customer_data_is_never_a_template() {
    let world = World::new().with("p.first_name", Value::Text("{{ p.points }}{% if %}".into()));
    assert_eq!(world.render("{{ p.first_name }}").as_deref(), Ok("{{ p.points }}{% if %}"));
    assert_eq!(world.render("{{ p.first_name | trim }}").as_deref(), Ok("{{ p.points }}{% if %}"));
}

#[test]
fn mistakes_are_told_where_they_stand() {
    let world = World::new();
    for (template, wanted) in [
        ("Hi {{ p.first_nmae }}", "1:7: unknown attribute `p.first_nmae`; did you mean `p.first_name`?"),
        (
            "{{ p.city }}{% if p.pointz > 3 %}x{% endif %}",
            "1:19: unknown attribute `p.pointz`; did you mean `p.points`?",
        ),
        ("{{ links.shpo }}", "1:4: unknown link `links.shpo`; did you mean `shop`?"),
        ("{{ offer.title }}", "1:4: unknown name `offer.title`; did you mean `offer.name`?"),
        ("{{ first_name }}", "1:4: unknown name `first_name`; did you mean `p.first_name`?"),
        ("{{ p }}", "1:4: `p` alone cannot be used, write `p.` and a name"),
        ("{{ p['city'] }}", "1:4: `p` alone cannot be used, write `p.` and a name"),
        ("{{ range(9) }}", "1:4: unknown name `range`"),
        ("{{ p.city | uper }}", "1:13: unknown filter `uper`; did you mean `upper`?"),
        ("{{ p.city | safe }}", "1:13: unknown filter `safe`"),
        ("{% include 'x' %}", "1:4: statement `include` is not allowed in templates"),
        ("{% set x = 1 %}", "1:4: statement `set` is not allowed in templates"),
        ("{% macro m() %}{% endmacro %}", "1:4: statement `macro` is not allowed in templates"),
        ("{% extends 'x' %}", "1:4: statement `extends` is not allowed in templates"),
        ("{% import 'x' as y %}", "1:4: statement `import` is not allowed in templates"),
        ("{% autoescape false %}x{% endautoescape %}", "1:4: statement `autoescape` is not allowed in templates"),
        ("Hi {{ p.city", "1:4: `{{` is not closed, add `}}`"),
        ("Hi {{ p.city is odd }}", "1:17: unknown test `odd`, use `defined` or `undefined`"),
    ] {
        assert_eq!(world.error(template), wanted, "{template}");
    }
    for template in ["{{ }}", "{% if %}", "{% if p.vip %}", "{{ p.city | }}", "{{ 1 + }}", "{% endfor %}"] {
        assert!(world.error(template).contains("this is not a template"), "{template}");
    }
    assert_eq!(world.compile("{{ p.a }} {{ p.b }}", Escape::None).unwrap_err().len(), 2);
}

#[test]
fn work_and_size_are_bounded() {
    let world = World::new().with("p.first_name", Value::Text("x".repeat(256).into()));
    let long = "a".repeat(TEMPLATE_BYTES_MAX + 1);
    assert!(world.error(&long).contains("at most 32768 are allowed"));
    let many = "{{ p.first_name }}".repeat(1_800);
    assert!(world.render(&many).unwrap_err().contains(&OUTPUT_BYTES_MAX.to_string()));
    let slow = "{% for a in 'x' * 9000 %}{% for b in 'x' * 9000 %}{% endfor %}{% endfor %}";
    let told = world.render(slow).unwrap_err();
    assert!(told.contains(&FUEL_STEPS_MAX.to_string()), "{told}");
    let wide = "{{ 'x' * 90000 }}";
    assert!(world.render(wide).unwrap_err().contains(&OUTPUT_BYTES_MAX.to_string()));
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(world.compile(&deep, Escape::None).is_err());
}

#[test]
fn plain_templates_need_no_engine() {
    let world = World::new();
    let plain = |text: &str| matches!(*world.compile(text, Escape::Html).unwrap().body, Body::Parts(_));
    assert!(plain("Hi {{ p.first_name | default('you') }}, {{p.spend|money}} {{ links.shop }} {{ offer.name }}"));
    assert!(!plain("{% if p.vip %}x{% endif %}"));
    assert!(!plain("{{ p.tags }}"));
    assert!(!plain("{{ p.first_name | upper }}"));
    assert!(!plain("{{- p.first_name }}"));
    assert!(!plain("x{# note #}y"));
}

/// A small generator with a fixed seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

fn random_world(dice: &mut Dice) -> World {
    let texts = ["", "Anna", "Zoë <b>", "a&b'\"/", "{{ p.x }}", "007", "-12", "日本\n"];
    let mut world = World::new();
    world.language = dice.pick(&["en", "de", "fr", "en-us", "xx"]);
    for name in ["p.first_name", "p.city", "p.points", "p.score", "p.spend", "p.birthday", "p.joined", "p.vip"] {
        if dice.roll(5) == 0 {
            continue;
        }
        let value = match name {
            "p.first_name" | "p.city" => Value::Text(dice.pick(&texts).into()),
            "p.points" => Value::Int([0, -7, 1_234_567, i64::MIN][dice.roll(4)]),
            "p.score" => Value::Double([0.0, -0.0, 0.1, 1e21, -2.5, 3.0, 1e-7][dice.roll(7)]),
            "p.spend" => Value::Money([0, 5, -99, 123_456_789_012][dice.roll(4)]),
            "p.birthday" => Value::Date(Date(dice.roll(20_000) as i32)),
            "p.joined" => Value::Timestamp(Timestamp(dice.roll(2_000_000_000) as i64 * 1_000_003)),
            _ => Value::Bool(dice.roll(2) == 0),
        };
        world = world.with(name, value);
    }
    world
}

#[test]
fn the_fast_path_agrees_with_the_engine_to_the_byte() {
    let names = [
        "p.first_name",
        "p.city",
        "p.points",
        "p.score",
        "p.spend",
        "p.birthday",
        "p.joined",
        "p.vip",
        "offer.name",
        "links.shop",
        "links.terms",
        "language",
    ];
    let literals = ["Hi ", "<b>", "\n", " } ", "& ", "ü", "{ ", "%}", "\r\n", "", "a\n\n"];
    let mut dice = Dice(11);
    let (mut same, mut failed) = (0, 0);
    for _ in 0..3_000 {
        let world = random_world(&mut dice);
        let mut text = String::new();
        for _ in 0..1 + dice.roll(4) {
            text.push_str(dice.pick(&literals));
            let name = dice.pick(&names);
            let filter = match dice.roll(4) {
                0 => " | default('you & \"me\"')",
                1 if matches!(name, "p.points" | "p.score" | "p.spend") => "|money",
                _ => "",
            };
            text.push_str(&format!("{{{{ {name}{filter} }}}}"));
            text.push_str(dice.pick(&literals));
        }
        let escape = if dice.roll(2) == 0 { Escape::Html } else { Escape::None };
        let template = world.compile(&text, escape).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert!(matches!(*template.body, Body::Parts(_)), "{text}");
        let tags = Tags::scan(&text).unwrap();
        let engine = Engine::compile(&text, escape, world.currency).unwrap();
        let uses = Template::declared(&text, &origin(&text), &world.env(), &tags, &engine).unwrap();
        let engine = engine.with_uses(uses);
        world.scope(|scope| {
            let (fast, slow) = (template.render(scope), engine.render(&text, scope));
            let too_large = |e: &super::RenderError| e.message.contains("`money` needs");
            if !(fast.as_ref().is_err_and(too_large) && slow.as_ref().is_err_and(too_large)) {
                assert_eq!(fast, slow, "{text:?} {:?}", world.values);
            }
            if fast.is_ok() { same += 1 } else { failed += 1 }
        });
    }
    assert!(same > 1_000 && failed > 300, "{same} same, {failed} failed");
}

#[test]
fn mutated_templates_never_panic() {
    let seeds = [
        "Hi {{ p.first_name | default('you') }}, {{ p.spend | money }}",
        "{% if p.points > 3 %}{{ links.shop }}{% else %}{{ p.city }}{% endif %}",
        "{% for t in p.tags %}{{ t | upper }}{% endfor %}{# note #}{% raw %}{{{% endraw %}",
    ];
    let splices = [
        "{{", "}}", "{%", "%}", "{#", "#}", "'", "\"", "|", ".", "é", "\n", "p.city", "if", "(", ")", "[", "\\", "-",
        "raw",
    ];
    let mut dice = Dice(5);
    let world = World::person();
    for _ in 0..3_000 {
        let mut text: Vec<char> = dice.pick(&seeds).chars().collect();
        for _ in 0..1 + dice.roll(4) {
            let at = dice.roll(text.len() + 1);
            if dice.roll(2) == 0 && at < text.len() {
                text.remove(at);
            } else {
                text.splice(at..at, dice.pick(&splices).chars());
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(template) = world.compile(&text, Escape::Html) {
            world.scope(|scope| drop(template.render(scope)));
        }
    }
}

#[test]
fn deep_templates_neither_overflow_nor_hang() {
    let world = World::person();
    for text in [
        "{% if p.vip %}".repeat(2_000),
        "{% if p.vip %}".repeat(1_300) + &"{% endif %}".repeat(1_300),
        format!("{{{{ {}1 }}}}", "not ".repeat(8_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(30_000)),
        format!("{{{{ {}1{} }}}}", "[".repeat(15_000), "]".repeat(15_000)),
        format!("{{{{ 1{} }}}}", " + 1".repeat(8_000)),
        format!("{{{{ 1{} }}}}", "|upper".repeat(5_000)),
        format!("{{{{ p.city{} }}}}", ".a".repeat(15_000)),
        format!("{{{{ p.tags{} }}}}", "[0]".repeat(10_000)),
        format!("{{{{ {}1 }}}}", "1 if p.vip else ".repeat(2_000)),
        format!("{}x{}", "{% for a in p.tags %}".repeat(800), "{% endfor %}".repeat(800)),
        "{% if p.vip %}a{% elif p.vip %}".to_owned() + &"{% elif p.vip %}".repeat(1_900) + "{% endif %}",
        "{{".repeat(16_000),
        "{".repeat(32_000),
    ] {
        if let Ok(template) = world.compile(&text, Escape::Html) {
            world.scope(|scope| drop(template.render(scope)));
        }
    }
}

#[test]
fn the_deepest_template_allowed_compiles() {
    let world = World::person();
    for text in [
        "{% if p.vip %}".repeat(32) + "x" + &"{% endif %}".repeat(32),
        "{% if p.vip %}a".to_owned() + &"{% elif p.vip %}b".repeat(31) + "{% endif %}",
        format!("{{{{ {}1{} }}}}", "(".repeat(60), ")".repeat(60)),
        format!("{{{{ 1{} }}}}", " + 1".repeat(60)),
        format!("{{{{ {}true }}}}", "not ".repeat(120)),
        format!("{{{{ 'a'{} }}}}", "|upper".repeat(60)),
    ] {
        let template = world.compile(&text, Escape::Html).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        world.scope(|scope| assert!(template.render(scope).is_ok(), "{text}"));
    }
}
