//! Every finding is found where it is, and not where it is not.

use crate::{
    domain::Timestamp,
    rules::{Ruleset, SourceFile, compile, lint},
};

use super::{LINTS, LintSeverity};

/// 2025-06-01T12:00:00Z.
const NOW: Timestamp = Timestamp(1_748_779_200_000_000);

const BASE: &str = "settings: { currency: GBP }
attributes:
  - { id: age, type: int }
  - { id: country, type: string }
  - { id: vip, type: bool, default: false }
  - { id: name, type: string }
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
fn segments_that_nothing_reads_are_told() {
    let segments = "segments: [ { id: old, when: p.vip }, { id: older, when: p.age > 3 } ]\noffers:\n";
    let one = offer("one", &["eligibility: \"seg.older\""]);
    assert_eq!(codes(&format!("{segments}{one}")), ["unused-segment"]);
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
fn the_sample_rules_have_no_errors_and_few_warnings() {
    let files =
        crate::rules::read_dir(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rules"))).expect("readable");
    let found = lint(&compile(&files).expect("right"), NOW);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.iter().all(|finding| finding.severity == LintSeverity::Warning), "{}", lines.join("\n"));
    assert!(found.len() <= 8, "{}", lines.join("\n"));
}
