use super::world::{World, set, text};
use crate::{
    domain::{Date, Timestamp, Value},
    rules::Truth::{False, True, Unknown},
};

fn person() -> World {
    World::new()
        .with("p.age", Value::Int(40))
        .with("p.score", Value::Double(0.5))
        .with("p.country", text("DE"))
        .with("p.language", text("de"))
        .with("p.tags", set(&["gold", "tea"]))
        .with("p.vip", Value::Bool(true))
        .with("p.birthday", Value::Date(Date::parse("1980-06-03").unwrap()))
        .with("p.joined", Value::Timestamp(Timestamp(1_299_000_000_000_000)))
        .with("p.spend", Value::Money(3_450))
        .with("ctx.basket", Value::Money(1_000))
}

#[test]
fn conditions_come_to_what_they_say() {
    let world = person();
    for (condition, wanted) in [
        ("p.age >= 40 && p.country == 'DE'", True),
        ("40 <= p.age", True),
        ("41 <= p.age", False),
        ("p.age == 40.0 && p.score < 1", True),
        ("p.age > 39.5 && p.age < 40.5", True),
        ("p.age + 1 == 41 && p.age % 7 == 5 && p.age / 3 == 13", True),
        ("p.age * p.score == 20", True),
        ("-p.age == -40", True),
        ("p.country in ['AT', 'DE']", True),
        ("p.age in [1, 40.0]", True),
        ("!(p.country in ['AT', 'CH'])", True),
        ("'gold' in p.tags && !('silver' in p.tags)", True),
        ("p.country in p.tags", False),
        ("size(p.tags) == 2 && p.tags.size() == 2 && size(p.country) == 2", True),
        ("has(p.country) && !has(p.city)", True),
        ("p.country.startsWith('D') && p.country.endsWith('E') && p.country.contains('E')", True),
        ("p.country.matches('^[A-Z]{2}$')", True),
        ("p.vip", True),
        ("p.vip == true && p.vip != false", True),
        ("p.vip == (p.age > 50)", False),
        ("p.birthday < date('2011-01-01') && p.birthday == date('1980-06-03')", True),
        ("p.joined < now && now - p.joined < duration('14d') && now - p.joined > duration('24h')", True),
        ("p.joined + duration('1h30m') > timestamp('2011-03-01T00:00:00Z')", True),
        ("p.spend > money('34.49') && p.spend <= money('34.5')", True),
        ("p.spend - ctx.basket == money('24.50') && ctx.basket * 2 == money('20')", True),
        ("p.spend / ctx.basket == 3.45 && p.spend / 2 == money('17.25')", True),
        ("double(p.spend) == 34.5 && int(p.score * 3.0) == 1 && double(p.age) == 40.0", True),
        ("(p.age > 50 ? p.spend : ctx.basket) == money('10')", True),
        ("p.age > 30 ? p.vip : p.open", True),
        ("p.language == 'de' && p.language != 'en'", True),
        ("true", True),
        ("p.vip // a note, with \"marks\"\n && p.country == 'D\\x45' && p.country == r'DE'", True),
        ("p.country == \"\"\"DE\"\"\" && p.city != '//' || p.age == 0x28", True),
        ("false || p.vip", True),
        ("p.tags.exists(t, t == 'tea') && p.tags.exists(t, t.startsWith('go'))", True),
        ("p.tags.exists(t, 'x' == t) || p.tags.exists(t, t in ['x', 'y'])", False),
        ("p.tags.all(t, size(t) >= 3) && !p.tags.all(t, size(t) > 3)", True),
        ("p.tags.exists_one(t, t < 'h') && !p.tags.exists_one(t, t > 'a')", True),
        ("size(p.tags.filter(t, t.contains('e'))) == 1 && p.tags.filter(t, t != '').size() == 2", True),
        ("p.tags.exists(t, p.tags.exists(u, t != u && u == 'tea' && t == 'gold'))", True),
        ("p.tags.all(t, p.tags.exists(u, t == u))", True),
        ("['gold', 'x'].exists(c, c in p.tags) && !['gold', 'x'].all(c, c in p.tags)", True),
        ("['gold', 'x'].exists_one(c, c in p.tags) && ['gold', 'tea'].filter(c, c in p.tags).size() == 2", True),
        ("[1, 40].exists(n, n == p.age) && ['a', 'b'].all(c, p.tags.all(t, t != c))", True),
        ("size([1, 2, 3]) == 3 && p.age in [1, p.age]", True),
        ("now.getFullYear() == 2011 && now.getMonth() == 2 && now.getDate() == 13 && now.getDayOfMonth() == 12", True),
        ("now.getDayOfWeek() == 0 && now.getDayOfYear() == 71 && now.getHours() == 7 && now.getMinutes() == 6", True),
        ("now.getHours('Europe/Berlin') == 8 && now.getHours('-07:30') == 23 && now.getSeconds() == 40", True),
        ("now.getMilliseconds() == 0 && p.birthday.getMonth() == 5 && duration('90m').getHours() == 1", True),
    ] {
        assert_eq!(world.truth(condition), wanted, "{condition}");
    }
}

#[test]
fn what_is_missing_is_unknown() {
    let world = World::new().with("p.age", Value::Int(40)).with("p.visits", Value::Int(0));
    for (condition, wanted) in [
        ("p.country == 'DE'", Unknown),
        ("p.country != 'DE'", Unknown),
        ("!(p.country == 'DE')", Unknown),
        ("p.country == 'DE' && p.age > 50", False),
        ("p.country == 'DE' || p.age > 30", True),
        ("p.country == 'DE' || p.age > 50", Unknown),
        ("p.country in ['DE']", Unknown),
        ("has(p.country)", False),
        ("has(p.country) && p.country == 'DE'", False),
        ("has(p.tags)", False),
        ("'gold' in p.tags", False),
        ("p.country in p.tags", Unknown),
        ("size(p.tags) == 0", True),
        ("p.vip ? true : true", Unknown),
        ("p.age / p.visits > 1", Unknown),
        ("p.age % p.visits > 1", Unknown),
        ("p.age / (p.visits * 1.0) > 1", Unknown),
        ("p.age + 9223372036854775807 > 1", Unknown),
        ("p.age * 9223372036854775807 > 1", Unknown),
        ("-9223372036854775808 - p.age < 0", Unknown),
        ("p.age * 1e308 > 1", Unknown),
        ("int(p.age * 1e300) > 1", Unknown),
        ("(p.spend + money('1')) > money('0')", Unknown),
        ("p.tags.exists(t, t == p.country)", False),
        ("p.tags.all(t, t == p.country)", True),
        ("['DE', 'AT'].exists(c, c == p.country)", Unknown),
        ("['DE', 'AT'].exists(c, c == p.country || c == 'AT')", True),
        ("['DE', 'AT'].all(c, c == p.country && c == 'AT')", False),
        ("['DE', 'AT'].exists_one(c, c == p.country || c == 'AT')", Unknown),
        ("size(['DE', 'AT'].filter(c, c == p.country)) >= 0", Unknown),
        ("p.age in [p.visits, 40]", True),
        ("p.visits in [p.age, 0, p.visits]", True),
        ("p.age in [40, size(p.country)]", Unknown),
        ("p.joined.getHours() >= 0", Unknown),
    ] {
        assert_eq!(world.truth(condition), wanted, "{condition}");
    }
}

#[test]
fn large_whole_numbers_compare_exactly_with_doubles() {
    let world = World::new().with("p.age", Value::Int(9_007_199_254_740_993));
    assert_eq!(world.truth("p.age == 9007199254740992.0"), False);
    assert_eq!(world.truth("p.age > 9007199254740992.0"), True);
    assert_eq!(world.truth("p.age < 1e19 && p.age > -1e19"), True);
}

#[test]
fn numbers_come_in_major_units() {
    let world = person();
    assert_eq!(world.value("12.5"), Some(12.5));
    assert_eq!(world.value("money('12.50')"), Some(12.5));
    assert_eq!(world.value("0.1 * double(p.spend)"), Some(3.45));
    assert_eq!(world.value("p.spend * 0.1"), Some(3.45));
    assert_eq!(world.value("p.spend"), Some(34.5));
    assert_eq!(world.value("p.age"), Some(40.0));
    assert_eq!(world.value("ctx.basket > money('20') ? 1.2 : 1.0"), Some(1.0));
    assert_eq!(world.value("p.visits"), None);
    assert_eq!(world.value("p.age / 0"), None);
    assert!(matches!(world.number("-3"), Ok(crate::rules::Number::Constant(v)) if v == -3.0));
    assert!(world.number("p.country").unwrap_err()[0].message.contains("a number or money is needed"));
    assert!(world.number("p.vip").is_err());
}

#[test]
fn failed_literals_are_the_smallest_that_matter() {
    let world = person();
    let failed = |condition: &str| -> Vec<(String, u32, String, crate::rules::Truth)> {
        let compiled = world.compile(condition).unwrap_or_else(|e| panic!("{condition}: {e:?}"));
        let failed = world.facts(|facts| compiled.failed(facts));
        failed.into_iter().map(|f| (f.text, f.position.column, f.value_read, f.truth)).collect()
    };
    assert_eq!(failed("p.age > 30"), []);
    assert_eq!(
        failed("p.vip && p.country == 'AT' && (p.age > 50 || p.visits > 3)"),
        [
            ("p.country == 'AT'".into(), 10, "p.country = \"DE\"".into(), False),
            ("p.age > 50".into(), 32, "p.age = 40".into(), False),
            ("p.visits > 3".into(), 46, "p.visits is missing".into(), Unknown),
        ]
    );
    assert_eq!(failed("!p.vip"), [("!p.vip".into(), 1, "p.vip = true".into(), False)]);
    assert_eq!(failed("!(p.vip || p.age > 50)"), [("!(p.vip)".into(), 3, "p.vip = true".into(), False)]);
    assert_eq!(
        failed("p.spend + ctx.basket > money('100')"),
        [(
            "p.spend + ctx.basket > money('100')".into(),
            1,
            "p.spend = 34.50 GBP, ctx.basket = 10.00 GBP".into(),
            False
        )]
    );
    assert_eq!(failed("(p.age) + 1 < (2)")[0].0, "(p.age) + 1 < (2)");
    assert_eq!(failed("p.age > 50 ? p.vip : p.open")[0].0, "p.open");
    assert_eq!(failed("'x' in p.tags")[0].2, "p.tags = [\"gold\", \"tea\"]");
    assert_eq!(failed("p.birthday > date('2000-01-01')")[0].2, "p.birthday = 1980-06-03");
}

#[test]
fn segments_are_put_in_with_their_own_places() {
    let world = person().segment("silent", "p.visits > 3 && seg.local").segment("local", "  p.country == 'AT'");
    let compiled = world.compile("p.vip && !seg.silent").unwrap();
    world.facts(|facts| assert_eq!(compiled.truth(facts), True));
    let compiled = world.compile("p.vip && seg.silent").unwrap();
    let failed = world.facts(|facts| compiled.failed(facts));
    let places: Vec<String> = failed.iter().map(|f| format!("{} {}", f.position, f.text)).collect();
    assert_eq!(places, ["rules/silent.yaml:1:1 p.visits > 3", "rules/local.yaml:1:3 p.country == 'AT'"]);
}

#[test]
fn macros_are_put_in_as_what_they_are() {
    let world = person()
        .named("limit", "money('20')")
        .named("german", "p.language == 'de' && p.country in macro.countries")
        .named("countries", "['DE', 'AT', 'CH']")
        .named("double_spend", "p.spend * 2")
        .segment("big", "macro.double_spend > macro.limit");
    for (condition, wanted) in [
        ("p.spend > macro.limit", True),
        ("macro.german", True),
        ("!macro.german", False),
        ("macro.countries.exists(c, c == p.country)", True),
        ("'DE' in macro.countries && size(macro.countries) == 3", True),
        ("seg.big && macro.double_spend == money('69')", True),
    ] {
        assert_eq!(world.truth(condition), wanted, "{condition}");
    }
    assert_eq!(world.value("macro.double_spend"), Some(69.0));
    let failed = world.facts(|facts| world.compile("!macro.german").unwrap().failed(facts));
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(failed[0].position.to_string(), "rules/german.yaml:1:1");
}

#[test]
fn a_stored_double_that_is_not_finite_is_unknown() {
    for value in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let world = World::new().with("p.score", Value::Double(value));
        for condition in ["p.score > 1.5", "p.score < 1.5", "p.score != 1.5", "p.score > 1", "p.score + 1.0 > 1.5"] {
            assert_eq!(world.truth(condition), Unknown, "{condition} {value}");
        }
    }
}

#[test]
fn what_lint_asks_for_is_told() {
    let world = person();
    let compiled = |text: &str| world.compile(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    for (condition, wanted) in [
        ("true", Some(true)),
        ("1 > 2", Some(false)),
        ("p.vip && false", Some(false)),
        ("p.vip || 'a'.startsWith('a')", Some(true)),
        ("1 / 0 == 1", Some(false)),
        ("!(1 / 0 == 1)", Some(false)),
        ("true ? p.vip : false", None),
        ("now > timestamp('2011-01-01T00:00:00Z')", None),
        ("p.vip || !p.vip", None),
        ("['a'].exists(c, c == 'a')", Some(true)),
    ] {
        assert_eq!(compiled(condition).always(), wanted, "{condition}");
    }
    let names = |condition: &str| -> Vec<(u32, String)> {
        let found = compiled(condition).bare_negations(&world.schema);
        let name = |slot: crate::domain::AttrSlot| world.schema.attributes[slot.index()].full_name.to_string();
        found.into_iter().map(|(position, slot)| (position.column, name(slot))).collect()
    };
    let country = |column| vec![(column, "p.country".to_owned())];
    for (condition, wanted) in [
        ("p.country == 'DE'", vec![]),
        ("p.country != 'DE'", country(1)),
        ("p.vip && !(p.country in ['DE'])", country(10)),
        ("!(p.vip && p.country == 'DE')", vec![(3, "p.vip".to_owned()), (12, "p.country".to_owned())]),
        ("!(p.country != 'DE')", vec![]),
        ("has(p.country) && p.country != 'DE'", vec![]),
        ("!has(p.country) || p.country != 'DE'", vec![]),
        ("has(p.country) ? p.country != 'DE' : true", vec![]),
        ("has(p.city) && p.country != 'DE'", country(16)),
        ("!('x' in p.tags) && p.tags.all(t, t != 'x')", vec![]),
        ("p.tags.all(t, t != p.country)", country(15)),
    ] {
        assert_eq!(names(condition), wanted, "{condition}");
    }
    let reads: Vec<String> = compiled("p.vip && has(p.city) || p.tags.exists(t, t == p.country)")
        .reads()
        .into_iter()
        .map(|slot| world.schema.attributes[slot.index()].full_name.to_string())
        .collect();
    assert_eq!(reads, ["p.country", "p.city", "p.tags", "p.vip"]);
}

#[test]
fn every_example_of_the_reference_is_true() {
    use super::super::{
        functions::{FUNCTIONS, OPERATORS},
        order,
    };
    let world = person();
    for function in OPERATORS.iter().chain(FUNCTIONS) {
        assert_eq!(world.truth(function.example), True, "{}", function.example);
        let signs: Vec<&str> = function.name.split(' ').collect();
        assert!(signs.iter().all(|sign| function.example.contains(sign)), "{function:?}");
    }
    let listed: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    for name in order::FUNCTIONS.iter().chain(&order::METHODS) {
        assert!(listed.contains(name), "`{name}` is missing in the reference");
    }
    for name in &listed {
        assert!(order::FUNCTIONS.contains(name) || order::METHODS.contains(name), "`{name}` is not a function");
    }
}

#[test]
fn what_is_not_read_is_unknown_a_set_too() {
    let world =
        World::new().with("p.tags", set(&["gold"])).with("p.age", Value::Int(30)).hiding("p.tags").hiding("p.age");
    for text in [
        "p.age > 3",
        "!(p.age > 3)",
        "'gold' in p.tags",
        "!('gold' in p.tags)",
        "!('silver' in p.tags)",
        "p.country in p.tags",
        "size(p.tags) >= 0",
        "p.tags.exists(t, t == 'gold')",
        "p.tags.exists(t, t.startsWith('g'))",
        "p.tags.all(t, size(t) > 1)",
        "['gold', 'tea'].exists(t, t in p.tags)",
        "size(p.tags.filter(t, t != 'x')) == 1",
    ] {
        assert_eq!(world.truth(text), Unknown, "{text}");
    }
    for text in ["has(p.tags)", "has(p.age)"] {
        assert_eq!(world.truth(text), False, "{text}");
    }
}
