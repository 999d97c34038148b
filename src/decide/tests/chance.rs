//! Exploration: what is chosen how often, and what is logged of it.

use std::collections::BTreeMap;

use super::build::*;
use crate::domain::*;

fn explored(share: f64) -> Case {
    let mut rules = rules();
    for (name, value) in [("best", 30.0), ("good", 20.0), ("fair", 10.0), ("loss", -1.0)] {
        offer(&mut rules, name, value);
    }
    rules.exploration_share = share;
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    case.request.trace = Trace::None;
    case
}

fn decision(seed: u128) -> DecisionId {
    DecisionId::new(1_306_929_600_000 + (seed as u64 % 7), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

#[test]
fn frequencies_match_the_logged_probabilities() {
    let mut case = explored(0.3);
    const DRAWS: u32 = 10_000;
    let mut chosen: BTreeMap<u32, (u32, f64)> = BTreeMap::new();
    let mut scratch = crate::decide::Scratch::default();
    for seed in 0..DRAWS {
        case.decision_id = decision(u128::from(seed));
        let winner = crate::decide::rank(&case.inputs(), &mut scratch).winners[0];
        let entry = chosen.entry(winner.offer.0).or_insert((0, winner.factors.choice_probability));
        assert_eq!(entry.1, winner.factors.choice_probability);
        entry.0 += 1;
    }
    assert_eq!(chosen.len(), 3, "a loss is never explored");
    let total: f64 = chosen.values().map(|c| c.1).sum();
    assert!((total - 1.0).abs() < 1e-12, "{total}");
    for (count, probability) in chosen.values() {
        let deviation = (probability * (1.0 - probability) / f64::from(DRAWS)).sqrt();
        let rate = f64::from(*count) / f64::from(DRAWS);
        assert!((rate - probability).abs() < 4.0 * deviation, "{rate} against {probability}");
    }
    assert!((chosen[&0].1 - 0.8).abs() < 1e-12, "(1 - 0.3) + 0.3 / 3");
}

#[test]
fn a_preview_and_a_share_of_nothing_do_not_explore() {
    let mut case = explored(1.0);
    case.request.intent = Intent::Preview;
    let none = explored(0.0);
    for seed in 0..200 {
        case.decision_id = decision(seed);
        let winner = case.rank().winners[0];
        assert_eq!((winner.offer, winner.factors.choice_probability), (OfferSlot(0), 1.0));
        let case = Case { decision_id: decision(seed), ..explored(0.0) };
        assert_eq!(case.rank().winners, none.rank().winners);
    }
}

#[test]
fn offers_shown_before_are_not_explored_over() {
    let mut case = explored(1.0);
    case.keep_order = vec![(OfferSlot(2), RecordRef::NONE)];
    for seed in 0..50 {
        case.decision_id = decision(seed);
        assert_eq!(case.rank().winners[0].offer, OfferSlot(2));
    }
}
