use std::time::{Duration, Instant};

use super::world::World;

/// Texts tried by the mutation test.
const MUTATIONS: usize = 4_000;
/// Longer than this is a hang; a text takes milliseconds even where nothing is
/// optimised.
const HANG: Duration = Duration::from_secs(5);

#[test]
fn deep_text_is_refused_before_it_is_parsed() {
    let world = World::new();
    for text in [
        format!("{}p.vip{}", "(".repeat(1000), ")".repeat(1000)),
        format!("{}1{}", "[".repeat(1000), "]".repeat(1000)),
        format!("p.age{} > 1", " + 1".repeat(1000)),
        format!("p{}", ".a".repeat(1000)),
        format!("{}1 > 2", "p.vip ? 1 : ".repeat(500)),
        format!("{}p.age", "p.vip ? ".repeat(500)),
        format!("p.age{} ", " < 1".repeat(1000)),
        format!("{}p.age{}", "size(".repeat(1000), ")".repeat(1000)),
        format!("p.country{}", ".size()".repeat(500)),
        "(".repeat(8000),
        "p.vip && ".repeat(2000),
    ] {
        assert!(world.compile(&text).is_err());
    }
}

#[test]
fn a_nesting_of_a_hundred_thousand_is_refused_at_once() {
    const DEEP: usize = 100_000;
    let world = World::new().named("m", &"(".repeat(DEEP)).segment("s", &"!".repeat(DEEP));
    for part in
        ["(", "!", "[", "-", "p.vip ? p.vip : ", "p.vip ? ", "{", "size(", "p.tags.exists(t, ", "p.a.", "has(", "'"]
    {
        let started = Instant::now();
        assert!(world.compile(&part.repeat(DEEP)).is_err());
        assert!(world.compile(&format!("{}p.vip{}", part.repeat(DEEP), ")".repeat(DEEP))).is_err());
        assert!(started.elapsed() < HANG, "{part}");
    }
    assert!(world.compile("macro.m || seg.s").is_err());
}

#[test]
fn texts_of_the_largest_size_take_no_time() {
    let world = World::new();
    let most = |part: &str, rest: &str| format!("{}{rest}", part.repeat((8_192 - rest.len()) / part.len()));
    for text in [
        most("!", "p.vip"),
        most("-", "p.age > 0"),
        most("p.vip && ", "p.vip"),
        most("p.vip || p.open && ", "p.vip"),
        most("p.age == 1 ? p.vip : ", "p.open"),
        most("1 + ", "p.age > 0"),
        most("['a', 'b'].exists(a, ", "p.vip"),
        format!("p.age in [{}]", most("1,", "1]").trim_end_matches(']')),
        most("p.country.matches('^(a|b)*c$') && ", "p.vip"),
        format!("['a'].exists(c, {})", most("c == 'b' || ", "p.vip")).chars().take(8_192).collect(),
    ] {
        let started = Instant::now();
        if let Ok(condition) = world.compile(&text) {
            world.facts(|facts| (condition.truth(facts), condition.failed(facts)));
        }
        assert!(started.elapsed() < HANG, "{}", &text[..40]);
    }
}

#[test]
fn choices_within_choices_take_no_time() {
    let world = World::new();
    let names = |from: usize, count: usize| {
        let names: Vec<String> = (from..from + count).map(|n| format!("'{n:x}'")).collect();
        names.join(",")
    };
    let nested = |first: String, rest: &str, depth: usize| {
        (0..depth).fold(first, |text, n| format!("({text}){}", rest.replace('#', &n.to_string())))
    };
    let list = format!("p.country in [{}]", names(0, 1_300));
    let ages: Vec<String> = (0..40).map(|n| format!("p.age == {}", n * 2)).collect();
    let lists: Vec<String> = (0..20).map(|n| format!("p.country in [{}] && p.age > {n}", names(n, 50))).collect();
    let numbers: Vec<String> = (0..1_000).map(|n| (n * 2).to_string()).collect();
    for text in [
        nested(list.clone(), " ? true : false", 17),
        nested(list.clone(), " ? p.age > # : p.vip", 17),
        nested(format!("!({list})"), " == true", 17),
        nested(list, " ? (p.age > # ? p.vip : p.open) : p.country == 'x#'", 17),
        nested(ages.join(" || "), " ? p.vip : p.age > # || p.age == -#", 17),
        nested("p.vip".into(), " ? p.age == # || p.visits == # : p.open || p.country == 'x#'", 17),
        nested(format!("p.age in [{}]", numbers.join(",")), " ? p.age != # : p.age == 20#", 17),
        lists.join(" || "),
        format!("({}) && ({})", lists[..10].join(" || "), lists[10..].join(" || ")),
        nested(lists[0].clone(), " ? p.city != 'c#' : !(p.country in ['a', 'b#'])", 30),
    ] {
        let started = Instant::now();
        _ = world.compile(&text);
        assert!(started.elapsed() < HANG, "{:?} {} {}", started.elapsed(), &text[..40], text.len());
    }
}

#[test]
fn lists_that_multiply_are_bounded() {
    let list = "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']";
    let mut text = "p.vip".to_owned();
    for name in ["a", "b", "c", "d", "e"] {
        text = format!("{list}.exists({name}, {text})");
    }
    let errors = World::new().compile(&text).unwrap_err();
    assert!(errors[0].message.contains("more than 4096 parts"), "{errors:?}");
}

#[test]
fn the_deepest_text_allowed_compiles() {
    let world = World::new();
    let brackets = format!("{}p.vip{}", "(".repeat(60), ")".repeat(60));
    let sums = format!("p.age{} > 1", " + 1".repeat(60));
    let signs = format!("{}p.vip", "!".repeat(8000));
    let minus = format!("{}p.age > 0", "-".repeat(8000));
    let chain = "p.vip && ".repeat(900) + "p.vip";
    let list = format!("p.age in [{}1]", "1, ".repeat(2500));
    let choices = format!("({}1) > 2", "p.vip ? 1 : ".repeat(50));
    for text in [brackets, sums, signs, minus, chain, list, choices] {
        assert!(world.compile(&text).is_ok(), "{}", &text[..40]);
    }
}

#[test]
fn deep_chains_of_segments_are_bounded() {
    let chain = |links: usize, depth: usize| {
        let mut world = World::new().segment("s0", "p.vip");
        for link in 1..links {
            let text = format!("{}seg.s{}{}", "!(".repeat(depth), link - 1, " == true)".repeat(depth));
            world = world.segment(&format!("s{link}"), &text);
        }
        world.compile(&format!("seg.s{}", links - 1))
    };
    let errors = chain(200, 30).unwrap_err();
    assert!(errors[0].message.contains("once its segments are put in"), "{errors:?}");
    let deep = chain(4, 20).unwrap();
    World::new().facts(|facts| (deep.truth(facts), deep.failed(facts)));
    assert!(chain(30, 1).is_ok());
}

/// A small generator with a fixed seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}

#[test]
fn mutated_text_never_panics_and_errors_stay_readable() {
    let world = World::new().segment("silent", "p.age > 3").named("limit", "1 + p.visits");
    let seeds = [
        "p.age >= 40 && p.country == 'DE' || !has(p.city)",
        "p.spend * 2.5 > money('12.50') ? p.vip : seg.silent",
        "p.country in ['AT', \"DE\"] && 'x' in p.tags && p.country.matches('^a+$')",
        "now - p.joined > duration('24h') && p.birthday < date('2011-01-01')",
        "size(p.tags) + int(p.score) - -3 <= 0x1f % 7",
        "p.tags.exists(t, t.startsWith('x') || p.tags.all(u, u != t)) && ['a', 'b'].exists_one(c, c in p.tags)",
        "size(p.tags.filter(t, t == p.country)) > macro.limit && now.getHours('Europe/London') in [8, 9, p.age]",
        "has(p.country) ? p.country != 'United Kingdom' : ctx.basket >= money('2500') || p.language == 'de'",
    ];
    let splices = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "?",
        ":",
        "'",
        "\"",
        "\\",
        "&&",
        "||",
        "!",
        "=",
        "-",
        "in",
        "p",
        "é",
        "\u{0}",
        "\n",
        "//",
        "r'",
        "'''",
        "null",
        "1e",
        "0x",
        "size(",
        "p.age",
        "has(",
        "has(p.age)",
        "🙂",
        "\t",
        "u",
        "@",
        "`",
        "$",
        ";",
        "p.tags.size()",
        "all(",
        ".exists(x, true)",
        ".filter(t, t == 'x')",
        "['a', 'b']",
        "macro.limit",
        "getHours()",
        "true",
        "9223372036854775808",
    ];
    let mut dice = Dice(7);
    for _ in 0..MUTATIONS {
        let mut text: Vec<char> = dice.pick(&seeds[..]).chars().collect();
        for _ in 0..1 + dice.roll(4) {
            let at = dice.roll(text.len() + 1);
            match dice.roll(3) {
                0 if at < text.len() => _ = text.remove(at),
                1 => drop(text.splice(at..at, dice.pick(&splices[..]).chars())),
                _ => {
                    let (from, to) = (at.min(text.len()), (at + dice.roll(8)).min(text.len()));
                    let part: Vec<char> = text[from..to].to_vec();
                    text.splice(from..from, part);
                }
            }
        }
        let text: String = text.into_iter().collect();
        let started = Instant::now();
        let compiled = world.compile(&text);
        assert!(started.elapsed() < HANG, "{text}");
        match compiled {
            Ok(condition) => world.facts(|facts| {
                condition.truth(facts);
                condition.failed(facts);
            }),
            Err(errors) => {
                for error in errors {
                    assert!(!error.message.contains("Syntax error"), "{text}: {error}");
                    assert!(!error.message.contains("IDENTIFIER"), "{text}: {error}");
                }
            }
        }
    }
}
