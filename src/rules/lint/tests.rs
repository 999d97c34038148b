//! Every finding is found where it is, and not where it is not.

use crate::{
    domain::Timestamp,
    rules::{Ruleset, SourceFile, compile, lint},
};

use super::LINTS;

/// 2025-06-01T12:00:00Z.
const NOW: Timestamp = Timestamp(1_748_779_200_000_000);

const BASE: &str = "settings: { currency: GBP }
attributes:
  - { id: age, type: int }
  - { id: country, type: string }
  - { id: vip, type: bool, default: false }
  - { id: name, type: string }
  - { id: since, type: timestamp }
  - { id: ratio, type: double, default: 0.5 }
  - { id: score, type: int, range: [0, 10] }
  - { id: share, type: double, range: [0, 10], default: 1 }
  - { id: level, type: enum, values: [low, high] }
  - { id: tags, type: set }
  - { id: open, type: bool }
  - { id: seen, type: timestamp }
  - { id: credit, type: int, default: 3, assurance: verified }
channels: [ { id: web, kind: self_service, cost: 1 }, { id: mail, kind: self_service } ]
issues: [ { id: sell }, { id: off, lever: 0 } ]
groups: [ { id: all } ]
placements: [ { id: home, channel: web }, { id: wide, channel: web, slots: 3 } ]
policies:
  limits: [ { id: web_week, scope: all, channel: web, max: 3, window: 7d } ]
";

const REST: &str = "    purpose: marketing
    group: all
    treatments: { web: { en: { text: \"Hello\" } } }
";

fn offer(id: &str, lines: &[&str]) -> String {
    let mut text = format!("  - id: {id}\n{REST}");
    if !lines.iter().any(|line| line.starts_with("issue:")) {
        text.push_str("    issue: sell\n");
    }
    if !lines.iter().any(|line| line.starts_with("value:")) {
        text.push_str("    value: 5\n");
    }
    for line in lines {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

fn rules(rest: &str) -> Ruleset {
    let text = format!("{BASE}{rest}");
    match compile(&[SourceFile { path: "rules/a.yaml".into(), text: text.into() }]) {
        Ok(rules) => rules,
        Err(errors) => panic!("{}", errors.errors[0]),
    }
}

fn codes(rest: &str) -> Vec<&'static str> {
    lint(&rules(rest), NOW).into_iter().map(|finding| finding.code).collect()
}

fn codes_of(lines: &[&str]) -> Vec<&'static str> {
    codes(&format!("offers:\n{}", offer("one", lines)))
}

#[test]
fn a_plain_offer_has_no_findings() {
    assert_eq!(codes_of(&["eligibility: \"p.age > 3 && p.country != 'DE' && has(p.country)\""]), [""; 0]);
}

#[test]
fn conditions_that_nobody_meets_are_errors() {
    for lines in [
        &["eligibility: \"1 > 2\""][..],
        &["eligibility: \"p.age > 30 && p.age < 20\""],
        &["eligibility: \"p.age == 3 && p.age != 3\""],
        &["eligibility: \"p.country == 'DE' && p.country == 'FR'\""],
        &[
            "eligibility: \"p.country in ['DE', 'FR']\"",
            "suitability: \"has(p.country) && !(p.country in ['DE']) && p.country == 'GB'\"",
        ],
        &["eligibility: \"p.age > 30\"", "applicability: \"p.age < 20\""],
    ] {
        assert!(codes_of(lines).contains(&"never-true"), "{lines:?}");
    }
    for lines in [
        &["eligibility: \"p.age > 30 || p.age < 20\""][..],
        &["eligibility: \"p.age >= 30 && p.age <= 30\""],
        &["eligibility: \"p.country in ['DE', 'FR'] && p.country == 'FR'\""],
    ] {
        assert_eq!(codes_of(lines), [""; 0], "{lines:?}");
    }
}

#[test]
fn what_is_always_true_or_negated_bare_is_told() {
    assert_eq!(codes_of(&["suitability: \"1 < 2 || p.age > 3\""]), ["always-true"]);
    for always in ["p.vip || !p.vip", "p.vip ? true : true", "has(p.age) || !has(p.age)", "now > p.since || true"] {
        assert_eq!(codes_of(&[&format!("suitability: \"{always}\"")]), ["always-true"], "{always}");
    }
    for sometimes in ["p.age > 3 || p.age <= 3", "p.ratio < 1.0 || p.ratio > 1.0", "p.age > 3 ? true : true"] {
        assert_eq!(codes_of(&[&format!("suitability: \"{sometimes}\"")]), [""; 0], "{sometimes}");
    }
    assert_eq!(codes_of(&["suitability: \"p.country != 'DE'\""]), ["bare-negation"]);
    assert_eq!(codes_of(&["suitability: \"!p.vip\""]), [""; 0]);
}

#[test]
fn schedules_are_held_against_the_moment() {
    assert_eq!(codes_of(&["schedule: { until: 2025-06-01 }"]), ["expired-schedule"]);
    assert_eq!(codes_of(&["schedule: { until: 2025-06-02 }"]), [""; 0]);
}

#[test]
fn what_can_never_win_is_told() {
    assert_eq!(codes_of(&["value: 1"]), ["never-worth-it"]);
    assert_eq!(codes_of(&["value: 1.01"]), [""; 0]);
    assert_eq!(codes_of(&["issue: off"]), ["never-worth-it"]);
    assert_eq!(codes_of(&["context_weight: 0"]), ["never-worth-it"]);
    assert_eq!(codes_of(&["value: \"p.vip ? 1 : 2\""]), [""; 0]);
}

#[test]
fn templates_that_may_fail_are_told_unless_asked_for() {
    let text =
        |lines: &[&str]| codes(&format!("offers:\n{}", offer("one", lines).replace("Hello", "Hello {{ p.name }}")));
    assert_eq!(text(&[]), ["missing-value"]);
    assert_eq!(text(&["eligibility: \"has(p.name)\""]), [""; 0]);
    assert_eq!(text(&["allow_lint: [missing-value]"]), [""; 0]);
}

#[test]
fn what_is_read_for_verified_persons_only_may_be_missing_for_others() {
    let verified = "assurance: verified";
    for condition in ["has(p.credit)", "p.credit > 3 || p.credit <= 3"] {
        assert_eq!(codes_of(&[&format!("suitability: \"{condition}\"")]), [""; 0], "{condition}");
    }
    let negated = "suitability: \"p.credit != 3\"";
    assert_eq!(codes_of(&[negated]), ["bare-negation"]);
    assert_eq!(codes_of(&[negated, verified]), [""; 0]);
    let text =
        |lines: &[&str]| codes(&format!("offers:\n{}", offer("one", lines).replace("Hello", "Hello {{ p.credit }}")));
    assert_eq!(text(&[]), ["missing-value"]);
    assert_eq!(text(&[verified]), [""; 0]);
    assert_eq!(text(&["eligibility: \"has(p.credit)\""]), [""; 0]);
}

#[test]
fn limits_that_never_bite_are_told() {
    assert_eq!(codes_of(&["limits: [ { max: 4, window: 7d, channel: web } ]"]), ["idle-limit"]);
    assert_eq!(codes_of(&["limits: [ { max: 2, window: 7d, channel: web } ]"]), [""; 0]);
    assert_eq!(codes_of(&["limits: [ { max: 4, window: 7d } ]"]), [""; 0]);
    assert_eq!(codes_of(&["limits: [ { max: 4, window: 8d, channel: web } ]"]), [""; 0]);
}

#[test]
fn rivals_are_told() {
    let pair =
        |first: &[&str], second: &[&str]| codes(&format!("offers:\n{}{}", offer("a", first), offer("b", second)));
    assert_eq!(pair(&[], &[]), ["same-offer"]);
    assert_eq!(pair(&["paused: true"], &[]), [""; 0]);
    for lines in [
        "limits: [ { max: 2, window: 7d, channel: web } ]",
        "suppress: [ { after: decline, scope: offer, for: 7d } ]",
        "reason: { en: \"We think you will like it\" }",
        "labels: { en: { accept: \"Yes\", decline: \"No\" } }",
        "reach: { max_gain_share: 0.1 }",
        "assurance: verified",
    ] {
        assert_eq!(pair(&[lines], &[lines]), ["same-offer"], "{lines}");
        let other = lines.replace("max: 2", "max: 1").replace("7d", "6d").replace("0.1", "0.2");
        let other = other.replace("We think", "Perhaps").replace("Yes", "Fine").replace("verified", "any");
        assert_eq!(pair(&[lines], &[&other]), [""; 0], "{lines}");
        assert_eq!(pair(&[lines], &[]), [""; 0], "{lines}");
    }
    assert_eq!(
        pair(&["open: false", "placements: [home]", "value: 9"], &["open: false", "placements: [home]"]),
        ["shadowed-offer"]
    );
    for lines in [
        &["open: false", "placements: [wide]"][..],
        &["open: true"],
        &["open: false", "placements: [home]", "value: \"p.vip ? 1 : 30\""],
    ] {
        assert_eq!(pair(&["open: false", "placements: [home, wide]", "value: 9"], lines), [""; 0], "{lines:?}");
    }
    assert_eq!(
        pair(
            &["open: false", "placements: [home]", "value: 9", "eligibility: \"p.vip\""],
            &["open: false", "placements: [home]"]
        ),
        [""; 0]
    );
}

#[test]
fn what_the_schema_rules_out_is_never_true() {
    for condition in [
        "p.score > 10",
        "p.score < 0",
        "p.level != 'low' && p.level != 'high'",
        "!has(p.vip)",
        "p.age != p.age",
        "size(p.tags) < 0",
        "now.getMonth() == 12",
        "now.getHours() > 24",
        "has(p.level) && !(p.level in ['low', 'high'])",
    ] {
        let mut found = codes_of(&[&format!("suitability: \"{condition}\"")]);
        found.retain(|code| *code != "bare-negation");
        assert_eq!(found, ["never-true"], "{condition}");
    }
    let apart = ["eligibility: \"p.level != 'low'\"", "suitability: \"p.level != 'high'\""];
    assert!(codes_of(&apart).contains(&"never-true"));
    for condition in ["p.score >= 10", "has(p.level)", "now.getMonth() == 11", "size(p.tags) < 1", "p.age == p.age"] {
        assert_eq!(codes_of(&[&format!("suitability: \"{condition}\"")]), [""; 0], "{condition}");
    }
}

#[test]
fn what_the_schema_assures_is_always_true() {
    for condition in
        ["p.vip || !p.vip", "has(p.age) || !has(p.age)", "size(p.tags) >= 0", "p.share <= 10", "has(p.share)"]
    {
        assert_eq!(codes_of(&[&format!("suitability: \"{condition}\"")]), ["always-true"], "{condition}");
    }
    for condition in ["p.score <= 10", "p.share < 10", "now.getMonth() >= 1"] {
        assert_eq!(codes_of(&[&format!("suitability: \"{condition}\"")]), [""; 0], "{condition}");
    }
}

#[test]
fn a_negation_is_not_bare_beside_what_needs_the_attribute() {
    for condition in [
        "p.country.startsWith('x') && p.country != 'xa'",
        "p.level == 'low' && p.level != 'high'",
        "now - p.seen > duration('7d') && !(p.seen > now)",
        "!(p.age < 3 || p.age == 7) && p.age < 9",
    ] {
        assert!(!codes_of(&[&format!("suitability: \"{condition}\"")]).contains(&"bare-negation"), "{condition}");
    }
    for condition in ["p.open == false", "p.open != true", "p.age != 3 && p.age != 4", "p.age > 3 || p.age != 2"] {
        assert_eq!(codes_of(&[&format!("suitability: \"{condition}\"")])[0], "bare-negation", "{condition}");
    }
    assert_eq!(codes_of(&["suitability: \"p.open != false\""]), [""; 0]);
}

#[test]
fn an_offer_behind_a_wider_one_is_told() {
    let pair =
        |first: &[&str], second: &[&str]| codes(&format!("offers:\n{}{}", offer("a", first), offer("b", second)));
    let wide = ["placements: [home]", "value: 20", "eligibility: \"p.age >= 18\""];
    for narrow in ["p.age >= 18", "p.vip && p.age >= 18", "p.age >= 18 && (p.vip || p.age > 60)"] {
        let narrow = format!("eligibility: \"{narrow}\"");
        assert_eq!(pair(&wide, &["placements: [home]", &narrow]), ["shadowed-offer"], "{narrow}");
        assert_eq!(pair(&[&wide[..], &["open: false"]].concat(), &["placements: [home]", &narrow]), [""; 0]);
    }
    assert_eq!(pair(&wide, &["placements: [home]", "eligibility: \"p.vip\""]), [""; 0]);
    assert_eq!(pair(&wide, &["placements: [home]", "suitability: \"p.age >= 18\""]), [""; 0]);
}

#[test]
fn a_segment_that_no_condition_reads_is_fine() {
    let segments = "segments: [ { id: old, when: p.vip }, { id: older, when: p.age > 3 } ]\noffers:\n";
    assert_eq!(codes(&format!("{segments}{}", offer("one", &[]))), [""; 0]);
}

#[test]
fn codes_are_kebab_case_and_once() {
    let mut codes: Vec<&str> = LINTS.iter().map(|lint| lint.code).collect();
    assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), LINTS.len());
}

#[test]
fn an_unknown_code_is_a_mistake_with_a_hint() {
    let text = format!("{BASE}offers:\n{}", offer("one", &["allow_lint: [always-tru]"]));
    let errors = compile(&[SourceFile { path: "rules/a.yaml".into(), text: text.into() }]).expect_err("wrong").errors;
    assert!(errors[0].message.ends_with("did you mean `always-true`?"), "{}", errors[0].message);
}

#[test]
fn the_sample_rules_have_no_errors_and_no_warnings() {
    let files =
        crate::rules::read_dir(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rules"))).expect("readable");
    let found = lint(&compile(&files).expect("right"), NOW);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", lines.join("\n"));
}
