//! The golden scenarios of the sample rules cover what the rules hold: every
//! offer wins somewhere, every reason drops something somewhere.

use std::{collections::BTreeSet, sync::Arc};

use rapport::{
    decide::scenario::decide,
    domain::Reason,
    rules::{self, Ruleset, scenario::Expectation},
};

use crate::harness::repository;

/// Reasons that no scenario can show yet, and why.
const UNDECIDED: [(Reason, &str); 3] = [
    (Reason::NoItems, "no offer asks for items yet"),
    (Reason::NotLookedAt, "the sample's lists hold no more than are looked at"),
    (Reason::ClaimUnknown, "scenarios run without a store that could fail to answer"),
];

fn ruleset() -> Arc<Ruleset> {
    let files = rules::read_dir(&repository().join("rules")).expect("the sample rules can be read");
    Arc::new(rules::compile(&files).unwrap_or_else(|errors| panic!("{:#?}", errors.errors)))
}

fn expectations(rules: &Ruleset) -> impl Iterator<Item = &Expectation> {
    rules.scenarios.iter().flat_map(|scenario| &scenario.expect)
}

#[test]
fn every_offer_wins_a_scenario() {
    let rules = ruleset();
    let mut won = BTreeSet::new();
    let mut paused = BTreeSet::new();
    for expected in expectations(&rules) {
        match expected {
            Expectation::Winners { offers, .. } => {
                won.extend(offers.iter().map(|o| o.split_once('/').map_or(&**o, |(offer, _)| offer)));
            }
            Expectation::Dropped { offer, reason: Reason::Paused, .. } => {
                paused.insert(&**offer);
            }
            _ => {}
        }
    }
    let shown = |offer: &&rules::Offer| if offer.paused { &paused } else { &won }.contains(&*offer.name_id);
    let missing: Vec<&str> = rules.offers.iter().filter(|o| !shown(o)).map(|o| &*o.name_id).collect();
    assert!(missing.is_empty(), "no scenario shows the offers {missing:?}");
}

#[test]
fn every_reason_decides_a_scenario() {
    let rules = ruleset();
    let mut decided = BTreeSet::new();
    for expected in expectations(&rules) {
        if let Expectation::Dropped { reason, .. } = expected {
            decided.insert(*reason);
        }
    }
    let known = |reason: &Reason| UNDECIDED.iter().any(|(undecided, _)| undecided == reason);
    let missing: Vec<&str> =
        Reason::ALL.iter().filter(|r| !decided.contains(r) && !known(r)).map(|r| r.name()).collect();
    assert!(missing.is_empty(), "no scenario drops an offer for {missing:?}");
    let (stale, why): (Vec<&str>, Vec<&str>) =
        UNDECIDED.iter().filter(|(r, _)| decided.contains(r)).map(|(r, why)| (r.name(), *why)).unzip();
    assert!(stale.is_empty(), "{stale:?} are decided now, although {why:?}");
}

/// Winners of an open question at night carry the morning; a scenario's
/// expectations cannot say when.
#[test]
fn what_waits_says_until_when() {
    let rules = ruleset();
    let waits = [
        ("at night the text waits for the morning", "2026-06-11T07:00:00Z"),
        ("at night the call waits for the morning", "2026-06-11T08:00:00Z"),
    ];
    for (name, morning) in waits {
        let scenario = rules.scenarios.iter().find(|s| &*s.name == name).expect("the scenario");
        let decision = decide(&rules, scenario).expect("a decision");
        let winner = &decision.placements[0].presentations[0];
        let from = winner
            .not_before
            .and_then(|at| jiff::Timestamp::from_millisecond(at.millis()).ok())
            .map(|at| at.to_string());
        assert_eq!(from.as_deref(), Some(morning), "{name}");
    }
}
