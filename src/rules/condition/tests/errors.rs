use super::world::{World, origin};
use crate::rules::{CompileEnv, Condition, Expression, Lost, Origin, Position};

#[test]
fn mistakes_are_told_where_they_stand() {
    let world = World::new().segment("silent", "p.age > 3").named("limit", "3");
    for (condition, wanted) in [
        ("p.agee > 3", "1: unknown attribute `p.agee`; did you mean `p.age`?"),
        ("p.vip && ctx.baskte > money('1')", "10: unknown attribute `ctx.baskte`; did you mean `ctx.basket`?"),
        ("p.basket > money('1')", "1: unknown attribute `p.basket`; did you mean `ctx.basket`?"),
        ("age > 3", "1: unknown name `age`; did you mean `p.age`?"),
        ("p.AGE > 3", "1: unknown attribute `p.AGE`; did you mean `p.age`?"),
        ("p.city.matches('^\\d+$')", "18: `\\d` is no escape, write `\\\\d`, or the whole text as `r'...'`"),
        ("p.city == \"a\\/b\"", "13: `\\/` is no escape, write `\\\\/`, or the whole text as `r'...'`"),
        (
            "now > '2026-01-01'",
            "1: cannot compare `now` (timestamp) with `'2026-01-01'` (string), write `timestamp('2026-01-01T00:00:00Z')`",
        ),
        (
            "now > 'soon'",
            "1: cannot compare `now` (timestamp) with `'soon'` (string), as in `timestamp('2011-01-31T08:00:00Z')`",
        ),
        ("now > timestamp('2026-01-01')", "17: `2026-01-01` is not a moment, write it as `2026-01-01T00:00:00Z`"),
        ("now > timestamp('0000-01-01T00:00:00Z')", "17: `0000-01-01T00:00:00Z` is before the year 1"),
        (
            "now - p.joined > 14",
            "1: cannot compare `now - p.joined` (duration) with `14` (int), write `duration('14d')` for days",
        ),
        ("p.age in (1, 2)", "10: a list stands in square brackets: `[1, 2]`"),
        ("p.age \u{2265} 3", "7: `\u{2265}` is not an operator, use `>=`"),
        ("p.age\u{a0}> 3", "6: character U+00A0 is not allowed here, write a plain space or nothing"),
        ("x.y.z", "1: unknown name `x.y.z`"),
        ("p.seg.silent", "1: unknown name `p.seg.silent`; did you mean `seg.silent`?"),
        ("p.spend > money('99999999999999999999')", "17: `99999999999999999999` is more money than can be counted"),
        ("p.vip and p.open", "7: `and` is not an operator, use `&&`"),
        ("p.vip or p.open", "7: `or` is not an operator, use `||`"),
        ("not p.vip", "1: `not` is not an operator, use `!`"),
        ("p.age = 3", "7: `=` does not compare, use `==`"),
        ("p.age === 3", "7: `===` is not an operator, use `==`"),
        ("p.age !== 3", "7: `!==` is not an operator, use `!=`"),
        ("p.age => 3", "7: `=>` is not an operator, use `>=`"),
        ("p.age =< 3", "7: `=<` is not an operator, use `<=`"),
        ("p.vip AND p.open", "7: `AND` is not an operator, use `&&`"),
        ("p.vip Or p.open", "7: `Or` is not an operator, use `||`"),
        ("p.vip | p.open", "7: `|` is not an operator, use `||`"),
        ("p.vip &&& p.open", "9: `&` is not an operator, use `&&`"),
        ("NOT p.vip", "1: `NOT` is not an operator, use `!`"),
        ("p.city not in ['a']", "8: `not` is not an operator, use `!` before the value, as in `!(p.name in ['a'])`"),
        ("p.city IN ['a']", "8: `IN` is not an operator, use `in`"),
        ("p.city like 'a%'", "8: `like` is not an operator, write it as `p.name.matches('...')`"),
        ("p.city contains 'a'", "8: `contains` is not an operator, write it as `p.name.contains('...')`"),
        ("p.city == \u{201c}a\u{201d}", "11: typographic quotes do not quote, use `'` or `\"`"),
        ("p.city == \u{2018}a\u{2019}", "11: typographic quotes do not quote, use `'` or `\"`"),
        ("p.spend > $5", "11: `$` is not allowed here, write amounts as `money('12.50')`"),
        ("now - p.joined > 7d", "18: a duration is written `duration('7d')`"),
        ("p.vip; p.open", "6: `;` is not allowed here, join conditions by `&&`"),
        ("p.vip ?? true", "7: `??` is not an operator, use `has(p.name) ? p.name : ...`"),
        ("[p.vip", "1: `[` is not closed"),
        ("p.vip]", "6: `]` closes nothing"),
        ("(p.vip]", "7: `)` is missing before `]`"),
        ("p.city == \"DE", "11: this text is not closed, add `\"`"),
        ("p.age <> 3", "7: `<>` is not an operator, use `!=`"),
        ("p.vip & p.open", "7: `&` is not an operator, use `&&`"),
        ("p.age > ", "9: the condition ends where a value is expected"),
        ("p.age > > 3", "9: a value is missing before `>`"),
        ("(p.vip", "1: `(` is not closed"),
        ("p.vip)", "6: `)` closes nothing"),
        ("p.country in ['a')", "18: `]` is missing before `)`"),
        ("p.country == 'DE", "14: this text is not closed, add `'`"),
        ("p.country == 5", "1: cannot compare `p.country` (string) with `5` (int), write `'5'`"),
        ("p.spend > 20", "1: cannot compare `p.spend` (money) with `20` (int), write `money('20')`"),
        (
            "p.birthday > '2011-01-01'",
            "1: cannot compare `p.birthday` (date) with `'2011-01-01'` (string), write `date('2011-01-01')`",
        ),
        ("p.age > '3'", "1: cannot compare `p.age` (int) with `'3'` (string), leave out the quotes"),
        ("p.language == 'dee'", "15: `dee` is not a value of `p.language`; did you mean `de`?"),
        ("p.language in ['en', 'xx']", "22: `xx` is not a value of `p.language`, it holds `en`, `de`, `fr`"),
        ("'xx' != p.language", "1: `xx` is not a value of `p.language`, it holds `en`, `de`, `fr`"),
        ("p.vip && p.age", "10: a condition is needed here, `p.age` is int"),
        ("p.country + 'x' == 'y'", "1: cannot combine by `+` `p.country` (string) with `'x'` (string)"),
        ("p.spend + 1 > money('2')", "1: cannot combine by `+` `p.spend` (money) with `1` (int), write `money('1')`"),
        ("p.score % 2 == 0", "1: cannot combine by `%` `p.score` (double) with `2` (int)"),
        ("seg.silnet", "1: unknown segment `silnet`; did you mean `silent`?"),
        ("p.country.startWith('D')", "11: unknown function `startWith`; did you mean `startsWith`?"),
        ("lower(p.country) == 'd'", "1: unknown function `lower`"),
        ("p.tags.map(t, t)", "8: `map` is not supported, use `exists`, `all`, or `size` of a `filter`"),
        ("p.tags.exist(t, t == 'x')", "8: unknown function `exist`; did you mean `exists`?"),
        ("p.tags.exists(t)", "1: `exists` takes a name and a condition, as in `p.tags.exists(t, t == 'x')`"),
        ("p.tags.exists('t', true)", "15: a name for the element stands here, as in `p.tags.exists(t, t == 'x')`"),
        ("p.tags.exists(p, p == 'x')", "15: `p` already has a meaning, take another name"),
        (
            "p.tags.exists(t, p.tags.all(t, t == 'x'))",
            "29: `t` already names an element of the list around it, take another name",
        ),
        ("p.tags.exists(t, t > 3)", "18: cannot compare `t` (string) with `3` (int), write `'3'`"),
        (
            "p.tags.exists(t, u == 'x')",
            "18: unknown name `u`, attributes are `p.NAME` and `ctx.NAME`, text stands in quotes",
        ),
        ("p.tags.exists(t, t.x == 'x')", "18: `t` has no fields"),
        (
            "p.tags.exists(t, true) && t == 'x'",
            "27: unknown name `t`, attributes are `p.NAME` and `ctx.NAME`, text stands in quotes",
        ),
        ("p.age.exists(t, t == 'x')", "1: `exists` walks over a list or a set, `p.age` is int"),
        ("['a', 1].exists(t, t == 'x')", "7: a list holds values of one type, `'a'` is string and `1` is int"),
        ("[].exists(t, t == 'x')", "1: the list is empty"),
        ("[p.city].exists(t, t == 'x')", "2: a list under `exists` holds literals only"),
        (
            "p.tags.filter(t, t == 'x') == ['x']",
            "1: `filter` stands only in `size(...)`, use `exists` or `all` with `&&` to ask about what it keeps",
        ),
        ("p.age.getHours() == 1", "1: `p.age` (int) has no `getHours`"),
        ("p.birthday.getHours() == 1", "1: `p.birthday` (date) has no `getHours`"),
        ("now.getHours('Mars') == 1", "14: `Mars` is not a time zone, write it as `Europe/London` or `+02:00`"),
        ("p.visits == macro.limt", "13: unknown macro `limt`; did you mean `limit`?"),
        ("macro.limit", "1: a condition is needed here, `macro.limit` is int"),
        ("p.country.matches(p.city)", "19: `matches` takes a literal pattern"),
        ("p.country.matches('(')", "19: `'('` is not a pattern: unclosed group"),
        ("p.spend > money('1.234')", "17: `1.234` is not an amount in GBP with at most 2 digits after the point"),
        ("p.birthday > date('2011-13-01')", "19: `2011-13-01` is not a date, write `YYYY-MM-DD`"),
        (
            "now - p.joined > duration('1 day')",
            "27: `1 day` is not a duration, write it as `90s`, `30m`, `24h` or `7d`",
        ),
        ("has(p.x)", "1: unknown attribute `p.x`"),
        ("has(3)", "5: `has` asks about one attribute, as in `has(p.country)`"),
        ("p == 3", "1: `p` alone has no value, write `p.` and a name"),
        ("p.country == null", "14: `null` is not supported, ask with `has(...)` whether there is a value"),
        ("p.tags == ['a']", "11: a list stands only to the right of `in` or before `.exists(...)` and its like"),
        ("p.tags[0] == 'a'", "7: `[` cannot follow a value, single elements are not supported"),
        ("{'a': 1}", "1: maps are not supported, use a list in `[` and `]`"),
        ("p.age == 99999999999999999999", "10: this whole number does not fit into 64 bits"),
        ("(p.vip ? 1 : 'x') == 1", "10: both sides of a choice need one type, these are int and string"),
        ("p.vip ? 1", "10: a choice with `?` has no `:`"),
        ("", "1: the condition is empty"),
        ("p.age == 1u", "10: unsigned numbers are not supported, leave out the `u`"),
        ("p.größe > 3", "5: character `ö` is not allowed here"),
        ("if == 3", "1: `if` is a reserved word"),
    ] {
        let told = world.error(condition);
        assert_eq!(told, wanted, "{condition}");
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let errors = World::new().compile("p.agee > 3 && p.countyr == 'DE' && p.vip == 3").unwrap_err();
    let columns: Vec<u32> = errors.iter().map(|e| e.position.column).collect();
    assert_eq!(columns, [1, 15, 36]);
    assert_eq!(errors[1].snippet, "p.agee > 3 && p.countyr == 'DE' && p.vip == 3\n              ^");
}

#[test]
fn a_cycle_of_segments_is_told_alike_from_everywhere() {
    let world =
        World::new().segment("b", "p.vip || seg.c").segment("c", "seg.a && p.vip").segment("a", "p.open || seg.b");
    let wanted = "rules/a.yaml:1:11: segment `a` contains itself: a -> b -> c -> a";
    for condition in ["seg.a", "p.vip && seg.b", "!seg.c"] {
        let errors = world.compile(condition).unwrap_err();
        let told: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.position, e.message)).collect();
        assert_eq!(told, [wanted], "{condition}");
    }
    let own = &world.segments["b"];
    let errors = Condition::compile(&own.text, &own.origin, &world.env()).unwrap_err();
    assert!(errors[0].message.contains("a -> b -> c -> a"));
}

#[test]
fn a_cycle_through_macros_and_segments_shows_its_chain() {
    let world = World::new()
        .named("x", "p.vip && seg.y")
        .segment("y", "macro.z || p.open")
        .named("z", "[1].exists(n, macro.x)")
        .named("own", "1 + macro.own");
    let wanted = "rules/x.yaml:1:10: macro `x` contains itself: macro.x -> seg.y -> macro.z -> macro.x";
    for condition in ["macro.x", "!seg.y", "macro.z || p.vip"] {
        let errors = world.compile(condition).unwrap_err();
        let told: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.position, e.message)).collect();
        assert_eq!(told, [wanted], "{condition}");
    }
    assert_eq!(world.error("macro.own > 2"), "5: macro `own` contains itself: own -> own");
    let checked = Expression::check("macro.own", &origin("macro.own"), &world.env()).unwrap_err();
    assert!(checked[0].message.contains("own -> own"));
    assert!(Expression::check("['a', 'b']", &origin("['a', 'b']"), &world.env()).is_ok());
}

#[test]
fn segments_that_double_do_not_explode() {
    let mut world = World::new().segment("s0", "p.vip");
    for level in 1..40 {
        let text = format!("seg.s{} || seg.s{}", level - 1, level - 1);
        world = world.segment(&format!("s{level}"), &text);
    }
    let errors = world.compile("seg.s39").unwrap_err();
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.message.contains("more than 4096 parts"), "{error}");
    // told where too much is put in, not inside a segment
    assert_eq!((&*error.position.path, error.position.column), (&*origin("").position.path, 1), "{error}");
}

#[test]
fn the_last_day_of_cel_is_a_moment() {
    let world = World::new();
    assert!(world.compile("now < timestamp('9999-12-31T23:59:59Z')").is_ok());
    assert!(world.compile("now < timestamp('9999-12-31T23:59:61Z')").is_err());
}

#[test]
fn what_was_lost_is_not_told_and_the_rest_is() {
    let world = World::new();
    let lost = |attributes, segments| Lost { attributes, segments, ..Lost::default() };
    let told = |text: &str, lost| {
        let env = CompileEnv { lost, ..world.env() };
        Condition::compile(text, &origin(text), &env).unwrap_err().len()
    };
    assert_eq!(told("p.gone > 3 && seg.gone", lost(false, false)), 2);
    assert_eq!(told("p.gone > 3 && seg.gone", lost(true, false)), 1);
    assert_eq!(told("p.gone > 3 && seg.gone", lost(true, true)), 0);
    assert_eq!(told("p.gone > 3 && p.vip == 3", lost(true, true)), 1);
    assert_eq!(told("p.gone > > 3", lost(true, true)), 1);
}

#[test]
fn places_in_block_scalars_are_found() {
    let source = "offers:\n  - id: a\n    eligibility: >-\n      p.vip &&\n      p.agee > 3\n    value: 1\n";
    let origin = Origin {
        first_line: 1,
        position: Position { path: "rules/a.yaml".into(), line: 4, column: 7 },
        source: source.into(),
        exact_columns: false,
    };
    let world = World::new();
    let errors = Condition::compile("p.vip && p.agee > 3", &origin, &world.env()).unwrap_err();
    assert_eq!((errors[0].position.line, errors[0].position.column), (5, 7));
    assert_eq!(errors[0].snippet, "      p.agee > 3\n      ^");
    let literal = Condition::compile("p.vip &&\np.agee > 3\n", &origin, &world.env()).unwrap_err();
    assert_eq!((literal[0].position.line, literal[0].position.column), (5, 7));
    let escaped = Condition::compile("p.open && p.agee > 3", &origin, &world.env()).unwrap_err();
    assert_eq!((escaped[0].position.line, escaped[0].position.column), (4, 7));
}

#[test]
fn columns_count_characters_from_the_scalar() {
    let text = "p.city == 'Köln' && p.agee > 3";
    let mut origin = origin(text);
    origin.position.column = 20;
    let errors = Condition::compile(text, &origin, &World::new().env()).unwrap_err();
    assert_eq!(errors[0].position.column, 40);
}
