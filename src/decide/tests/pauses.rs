//! What is paused is never said, whatever else holds, until it is resumed.

use std::sync::Arc;

use super::{build::*, random};
use crate::{
    decide::{Scratch, Snapshot, compose, rank, scenario::base_rates},
    domain::*,
    rules::*,
};

/// Three offers, best first: `a` and `b` of issue `sell` and group `red`, `c`
/// of `keep` and `blue`.
fn three() -> Ruleset {
    let mut rules = rules();
    for (name, value) in [("a", 30.0), ("b", 20.0), ("c", 10.0)] {
        offer(&mut rules, name, value);
    }
    (rules.offers[2].issue, rules.offers[2].group) = (IssueSlot(1), GroupSlot(1));
    rules
}

fn asking(placements: &[&str], things: &[(PauseKind, &str)]) -> Case {
    Case::new(finish(three()), customer(), ask(placements)).pausing(things)
}

/// The details of verdicts, as `offer/channel: detail`.
fn details(case: &Case) -> Vec<String> {
    let verdicts = case.rank().verdicts.unwrap_or_default();
    let paused = verdicts.iter().filter(|v| v.reason == Some(Reason::Paused));
    let line = |v: &Verdict| format!("{}/{}: {}", v.offer, v.channel.as_deref().unwrap_or("-"), v.detail);
    paused.map(line).collect()
}

#[test]
fn an_offer_an_issue_or_a_group_is_paused() {
    for (thing, outcome, dropped) in [
        ((PauseKind::Offer, "a"), "0: b/web", vec!["a/-: offer `a` is paused: a defect"]),
        (
            (PauseKind::Issue, "sell"),
            "0: c/web",
            vec!["a/-: issue `sell` is paused: a defect", "b/-: issue `sell` is paused: a defect"],
        ),
        ((PauseKind::Group, "blue"), "0: a/web", vec!["c/-: group `blue` is paused: a defect"]),
    ] {
        let case = asking(&["hero"], &[thing]);
        assert_eq!(case.outcome(), [outcome]);
        assert_eq!(details(&case), dropped);
    }
}

#[test]
fn a_paused_channel_says_nothing() {
    let web = asking(&["hero", "desk"], &[(PauseKind::Channel, "web")]);
    assert_eq!(web.outcome(), ["0: no_offers", "1: a/call", "1: b/call"]);
    assert_eq!(details(&web)[0], "a/web: channel `web` is paused: a defect");
    let ranking = web.rank();
    assert!(ranking.eligible.iter().all(|(_, channel)| channel == CALL), "a paused pair cannot be said");
    assert_eq!(ranking.counts[Reason::Paused as usize], 3);

    let open = asking(&[], &[(PauseKind::Channel, "email"), (PauseKind::Channel, "sms")]);
    let channels: Vec<_> = open.rank().winners.iter().map(|w| w.channel).collect();
    assert!(!channels.contains(&EMAIL) && !channels.contains(&SMS) && !channels.is_empty(), "{channels:?}");
    assert!(open.reasons().contains(&"a/email: paused".to_owned()));
}

#[test]
fn a_pause_stands_above_what_the_request_allows() {
    let mut case = asking(&[], &[(PauseKind::Channel, "email")]);
    case.request.allowed_channels = vec![ChannelId::of("sms")];
    let reasons = case.reasons();
    assert!(reasons.contains(&"a/email: paused".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"a/web: channel_not_allowed".to_owned()), "{reasons:?}");
    case.request.allowed_channels = vec![ChannelId::of("email")];
    assert_eq!(case.outcome(), ["0: not_reachable"]);
    assert!(case.reasons().contains(&"a/email: paused".to_owned()));
}

#[test]
fn the_fallback_of_a_paused_channel_is_no_offer() {
    let mut rules = three();
    rules.placements[0].fallback = Some(vec![("headline".into(), Value::Text("Welcome".into()))]);
    let case = Case::new(finish(rules), customer(), ask(&["hero"])).pausing(&[(PauseKind::Channel, "web")]);
    let composed = compose(&case.inputs(), &case.rank(), &mut Scratch::default());
    assert_eq!(composed.decision.placements[0].status, PlacementStatus::Fallback);
    assert_eq!(composed.decision.placements[0].presentations.len(), 1);
}

#[test]
fn what_was_shown_before_is_not_kept_when_it_is_paused() {
    let mut case = asking(&["hero"], &[(PauseKind::Offer, "b")]);
    case.keep_order = vec![(OfferSlot(1), RecordRef::NONE)];
    assert_eq!(case.outcome(), ["0: a/web"]);
}

#[test]
fn unknown_ids_are_ignored_and_a_rule_file_pauses_too() {
    let unknown =
        [(PauseKind::Offer, "x"), (PauseKind::Issue, "a"), (PauseKind::Group, "a"), (PauseKind::Channel, "fax")];
    assert_eq!(asking(&["hero"], &unknown).outcome(), ["0: a/web"]);
    let mut rules = three();
    rules.offers[0].paused = true;
    let case = Case::new(finish(rules), customer(), ask(&["hero"])).pausing(&[(PauseKind::Offer, "b")]);
    assert_eq!(case.outcome(), ["0: c/web"]);
    assert_eq!(details(&case), ["a/-: ", "b/-: offer `b` is paused: a defect"]);
}

#[test]
fn nothing_paused_wins_even_by_exploration() {
    let (mut won, mut dropped) = (0, 0);
    for seed in 50_000..50_600 {
        let mut dice = random::Dice::new(seed);
        let mut rules = random::ruleset(&mut dice);
        rules.exploration_share = 0.5;
        let things = [dice.of(&random::PAUSABLE), dice.of(&random::PAUSABLE)];
        let case = random::case_of(&mut dice, rules).pausing(&things);
        let is_paused = |kind, id: &str| things.contains(&(kind, id));
        let ranking = case.rank();
        let rules = &case.snapshot.ruleset;
        for winner in &ranking.winners {
            let offer = rules.offer(winner.offer);
            assert!(!is_paused(PauseKind::Offer, &offer.name_id));
            assert!(!is_paused(PauseKind::Issue, &rules.issues[offer.issue.index()].name));
            assert!(!is_paused(PauseKind::Group, &rules.groups[offer.group.index()]));
            assert!(!is_paused(PauseKind::Channel, &rules.channel(winner.channel).name));
        }
        won += ranking.winners.len();
        dropped += ranking.counts[Reason::Paused as usize];
    }
    assert!(won > 100 && dropped > 500, "{won} {dropped}");
}

#[test]
fn pausing_and_resuming_are_as_if_laid_out_anew() {
    let mut scratch = Scratch::default();
    for seed in 60_000..60_200 {
        let mut dice = random::Dice::new(seed);
        let rules = random::ruleset(&mut dice);
        let mut case = random::case_of(&mut dice, rules);
        let before = case.rank();
        let (kept, rules) = (Arc::clone(&case.snapshot.pauses), Arc::clone(&case.snapshot.ruleset));
        let paused = Arc::new(pauses(&[dice.of(&random::PAUSABLE)]));
        case.snapshot = case.snapshot.with_pauses(Arc::clone(&paused));
        let swapped = rank(&case.inputs(), &mut scratch);
        case.snapshot = Snapshot::new(Arc::clone(&rules), Arc::new(base_rates(&rules)), paused);
        assert_eq!(rank(&case.inputs(), &mut scratch), swapped, "seed {seed}");
        case.snapshot = case.snapshot.with_pauses(kept);
        assert_eq!(rank(&case.inputs(), &mut scratch), before, "seed {seed}");
    }
}
