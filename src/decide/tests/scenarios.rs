//! The scenario runner: what holds passes, what does not is told.

use std::sync::Arc;

use super::build::*;
use crate::{
    decide::scenario::run,
    domain::*,
    rules::{
        Position, Ruleset, SourceFile, compile,
        scenario::{Expectation, Scenario},
    },
};

fn ruleset() -> Arc<Ruleset> {
    let mut rules = rules();
    rules.exploration_share = 1.0;
    offer(&mut rules, "high", 20.0);
    offer(&mut rules, "low", 10.0);
    finish(rules)
}

fn scenario(placements: &[&str], expect: Vec<Expectation>) -> Scenario {
    Scenario {
        name: "a scenario".into(),
        position: Position::default(),
        now: NOW,
        profile: customer(),
        fed: Vec::new(),
        known: true,
        holdout: false,
        request: ask(placements),
        exhausted: Vec::new(),
        refused: Vec::new(),
        expect,
    }
}

fn winners(placement: &str, offers: &[&str]) -> Expectation {
    Expectation::Winners { placement: placement.into(), offers: offers.iter().map(|o| (*o).into()).collect() }
}

fn dropped(offer: &str, channel: Option<&str>, reason: Reason) -> Expectation {
    Expectation::Dropped { offer: offer.into(), channel: channel.map(Into::into), reason }
}

#[test]
fn what_holds_passes() {
    let expect = vec![
        winners("hero", &["high/web"]),
        dropped("low", None, Reason::Outranked),
        Expectation::Contains { offer: "high".into(), text: "high in en".into() },
    ];
    assert_eq!(run(&ruleset(), &scenario(&["hero"], expect)), Ok(()));
    let mut spent =
        scenario(&["hero"], vec![winners("hero", &["low"]), dropped("high", Some("web"), Reason::BudgetExhausted)]);
    spent.exhausted = vec!["high".into()];
    assert_eq!(run(&ruleset(), &spent), Ok(()));
    let reason = SilenceReason::ContactPolicy;
    let mut refused = scenario(&[], vec![Expectation::Silent { placement: "".into(), reason }]);
    refused.refused = vec!["high".into(), "low".into()];
    assert_eq!(run(&ruleset(), &refused), Ok(()));
}

#[test]
fn what_does_not_hold_is_told_with_what_came_out() {
    let expect = vec![
        winners("hero", &["low"]),
        winners("list", &["low"]),
        dropped("high", Some("web"), Reason::Paused),
        dropped("nobody", None, Reason::Paused),
        Expectation::Silent { placement: "hero".into(), reason: SilenceReason::Holdout },
        Expectation::Contains { offer: "high".into(), text: "Bonjour".into() },
        Expectation::Contains { offer: "low".into(), text: "low".into() },
    ];
    let told = run(&ruleset(), &scenario(&["hero"], expect)).expect_err("none of it holds");
    let wanted = [
        "placement `hero`: expected winners [low], got [high/web]; `low` was dropped for outranked on `web` with net priority 1.0000",
        "placement `list` was not asked by the request",
        "expected `high` on `web` dropped for paused, but it was chosen on `web` with net priority 2.0000",
        "expected `nobody` dropped for paused, but it was not among the candidates",
        "placement `hero`: expected silence (holdout), got [high/web]",
        "expected `Bonjour` in the content of `high`, got: high in en",
        "expected `low` to win with `low` in its content, but it was dropped for outranked on `web` with net priority 1.0000",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn the_arm_is_the_one_the_scenario_wants() {
    let mut rules = rules();
    offer(&mut rules, "high", 20.0);
    rules.holdout_share = 0.05;
    let ruleset = finish(rules);
    assert_eq!(run(&ruleset, &scenario(&["hero"], vec![winners("hero", &["high"])])), Ok(()));
    let reason = SilenceReason::Holdout;
    let mut held = scenario(&["hero"], vec![Expectation::Silent { placement: "hero".into(), reason }]);
    held.holdout = true;
    assert_eq!(run(&ruleset, &held), Ok(()));
    let told = run(&self::ruleset(), &held).expect_err("nobody is held out");
    assert_eq!(told, ["no customer has `holdout: true` under a holdout share of 0: change one of them"]);
}

#[test]
fn scenarios_of_rule_files_run() {
    let text = include_str!("scenarios.yaml");
    let file = SourceFile { path: "rules/all.yaml".into(), text: text.into() };
    let ruleset = Arc::new(compile(&[file]).unwrap_or_else(|e| panic!("{:#?}", e.errors)));
    assert_eq!(ruleset.scenarios.len(), 4);
    for scenario in &ruleset.scenarios {
        assert_eq!(run(&ruleset, scenario), Ok(()), "scenario `{}`", scenario.name);
    }
}
