//! Rules tried on a hundred invented people.

use std::{sync::Arc, time::Duration};

use crate::{
    decide::{Snapshot, scenario::base_rates},
    domain::{
        Assurance, AttrId, Consent, ConsentPurpose, CustomerKey, EventStat, EventTypeId, Pause, PauseKind, Pauses,
        Permission, Profile, Request, StoredAttribute, Timestamp, Value,
    },
    predict::BaseModel,
    rules::{self, Ruleset, SourceFile},
    store::{HotProfile, seal::DataKey},
};

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

const BASE: &str = r#"
settings: { currency: GBP }
attributes:
  - { id: age, type: int }
  - { id: visits, type: int, behavioural: true }
  - { id: credit, type: int, default: 3, assurance: verified }
segments:
  - { id: young, when: "p.age < 30" }
  - { id: old, when: "p.age >= 70" }
channels: [ { id: web, kind: self_service, require: [text] } ]
placements: [ { id: hero, channel: web } ]
issues: [ { id: sell } ]
groups: [ { id: all } ]
"#;

/// An offer with a condition.
fn offer(id: &str, when: &str, more: &str) -> String {
    format!(
        "  - {{ id: {id}, purpose: marketing, issue: sell, group: all, value: 5, placements: [hero], {more} \
         eligibility: \"{when}\", treatments: {{ web: {{ en: {{ text: {id} }} }} }} }}\n"
    )
}

fn compile(policies: &str, offers: &[String]) -> Arc<Ruleset> {
    let text = format!("{BASE}{policies}\noffers:\n{}", offers.concat());
    let file = SourceFile { path: "all.yaml".into(), text: text.into() };
    Arc::new(rules::compile(&[file]).unwrap_or_else(|errors| panic!("{:?}", errors.errors)))
}

fn snapshot(rules: &Arc<Ruleset>) -> Snapshot {
    Snapshot::new(Arc::clone(rules), Arc::new(base_rates(rules)), Arc::default())
}

/// A hundred people aged 0 to 99; those under 50 consent to profiling.
fn people() -> Sample {
    let person = |age: i64| {
        let stored = |name: &str, value: i64| StoredAttribute {
            id: AttrId::of(name),
            value: Some(Value::Int(value)),
            at: Timestamp(0),
        };
        let mut attributes = vec![stored("age", age), stored("visits", age)];
        attributes.sort_by_key(|attribute| attribute.id);
        let consent = Consent {
            channel: None,
            purpose: ConsentPurpose::Profiling,
            permission: if age < 50 { Permission::Granted } else { Permission::Denied },
            at: Timestamp(0),
            source: "".into(),
            proof: "".into(),
        };
        let key = CustomerKey(age as u128);
        let profile = Profile { key, attributes, consents: vec![consent], ..Profile::default() };
        Arc::new(HotProfile::new(profile, DataKey([7; 32])))
    };
    Sample { people: (0..100).map(person).collect(), population: 5_000 }
}

fn compared(active: &Arc<Ruleset>, new: &Arc<Ruleset>) -> PopulationDiff {
    let (active, new) = (snapshot(active), snapshot(new));
    compare(Sides { active: &active, new: &new, now: NOW, occasion: Occasion::Publish }, &people(), Duration::MAX)
}

#[test]
fn the_diff_tells_who_gains_and_who_loses() {
    let active = compile("", &[offer("a", "p.age < 10", ""), offer("b", "p.age >= 0", ""), offer("gone", "true", "")]);
    let new = compile(
        "",
        &[offer("a", "p.age >= 5 && p.age < 35", ""), offer("b", "p.age >= 0", ""), offer("c", "false", "")],
    );
    let diff = compared(&active, &new);
    assert_eq!((diff.population, diff.people, diff.ranked), (5_000, 100, 100));
    let row = |id: &str| diff.offers.iter().find(|row| &*row.offer == id).unwrap_or_else(|| panic!("{id}: {diff:?}"));
    let a = row("a");
    assert_eq!((a.counts.eligible_before, a.counts.eligible_after), (10, 30));
    assert_eq!((a.counts.gained, a.counts.lost, a.change), (25, 5, Change::Kept));
    let young = SegmentChange { segment: "young".into(), people: 30, gained: 20, lost: 5 };
    assert_eq!(a.segments, [young]);
    let gone = row("gone");
    assert_eq!((gone.change, gone.counts.lost, gone.visitor), (Change::Removed, 100, (true, false)));
    assert_eq!((row("c").change, row("c").counts.gained), (Change::Added, 0));
    assert_eq!(&*diff.offers[0].offer, "gone", "the largest change first");
    assert_eq!((diff.totals.gained, diff.totals.lost), (25, 105));
    assert!(diff.refusals.is_empty() && diff.notes.is_empty());
}

#[test]
fn people_without_a_request_count_as_verified_but_not_the_visitor() {
    let kept = [offer("kept", "p.age >= 0", "assurance: verified,"), offer("credit", "p.credit == 3", "")];
    let diff = compared(&compile("", &[]), &compile("", &kept));
    for row in &diff.offers {
        assert_eq!((row.counts.eligible_after, row.visitor), (100, (false, false)), "{}", row.offer);
    }
    assert_eq!((diff.offers.len(), diff.totals.winners_after), (2, 100));
    let rules = compile("", &kept);
    let (whole, mut buffers) = (Eligibility::of(&rules), EligibilityBuffers::default());
    let known = &people().people[40];
    for (assurance, offers) in [(Assurance::Claimed, 0), (Assurance::Verified, 2)] {
        let request = Request { assurance, ..unasked() };
        let person = Person { profile: &known.profile, request: &request, now: NOW, profiling: true, missing: &[] };
        assert_eq!(whole.of_person(&person, &mut buffers).len(), offers, "{assurance:?}");
    }
}

#[test]
fn equal_rules_change_nothing_and_shown_counts_winners() {
    let dear = compile("", &[offer("a", "p.age < 10", "lever: 2,"), offer("b", "p.age >= 0", "")]);
    let diff = compared(&dear, &dear);
    assert!(diff.offers.is_empty(), "{diff:?}");
    assert_eq!((diff.offers_unchanged, diff.totals.winners_before), (2, 100));
    // the same people are eligible, but another offer wins
    let cheap = compile("", &[offer("a", "p.age < 10", "lever: 0.5,"), offer("b", "p.age >= 0", "")]);
    let diff = compared(&dear, &cheap);
    let shown: Vec<_> =
        diff.offers.iter().map(|o| (&*o.offer, o.counts.winners_before, o.counts.winners_after)).collect();
    assert_eq!(shown, [("a", 10, 0), ("b", 90, 100)]);
}

#[test]
fn behaviour_counts_only_with_consent() {
    let none = compile("", &[offer("a", "false", "")]);
    let all = compile("", &[offer("a", "p.visits >= 0", "")]);
    assert_eq!(compared(&none, &all).totals.gained, 50);
}

#[test]
fn reach_limits_refuse_surprises_and_say_what_to_do() {
    let policies = "policies: { reach: { max_gain_share: 0.2, max_loss_share: 0.1, min_sample: 100 } }";
    let before = compile(policies, &[offer("a", "p.age < 10", "")]);
    let within = compile(policies, &[offer("a", "p.age < 30", "")]);
    assert_eq!(compared(&before, &within).refusals, Vec::<String>::new());
    let over = compile(policies, &[offer("a", "p.age < 31", "")]);
    let told = compared(&before, &over).refusals;
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("all.yaml:"), "{told:?}");
    for part in
        ["`a` gains 21 of 100 people (21 %)", "10 eligible before, 31 after", "20 %", "`--force`", "max_gain_share"]
    {
        assert!(told[0].contains(part), "{part} in {told:?}");
    }
    let own = compile(policies, &[offer("a", "p.age < 31", "reach: { max_gain_share: 0.5 },")]);
    assert!(compared(&before, &own).refusals.is_empty());
    let fewer = compared(&over, &before).refusals;
    assert!(fewer.len() == 1 && fewer[0].contains("loses 21 of 100"), "{fewer:?}");
}

#[test]
fn new_and_removed_offers_count_unless_they_are_exempt() {
    let policies = |more: &str| format!("policies: {{ reach: {{ max_gain_share: 0.2, max_loss_share: 0.2{more} }} }}");
    let one = compile(&policies(""), &[offer("a", "true", "")]);
    let two = [offer("a", "true", ""), offer("b", "true", "")];
    let told = compared(&one, &compile(&policies(""), &two)).refusals;
    assert!(told.len() == 1 && told[0].contains("new offer `b` gains 100"), "{told:?}");
    let exempt = compile(&policies(", new_offers: exempt"), &two);
    assert!(compared(&one, &exempt).refusals.is_empty());
    let told = compared(&exempt, &one).refusals;
    assert!(told.len() == 1 && told[0].contains("removed offer `b` loses 100"), "{told:?}");
    // an edit does not exempt itself
    let kept = compile(&policies(", removed_offers: exempt"), &[offer("a", "true", "")]);
    assert_eq!(compared(&exempt, &kept).refusals.len(), 1);
    let dropped = compile("", &[offer("a", "true", "")]);
    let told = compared(&exempt, &dropped).refusals;
    assert!(told.len() == 1 && told[0].contains("removed offer `b` loses 100"), "{told:?}");
    let before = compile(&policies(", removed_offers: exempt"), &two);
    assert!(compared(&before, &kept).refusals.is_empty());
}

#[test]
fn wins_that_move_are_noted_and_not_judged() {
    let policies = "policies: { reach: { max_gain_share: 0.2, max_loss_share: 0.2 } }";
    let rules =
        |lever: &str| compile(policies, &[offer("a", "p.age >= 0", lever), offer("b", "p.age >= 0", "lever: 2,")]);
    let diff = compared(&rules("lever: 1,"), &rules("lever: 9,"));
    assert_eq!(diff.refusals, Vec::<String>::new());
    assert!(diff.notes.iter().any(|note| note.contains("`a` wins for 100 of 100")), "{:?}", diff.notes);
}

#[test]
fn few_people_judge_nothing() {
    let policies = "policies: { reach: { max_gain_share: 0.2, min_sample: 101 } }";
    let diff = compared(&compile(policies, &[offer("a", "false", "")]), &compile(policies, &[offer("a", "true", "")]));
    assert!(diff.refusals.is_empty());
    assert!(diff.notes[0].contains("100 people") && diff.notes[0].contains("101"), "{:?}", diff.notes);
}

#[test]
fn no_time_still_ranks_the_least_sample() {
    let policies = "policies: { reach: { min_sample: 7 } }";
    let rules = snapshot(&compile(policies, &[offer("a", "true", "")]));
    let diff = compare(
        Sides { active: &rules, new: &rules, now: NOW, occasion: Occasion::Publish },
        &people(),
        Duration::ZERO,
    );
    assert_eq!((diff.people, diff.ranked, diff.totals.eligible_after), (100, 7, 100));
}

#[test]
fn what_conditions_inline_counts_as_a_change() {
    let with = |segment: &str, outer: &str, age: &str| {
        let text = BASE.replace("p.age < 30", segment).replace("id: age, type: int", age)
            + &format!("offers:\n{}{}", offer("a", outer, ""), offer("b", "p.visits > 2", ""));
        rules::compile(&[SourceFile { path: "all.yaml".into(), text: text.into() }]).unwrap()
    };
    let names = |before: &Ruleset, after: &Ruleset| -> Vec<String> {
        changed(before, after).iter().map(|pair| pair.offer.to_string()).collect()
    };
    let age = "id: age, type: int";
    let base = with("p.age < 30", "seg.young", age);
    assert_eq!(names(&base, &with("p.age < 30", "seg.young", age)), Vec::<String>::new());
    assert_eq!(names(&base, &with("p.age < 31", "seg.young", age)), ["a"]);
    assert_eq!(names(&base, &with("p.age < 30", "seg.old", age)), ["a"]);
    assert_eq!(names(&base, &with("p.age < 30", "seg.young", "id: age, type: int, default: 3")), ["a"]);
    assert_eq!(
        names(&base, &with("p.age < 30", "seg.young", "id: aaa, type: bool }\n  - { id: age, type: int")),
        Vec::<String>::new()
    );
}

/// A part of invented people.
struct Part<'a>(&'a [Arc<HotProfile>], Request);

impl Crowd for Part<'_> {
    fn visit(&mut self, see: &mut dyn FnMut(Person<'_>)) {
        for person in self.0 {
            see(Person { profile: &person.profile, request: &self.1, now: NOW, profiling: true, missing: &[] });
        }
    }
}

#[test]
fn reach_counts_everybody_on_all_threads() {
    let before = compile("", &[offer("a", "p.age < 10", ""), offer("b", "p.age > 3", "")]);
    let after = compile("", &[offer("a", "p.age >= 5 && p.age < 35", ""), offer("b", "p.age > 3", "")]);
    let sample = people();
    let crowds = sample.people.chunks(33).map(|part| Box::new(Part(part, Request::default())) as Box<dyn Crowd>);
    let told = reach(Edit { before: &before, after: &after, base: &Arc::default() }, crowds.collect()).unwrap();
    assert_eq!((told.people, told.offers.len(), told.offers_unchanged), (100, 1, 1));
    let a = &told.offers[0];
    assert_eq!((&*a.offer, a.before, a.after, a.gained, a.lost), ("a", 10, 30, 25, 5));
    assert_eq!(a.segments, [SegmentReached { segment: "young".into(), gained: 20, lost: 5 }]);
}

#[test]
fn traits_of_models_count_in_what_an_edit_changes() {
    let traits = "traits: [ { id: frequency, model: frequency_score }, { id: orders, count: purchase } ]";
    let before = compile(traits, &[offer("a", "p.age < 10", "")]);
    let after = compile(traits, &[offer("a", "p.frequency >= 1", "")]);
    let base = Arc::new(BaseModel { version: 1, rfm: Some(Default::default()), ..BaseModel::default() });
    let mut sample = people();
    let bought = EventStat {
        event: EventTypeId::of("purchase"),
        count: 1,
        amount: 100,
        first_at: Timestamp(0),
        last_at: Timestamp(0),
    };
    for person in &mut sample.people {
        let profile = Profile { stats: vec![bought], ..person.profile.clone() };
        *person = Arc::new(HotProfile::new(profile, DataKey([7; 32])));
    }
    let of = |rules: &Arc<Ruleset>| snapshot(rules).with_base(Arc::clone(&base));
    let (active, new) = (of(&before), of(&after));
    let sides = Sides { active: &active, new: &new, now: NOW, occasion: Occasion::Publish };
    let diff = compare(sides, &sample, Duration::MAX);
    // behaviour counts for the fifty who permit it
    assert_eq!(diff.offers[0].counts.eligible_after, 50, "{diff:?}");
    let crowds: Vec<Box<dyn Crowd>> = vec![Box::new(Part(&sample.people, Request::default()))];
    let told = reach(Edit { before: &before, after: &after, base: &base }, crowds).unwrap();
    assert_eq!(told.offers[0].after, 100);
}

/// A part whose people cannot be read.
struct Broken;

impl Crowd for Broken {
    fn visit(&mut self, _: &mut dyn FnMut(Person<'_>)) {
        panic!("on purpose");
    }
}

#[test]
fn a_part_that_panics_is_an_error_and_never_left_out() {
    let (before, after) = (compile("", &[offer("a", "p.age < 10", "")]), compile("", &[offer("a", "true", "")]));
    let sample = people();
    let crowds: Vec<Box<dyn Crowd>> = vec![Box::new(Part(&sample.people, Request::default())), Box::new(Broken)];
    assert_eq!(
        reach(Edit { before: &before, after: &after, base: &Arc::default() }, crowds).map(|told| told.people),
        Err(PartLost)
    );
}

#[test]
fn a_resume_tells_what_comes_back_and_a_publish_sees_through_pauses() {
    let policies = "policies: { reach: { max_gain_share: 0.2 } }";
    let rules = compile(policies, &[offer("a", "p.age < 30", ""), offer("b", "p.age >= 0", "")]);
    let resumed = snapshot(&rules);
    let pause =
        Pause { kind: PauseKind::Offer, id: "a".into(), reason: "".into(), author: "".into(), since: Timestamp(0) };
    let paused = resumed.with_pauses(Arc::new(Pauses::default().with(pause)));
    let compared = |active: &Snapshot, new: &Snapshot, occasion| {
        compare(Sides { active, new, now: NOW, occasion }, &people(), Duration::MAX)
    };
    let diff = compared(&paused, &resumed, Occasion::Resume);
    assert_eq!((&*diff.offers[0].offer, diff.totals.gained, diff.totals.lost), ("a", 30, 0));
    assert_eq!((diff.offers[0].counts.eligible_before, diff.offers[0].visitor), (0, (false, false)));
    assert!(diff.refusals.is_empty() && diff.notes[0].contains("what the pause took away"), "{diff:?}");
    // an edit under the pause is judged as if there were none
    let wider = compile(policies, &[offer("a", "p.age < 90", ""), offer("b", "p.age >= 0", "")]);
    let diff = compared(&paused, &snapshot(&wider).with_pauses(Arc::clone(&paused.pauses)), Occasion::Publish);
    assert!(diff.totals.gained == 60 && diff.refusals.len() == 1, "{diff:?}");
}

#[test]
fn the_index_and_single_conditions_agree() {
    let offers: Vec<String> = (0..90).map(|n| offer(&format!("o{n:02}"), &format!("p.age >= {n}"), "")).collect();
    let rules = compile("", &offers);
    let (whole, few) = (Eligibility::of(&rules), Eligibility::only(&rules, rules.offers[..20].iter().map(|o| o.slot)));
    let request = Request::default();
    let mut buffers: [EligibilityBuffers; 2] = Default::default();
    for person in people().people {
        let person = Person { profile: &person.profile, request: &request, now: NOW, profiling: true, missing: &[] };
        let by_index: Vec<_> = whole.of_person(&person, &mut buffers[0]).iter().filter(|s| s.index() < 20).collect();
        assert_eq!(few.of_person(&person, &mut buffers[1]).iter().collect::<Vec<_>>(), by_index);
    }
}
