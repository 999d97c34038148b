//! What a compiler keeps never shows: after any edits it answers what a fresh
//! one answers, and files cut into offers are read as they are as a whole.

use proptest::prelude::*;

use crate::rules::{
    Compiler, RuleErrors, Ruleset, SourceFile, compile,
    compile::{offers_alone, whole_tree},
};

use super::{SAMPLE, file};

/// Everything of a ruleset that can be told, in an order that does not change.
fn told(compiled: &Result<Ruleset, RuleErrors>) -> String {
    let rules = match compiled {
        Ok(rules) => rules,
        Err(errors) => return format!("{errors:#?}"),
    };
    let names: std::collections::BTreeMap<_, _> = rules.offer_slots.iter().map(|(id, slot)| (id.0, slot.0)).collect();
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{names:?}",
        rules.hash,
        rules.offers,
        (&rules.limits, &rules.suppressions, &rules.budgeted),
        rules.offers_by_placement,
        (&rules.segments, &rules.issues, &rules.groups, &rules.channels, &rules.placements),
        (&rules.schema.attributes, &rules.schema.stored, &rules.schema.context),
        rules.scenarios,
    )
}

/// The base of the small world: all but offers.
const BASE: &str = "settings: { currency: GBP, default_language: en }
attributes:
  - { id: age, type: int }
  - { id: tier, type: enum, values: [none, gold], default: none }
  - { id: name, type: string }
segments:
  - { id: loyal, when: \"p.age > 3 && p.tier == 'gold'\" }
  - id: folded
    when: >
      p.age > 10 ||
      seg.loyal
channels: [ { id: web, kind: self_service } ]
issues: [ { id: sell } ]
groups: [ { id: all } ]
placements: [ { id: home, channel: web } ]
";

/// One of many shapes of an offer, some of them wrong.
fn offer(id: u8, shape: u8, number: u8) -> String {
    let id = format!("o{id}");
    let rest = "    purpose: marketing\n    issue: sell\n    group: all\n    value: 2.5\n    placements: [home]\n";
    let treatment = "    treatments: { web: { en: { text: \"Hello {{ p.name | default('you') }}\" } } }\n";
    let head = match shape % 12 {
        0 => format!("  - id: {id}\n    eligibility: \"p.age > {number} && seg.loyal\"\n"),
        1 => format!("  - id: {id}\n    # a word\n    eligibility: >\n      p.age > {number} &&\n      seg.folded\n"),
        2 => {
            format!("  - id: {id}\n    applicability: |\n      p.tier == 'gold'\n        || p.age * 2 == {number}\n\n")
        }
        3 => format!(
            "  - id: {id}\n    suitability: \"p.age > {number} &&\n      p.tier != 'none'\"\n    limits: [ {{ max: {}, window: 7d }} ]\n",
            number % 5 + 1
        ),
        4 => format!("  - id: {id}\n    eligibility: p.agee > {number}\n"),
        5 => format!("  - id: {id}\n    eligibility: \"p.age > {number}\"\n    eligibility: \"p.age > 1\"\n"),
        6 => format!(
            "  - id: {id}\n    suppress: [ {{ after: click, for: {}d }} ]\n    context_weight: \"p.age > 3 ? 1.0 : 2.0\"\n",
            number % 9 + 1
        ),
        7 => format!("  - id: {id}\n    name: &mark Name {number}\n    schedule: {{ from: 2025-01-01 }}\n"),
        8 => format!("  - id: {id}\n    unknown_key: {number}\n"),
        9 => format!("\n# before\n  - id: {id}\n    name: \"{number}\n"),
        10 => format!("  - id: {id}\n    name: |+\n      kept {number}\n\n"),
        _ => format!(
            "  - {{ id: {id}, name: 'x - y: {number}', purpose: service, issue: sell, group: all, value: 1, treatments: {{ web: {{ en: {{ text: a }} }} }} }}\n"
        ),
    };
    if shape % 12 == 11 { head } else { head + rest + treatment }
}

/// A world of files: per file the offers' (id, shape, number).
type World = Vec<Vec<(u8, u8, u8)>>;

fn files(world: &World, base: &str) -> Vec<SourceFile> {
    let mut files = vec![file("rules/base.yaml", base)];
    for (at, offers) in world.iter().enumerate() {
        let items: String = offers.iter().map(|(id, shape, number)| offer(*id, *shape, *number)).collect();
        let text = match at % 3 {
            0 => format!("offers:\n{items}"),
            1 => format!("# head\noffers: # all\n\n{items}groups: [ {{ id: group_{at} }} ]\n"),
            _ => format!("issues:\n  - id: issue_{at}\noffers:\n{items}# end"),
        };
        files.push(file(&format!("rules/{at}.yaml"), if offers.is_empty() { "" } else { &text }));
    }
    files
}

fn worlds() -> impl Strategy<Value = World> {
    // Mostly right shapes: a wrong one makes the whole ruleset wrong.
    let shape = prop_oneof![12 => prop_oneof![0..4_u8, 6..8_u8, 10..12_u8], 1 => 0..12_u8];
    prop::collection::vec(prop::collection::vec((0..40_u8, shape, 0..5_u8), 0..6), 1..5)
}

fn edits() -> impl Strategy<Value = Vec<(u8, u8, u8, u8, u8)>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), 0..40_u8, 0..12_u8, 0..6_u8), 0..4)
}

/// Changes, adds and takes out offers; sometimes the base.
fn edit(world: &mut World, base: &mut String, edits: &[(u8, u8, u8, u8, u8)]) {
    for (kind, place, id, shape, number) in edits {
        let at = usize::from(*place) % world.len();
        let offers = &mut world[at];
        let index = usize::from(*kind / 8) % (offers.len() + 1);
        match kind % 8 {
            0 | 1 if index < offers.len() => _ = offers.remove(index),
            2 => *base = base.replace("age > 3", &format!("age > {number}4")),
            3 => *base = format!("# a line more\n{base}"),
            4 if index < offers.len() => offers[index].2 = *number,
            5 if index < offers.len() => offers[index].1 = *shape,
            _ => offers.insert(index, (*id, if kind % 2 == 0 { *shape } else { 0 }, *number)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: prop::test_runner::RngSeed::Fixed(20_110_601), ..ProptestConfig::default() })]

    #[test]
    fn a_compiler_that_keeps_answers_as_a_fresh_one(
        world in worlds(),
        rounds in prop::collection::vec(edits(), 1..6),
    ) {
        let (mut world, mut base) = (world, BASE.to_owned());
        let mut compiler = Compiler::default();
        let _ = compiler.compile(&files(&world, &base));
        for edits in &rounds {
            edit(&mut world, &mut base, edits);
            let files = files(&world, &base);
            prop_assert_eq!(told(&compiler.compile(&files)), told(&compile(&files)));
        }
    }

    #[test]
    fn a_file_cut_into_offers_reads_as_the_whole(world in worlds(), cuts in prop::collection::vec((0..400_usize, 0..8_u8), 0..3)) {
        for source in files(&world, BASE) {
            let mut text = source.text.to_string();
            for (at, what) in &cuts {
                let at = text.char_indices().nth(at % (text.len() + 1)).map_or(text.len(), |(at, _)| at);
                text.insert_str(at, ["\n", "  ", "- ", "\"", "[", "offers:\n", "#", ": "][usize::from(*what)]);
            }
            let source = file("rules/a.yaml", &text);
            if let Some(alone) = offers_alone(&source) {
                prop_assert_eq!(Some(alone), whole_tree(&source), "{}", text);
            }
            let source = file("rules/a.yaml", &text.replace('\n', "\r\n"));
            if let Some(alone) = offers_alone(&source) {
                prop_assert_eq!(Some(alone), whole_tree(&source), "{}", source.text);
            }
        }
    }
}

#[test]
fn most_files_are_cut() {
    let text = format!("{BASE}offers:\n{}", offer(1, 0, 2) + &offer(2, 1, 2) + &offer(3, 2, 2) + &offer(4, 10, 1));
    assert!(offers_alone(&file("rules/a.yaml", &text)).is_some());
    assert!(offers_alone(&file("rules/a.yaml", SAMPLE)).is_some());
    assert!(offers_alone(&file("rules/a.yaml", &text.replace('\n', "\r\n"))).is_some());
    assert!(offers_alone(&file("rules/a.yaml", &text.replacen('\n', "\r", 1))).is_none());
    for hostile in
        ["offers:\n  - id: a\n  - *a\n", "offers:\n  - &a id: a\n", "offers: [ { id: a } ]\n", "offers:\n\t- id: a\n"]
    {
        assert!(offers_alone(&file("rules/a.yaml", hostile)).is_none(), "{hostile}");
    }
}

#[test]
fn what_two_compilations_did_not_use_is_dropped() {
    let world = |from: u8| vec![(from..from + 8).map(|id| (id, 0, id)).collect::<Vec<_>>()];
    let mut compiler = Compiler::default();
    for from in [0, 0, 0, 20, 20] {
        compiler.compile(&files(&world(from), BASE)).expect("right");
    }
    let (offers, texts) = compiler.kept();
    // 8 offers, their 8 conditions, 2 segments.
    assert_eq!(offers, 8);
    assert!(texts <= 8 + 2, "{texts}");
}

#[test]
fn an_offer_that_moved_is_told_at_its_new_place() {
    let mut compiler = Compiler::default();
    let one = vec![vec![(1, 1, 7), (2, 6, 7)]];
    compiler.compile(&files(&one, BASE)).expect("right");
    let mut moved = files(&one, BASE);
    moved[1] = file("rules/0.yaml", &moved[1].text.replace("offers:\n", "offers:\n# down\n# by two\n"));
    let rules = compiler.compile(&moved).expect("right");
    let offer = rules.offer_by_name("o1").expect("there");
    assert_eq!((offer.position.line, offer.eligibility.as_ref().map(|c| c.position.line)), (4, Some(7)));
    assert_eq!(told(&Ok(rules)), told(&compile(&moved)));
}
