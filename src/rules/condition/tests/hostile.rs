use super::world::World;

/// Texts tried by the mutation test.
const MUTATIONS: usize = 1_500;

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
    let world = World::new().segment("silent", "p.age > 3");
    let seeds = [
        "p.age >= 40 && p.country == 'DE' || !has(p.city)",
        "p.spend * 2.5 > money('12.50') ? p.vip : seg.silent",
        "p.country in ['AT', \"DE\"] && 'x' in p.tags && p.country.matches('^a+$')",
        "now - p.joined > duration('24h') && p.birthday < date('2011-01-01')",
        "size(p.tags) + int(p.score) - -3 <= 0x1f % 7",
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
        match world.compile(&text) {
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
