//! What holds for every ruleset, customer and question.

use std::collections::BTreeSet;

use super::{build::*, random};
use crate::{
    decide::{Ranking, Scratch, compose, rank},
    domain::*,
    rules::*,
};

const CASES: u64 = 400;

fn every(mut visit: impl FnMut(&Case, &Ranking)) {
    for seed in 10_000..10_000 + CASES {
        let case = random::case(seed);
        visit(&case, &case.rank());
    }
}

#[test]
fn no_outbound_marketing_without_an_opt_in() {
    let mut outbound = 0;
    every(|case, ranking| {
        for winner in &ranking.winners {
            let rules = &case.snapshot.ruleset;
            let channel = rules.channel(winner.channel);
            if channel.kind != ChannelKind::Outbound {
                continue;
            }
            outbound += 1;
            assert_eq!(case.profile.do_not_contact, None);
            assert_eq!(case.matched, Match::Known);
            let said = case.profile.permission(Some(channel.id), rules.offer(winner.offer).purpose.into());
            match rules.offer(winner.offer).purpose {
                Purpose::Marketing => assert_eq!(said, Permission::Granted),
                Purpose::Service => assert_ne!(said, Permission::Denied),
            }
        }
    });
    assert!(outbound > 10, "{outbound}");
}

#[test]
fn nothing_goes_out_in_quiet_hours() {
    let mut waited = 0;
    every(|case, ranking| {
        let rules = &case.snapshot.ruleset;
        for winner in &ranking.winners {
            let Some(hours) = &rules.channel(winner.channel).quiet_hours else { continue };
            let stored = case.profile.attribute(AttrId::of("time_zone"));
            let named =
                stored.and_then(|v| if let Value::Text(t) = v { jiff::tz::TimeZone::get(t).ok() } else { None });
            let zone = named.unwrap_or(rules.time_zone.clone());
            let at = winner.not_before.unwrap_or(case.now);
            let local = zone.to_datetime(jiff::Timestamp::from_microsecond(at.0).expect("in range"));
            let minute = local.hour() as u16 * 60 + local.minute() as u16;
            assert!(minute >= hours.until_minute && minute < hours.from_minute, "{local}");
            waited += usize::from(winner.not_before.is_some());
        }
    });
    assert!(waited > 2, "{waited}");
}

#[test]
fn winners_are_unique_and_their_probabilities_are_probabilities() {
    let mut scratch = Scratch::default();
    for seed in 20_000..20_000 + CASES {
        let mut dice = random::Dice::new(seed);
        let mut rules = random::ruleset(&mut dice);
        rules.exploration_share = 0.5;
        let case = random::case_of(&mut dice, rules);
        let ranking = rank(&case.inputs(), &mut scratch);
        let offers: BTreeSet<_> = ranking.winners.iter().map(|w| w.offer).collect();
        assert_eq!(offers.len(), ranking.winners.len());
        for winner in &ranking.winners {
            let probability = winner.factors.choice_probability;
            assert!(probability > 0.0 && probability <= 1.0, "{probability}");
            assert!(winner.factors.net_priority > 0.0);
        }
    }
}

#[test]
fn equal_inputs_give_equal_answers() {
    let mut scratch = Scratch::default();
    every(|case, ranking| {
        let again = rank(&case.inputs(), &mut scratch);
        assert_eq!(&again, ranking);
        let composed = |ranking| compose(&case.inputs(), ranking, &mut Scratch::default());
        assert_eq!(composed(&again), composed(ranking));
    });
}

#[test]
fn a_trace_changes_nothing_but_itself() {
    for seed in 30_000..30_000 + CASES {
        let mut case = random::case(seed);
        let full = case.rank();
        case.request.trace = Trace::None;
        let plain = case.rank();
        assert_eq!(plain.winners, full.winners);
        assert_eq!(plain.placements, full.placements);
        assert_eq!(plain.verdicts, None);
    }
}

/// Rank of an offer in a page of one placement with every slot open.
fn place(ranking: &Ranking, offer: OfferSlot) -> usize {
    ranking.winners.iter().position(|w| w.offer == offer).unwrap_or(usize::MAX)
}

#[test]
fn a_higher_value_never_lowers_the_rank() {
    let mut better = 0;
    for seed in 40_000..40_000 + CASES {
        let build = |raise: Option<usize>| {
            let mut dice = random::Dice::new(seed);
            let mut rules = random::ruleset(&mut dice);
            rules.placements[1].slots = 20;
            rules.limits.clear();
            if let Some(at) = raise
                && let Number::Constant(value) = &mut rules.offers[at].value
            {
                *value += 7.0;
            }
            let mut case = random::case_of(&mut dice, rules);
            case.keep_order.clear();
            case.request.placements = ask(&["list"]).placements;
            case
        };
        let plain = build(None);
        let offers = plain.snapshot.ruleset.offers.len();
        let at = seed as usize % offers;
        let (before, after) =
            (place(&plain.rank(), OfferSlot(at as u32)), place(&build(Some(at)).rank(), OfferSlot(at as u32)));
        assert!(after <= before, "seed {seed}: from {before} to {after}");
        better += usize::from(after < before);
    }
    assert!(better > 10, "{better}");
}

#[test]
fn limits_are_never_exceeded_by_a_page() {
    every(|case, ranking| {
        let rules = &case.snapshot.ruleset;
        for limit in rules.limits.iter().filter(|l| l.scope == Scope::Channel) {
            for channel in &rules.channels {
                let counted = ranking.winners.iter().filter(|w| {
                    w.channel == channel.slot
                        && rules.offer(w.offer).limits.contains(&limit.slot)
                        && limit.channel.is_none_or(|c| c == channel.slot)
                        && limit.channel_kind.is_none_or(|k| k == channel.kind)
                });
                assert!(counted.count() <= limit.max as usize);
            }
        }
    });
}
