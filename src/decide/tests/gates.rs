//! Conditions laid out flat come to what they come to when walked.

use super::build::*;
use super::random::Dice;
use crate::{
    decide::{
        gates::{Gated, Gates},
        plan,
    },
    domain::*,
};

const TEXTS: [&str; 14] = [
    "p.points > 5",
    "p.points >= 5 && p.points < 9",
    "p.points != 5",
    "p.points == 5",
    "p.points < -9223372036854775807",
    "p.country == 'UK'",
    "p.country != 'UK'",
    "p.country in ['UK', 'DE', 'FR']",
    "p.country in ['UK', 'DE'] && p.points <= 7",
    "p.country != 'DE' || p.points > 3",
    "!(p.country == 'DE') && p.points > 1",
    "ctx.basket > 3 && p.country == 'UK'",
    "has(p.email) && p.points > 2",
    "true",
];
const COUNTRIES: [&str; 4] = ["UK", "DE", "FR", "somewhere else"];

#[test]
fn gates_come_to_what_the_conditions_come_to() {
    let mut rules = rules();
    let compiled: Vec<_> = TEXTS.iter().map(|text| condition(&rules, text)).collect();
    for (at, condition) in compiled.into_iter().enumerate() {
        offer(&mut rules, &format!("o{at:02}"), 1.0).eligibility = Some(condition);
    }
    let rules = finish(rules);
    let gates = Gates::of(&rules);
    let (mut dice, mut open, mut closed) = (Dice::new(7), 0, 0);
    for _ in 0..500 {
        let mut profile = customer();
        profile.attributes.retain(|_| false);
        if dice.chance(80) {
            set(&mut profile, "points", Value::Int(dice.below(12) as i64 - 1));
        }
        if dice.chance(80) {
            set(&mut profile, "country", Value::Text(dice.of(&COUNTRIES).into()));
        }
        let case = Case::new(rules.clone(), profile, ask(&[]));
        let inputs = case.inputs();
        let mut cells = Vec::new();
        let blank = plan::blank_cells(&rules.schema);
        super::super::facts::fill(&inputs, super::super::facts::Profiling::Permitted, &blank, &mut cells);
        let facts = super::super::facts::over(&inputs, &cells);
        let mut values = Vec::new();
        gates.read(&facts, &mut values);
        for offer in &rules.offers {
            let walked = offer.eligibility.as_ref().is_none_or(|c| c.holds(&facts));
            match gates.test(offer.slot, 0, &values) {
                Gated::Fails => assert!(!walked, "{} {:?}", offer.name_id, case.profile.attributes),
                Gated::Holds => assert!(walked, "{} {:?}", offer.name_id, case.profile.attributes),
                Gated::Open => {
                    open += 1;
                    continue;
                }
            }
            closed += 1;
        }
    }
    assert!(closed > 3 * open / 2 && open > 0, "{closed} decided by gates, {open} not");
}
