//! A profile is a function of the set of its events: whatever order they come
//! in, however often, and under whatever identity, the bytes are the same.

mod histories;
mod merging;

use std::collections::{BTreeMap, BTreeSet};

use self::histories::{Random, history};
use crate::{customer, domain::*, store::codec::encode_profile};

/// Histories that are tried.
const HISTORIES: u64 = 10_000;
/// Most copies of an event.
const COPIES_MAX: usize = 5;

/// Two customers who are one, and what happened to them, in the order in which
/// it came in.
struct Split {
    sides: [Profile; 2],
    /// Which customer's event, and which.
    arrivals: Vec<(usize, Event)>,
    /// The merge happens before this arrival.
    merged_at: usize,
}

impl Split {
    fn of(random: &mut Random, events: &[Event]) -> Self {
        let side = |random: &mut Random| {
            let key = u128::from(random.next());
            Profile { key: CustomerKey(key), arm_key: ArmKey(key), ..Profile::default() }
        };
        let mut arrivals = Vec::new();
        for event in events {
            let owner = random.below(2);
            let copies = 1 + random.below(COPIES_MAX);
            arrivals.extend((0..copies).map(|_| (owner, event.clone())));
        }
        random.shuffle(&mut arrivals);
        let merged_at = random.below(arrivals.len() + 1);
        Self { sides: [side(random), side(random)], arrivals, merged_at }
    }
}

/// What came of it.
struct Folded {
    /// The two right before the merge: the survivor and the other.
    before: [Profile; 2],
    /// Each event once, as they came: before the merge, after it.
    unique: [Vec<Event>; 2],
    all: Profile,
}

fn fold(split: Split) -> Folded {
    let Split { mut sides, arrivals, merged_at } = split;
    let (mut seen, mut unique) = (BTreeSet::new(), [Vec::new(), Vec::new()]);
    let late = arrivals.len() - merged_at;
    let mut arrivals = arrivals.into_iter();
    // by event id each once, as the store does
    for (owner, event) in arrivals.by_ref().take(merged_at) {
        if seen.insert(event.id) {
            customer::apply(&mut sides[owner], &event);
            unique[0].push(event);
        }
    }
    let [one, other] = sides;
    let swap = customer::survivor(&one, &other) != one.key;
    let before = if swap { [other, one] } else { [one, other] };
    assert!(customer::mergeable(&before[0], &before[1]));
    let mut all = customer::merge(&before[0], &before[1]);
    for (_, event) in arrivals.take(late) {
        if seen.insert(event.id) {
            customer::apply(&mut all, &event);
            unique[1].push(event);
        }
    }
    Folded { before, unique, all }
}

fn bytes_of(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_profile(profile, &mut bytes);
    bytes
}

/// The one customer to whom all of it happened, once and in order; but where the
/// two disagreed when they were merged, the word that the merge made.
fn in_order(events: &[Event], folded: &Folded) -> (Profile, bool) {
    let [survivor, other] = &folded.before;
    let mut once = Profile { key: survivor.key, arm_key: survivor.arm_key, ..Profile::default() };
    for event in events {
        customer::apply(&mut once, event);
    }
    let (made, disagreed) = made_of(survivor, other);
    if !disagreed {
        permits_the_same(&folded.all, &once);
    }
    for consent in &mut once.consents {
        if let Some(made) = made.get(&(consent.channel, consent.purpose)) {
            *consent = later_words(made, &folded.unique[1]);
        }
    }
    let split_on_contact = survivor.do_not_contact.is_some() != other.do_not_contact.is_some();
    if split_on_contact {
        (once.do_not_contact, once.contact_allowed_at) = contact(&folded.before, &folded.unique[1]);
    }
    (once, split_on_contact || disagreed)
}

/// Where the two agreed, the merge changes nothing of what is permitted.
fn permits_the_same(one: &Profile, other: &Profile) {
    for channel in [None, Some(ChannelId(0)), Some(ChannelId(1)), Some(ChannelId(2))] {
        for purpose in [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling] {
            assert_eq!(one.permission(channel, purpose), other.permission(channel, purpose), "{channel:?} {purpose:?}");
        }
    }
}

type Subject = (Option<ChannelId>, ConsentPurpose);

/// What the two said, by the rule: per scope that one of them spoke of the
/// strictest of what each said for it, from the later moment on. And whether they
/// disagreed on any.
fn made_of(one: &Profile, other: &Profile) -> (BTreeMap<Subject, Consent>, bool) {
    let (mut made, mut disagreed) = (BTreeMap::new(), false);
    for subject in one.consents.iter().chain(&other.consents).map(|c| (c.channel, c.purpose)) {
        let words: Vec<Consent> = [one, other].iter().filter_map(|side| last_word(side, subject)).collect();
        disagreed |= words.iter().any(|word| word.permission != words[0].permission);
        let at = words.iter().map(|word| word.at).max().expect("one spoke");
        let permission = words.iter().max_by_key(|c| c.permission.strictness()).expect("one spoke").permission;
        let whole = words.iter().filter(|word| (word.at, word.permission) == (at, permission));
        let said = whole.map(|word| (word.source.clone(), word.proof.clone())).max();
        let (source, proof) = said.unwrap_or_default();
        let (channel, purpose) = subject;
        made.insert(subject, Consent { channel, purpose, permission, at, source, proof });
    }
    (made, disagreed)
}

/// What one of them said last for a channel: of it, or of all; at once the stricter.
fn last_word(side: &Profile, (channel, purpose): Subject) -> Option<Consent> {
    let speaks = |c: &&Consent| c.purpose == purpose && (c.channel.is_none() || c.channel == channel);
    let last = |c: &&Consent| (c.at, c.permission.strictness(), c.channel.is_some());
    side.consents.iter().filter(speaks).max_by_key(last).cloned()
}

/// The word, unless one of these events says something later.
fn later_words(made: &Consent, events: &[Event]) -> Consent {
    let mut probe = Profile { consents: vec![made.clone()], ..Profile::default() };
    for event in events {
        customer::apply(&mut probe, event);
    }
    let same = |consent: &&Consent| (consent.channel, consent.purpose) == (made.channel, made.purpose);
    probe.consents.iter().find(same).cloned().expect("a word stays")
}

/// When every contact was forbidden and permitted: one of the two forbade it.
fn contact(before: &[Profile; 2], events: &[Event]) -> (Option<Timestamp>, Option<Timestamp>) {
    let moments = before.iter().flat_map(|p| [p.do_not_contact, p.contact_allowed_at]);
    let (mut on, mut off) = (moments.max().flatten(), before.iter().filter_map(|p| p.contact_allowed_at).max());
    for event in events {
        match event.kind {
            EventKind::DoNotContact { on: true, .. } => on = on.max(Some(event.at)),
            EventKind::DoNotContact { on: false, .. } => off = off.max(Some(event.at)),
            _ => {}
        }
    }
    (on.filter(|on| Some(*on) >= off), off)
}

#[test]
fn a_profile_is_a_function_of_the_set_of_its_events() {
    let (mut disagreed, mut merged, mut survived) = (0_u64, 0_u64, 0_u64);
    for seed in 0..HISTORIES {
        let random = &mut Random(seed);
        let events = history(random);
        let folded = fold(Split::of(random, &events));
        let (once, differed) = in_order(&events, &folded);
        assert_eq!(folded.all.version, events.len() as u64, "history {seed}: an event was lost or counted twice");
        // the key and the arm stay those of the survivor, whatever came
        let [survivor, _] = &folded.before;
        assert_eq!((folded.all.key, folded.all.arm_key), (survivor.key, survivor.arm_key), "history {seed}");
        let found = customer::flattened(&folded.all);
        if bytes_of(&found) != bytes_of(&once) {
            panic!("history {seed}:\nfound {found:#?}\nwanted {once:#?}");
        }
        disagreed += u64::from(differed);
        merged += u64::from(folded.before.iter().all(|side| side.version > 0));
        survived += u64::from(!folded.unique[1].is_empty());
    }
    // the test is about something: most are split in earnest, and the words that
    // a merge makes are seen, but not in every history
    assert!(merged > HISTORIES / 2 && survived > HISTORIES / 2, "{merged} {survived}");
    assert!((HISTORIES / 20..HISTORIES / 2).contains(&disagreed), "{disagreed}");
}
