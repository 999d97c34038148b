//! Merging in any order and any number of times, and undoing it.

use super::{
    bytes_of,
    histories::{NOW, Random, history},
};
use crate::{
    customer::{self, flattened, merge, survivor, unmerge},
    domain::{time::DAY_US, *},
};

const MERGES: u64 = 10_000;

/// A customer with a history; decisions are its own.
fn someone(random: &mut Random, number: u64) -> (Profile, Vec<Event>) {
    let key = (u128::from(random.next()) << 2) | u128::from(number);
    let mut profile = Profile { key: CustomerKey(key), arm_key: ArmKey(key), ..Profile::default() };
    let mut events = history(random);
    for event in &mut events {
        if let EventKind::Outcome { presentation, .. } = &mut event.kind {
            presentation.decision = DecisionId(presentation.decision.0 + u128::from(number));
        }
        customer::apply(&mut profile, event);
    }
    (profile, events)
}

/// Merged under the key that survives.
fn both(one: &Profile, other: &Profile) -> Profile {
    if survivor(one, other) == one.key { merge(one, other) } else { merge(other, one) }
}

#[test]
fn merging_is_commutative_associative_and_idempotent() {
    for seed in 0..MERGES {
        let random = &mut Random(seed);
        let [(a, of_a), (b, of_b), (c, of_c)] = [0, 1, 2].map(|number| someone(random, number));
        let ab = both(&a, &b);
        let abc = both(&ab, &c);
        assert_eq!(abc, both(&a, &both(&b, &c)), "merge {seed}");
        assert_eq!(abc, both(&both(&c, &a), &b), "merge {seed}");
        let known = [&a, &b, &c, &ab, &abc];
        for again in known.into_iter().take(if seed % 8 == 0 { known.len() } else { 1 }) {
            assert_eq!(abc, both(&abc, again), "merge {seed}");
            assert_eq!(abc, both(again, &abc), "merge {seed}");
        }
        // whoever survives, all but the keys is the same
        let under_a = |mut profile: Profile| {
            (profile.key, profile.arm_key) = (a.key, a.arm_key);
            bytes_of(&flattened(&profile))
        };
        assert_eq!(under_a(merge(&a, &b)), under_a(merge(&b, &a)), "merge {seed}");
        let who = [&a, &b, &c].into_iter().find(|one| one.key == abc.key).expect("one of them");
        assert_eq!(abc.arm_key, who.arm_key, "merge {seed}: the arm flipped");
        nothing_is_lost(&abc, &[of_a, of_b, of_c]);
        the_stricter_stands(&abc, &[a, b, c]);
    }
}

/// On every channel the merged one permits nothing that one of them did not.
fn the_stricter_stands(merged: &Profile, all: &[Profile; 3]) {
    for channel in [None, Some(ChannelId(0)), Some(ChannelId(1)), Some(ChannelId(2))] {
        for purpose in [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling] {
            let speaks =
                |word: &Consent| word.purpose == purpose && (word.channel.is_none() || word.channel == channel);
            let who = all.iter().filter(|one| one.consents.iter().any(speaks));
            let strictest = who.map(|one| one.permission(channel, purpose).strictness()).max();
            let permitted = merged.permission(channel, purpose).strictness();
            assert!(strictest.is_none_or(|strictest| permitted >= strictest), "{channel:?} {purpose:?}: {all:?}");
        }
    }
}

/// Events, contacts and what is counted of them add up.
fn nothing_is_lost(merged: &Profile, histories: &[Vec<Event>; 3]) {
    let all = || histories.iter().flatten();
    assert_eq!(merged.version, all().count() as u64);
    assert_eq!(merged.first_seen, all().map(|event| event.at).min().unwrap());
    for event_type in (0..4).map(EventTypeId) {
        let of = |kind: &EventKind| match kind {
            EventKind::Customer { event, amount, .. } if *event == event_type => Some(amount.unwrap_or(0)),
            _ => None,
        };
        let amounts: Vec<i64> = all().filter_map(|event| of(&event.kind)).collect();
        let stat = merged.stat(event_type).map_or((0, 0), |stat| (stat.count, stat.amount));
        assert_eq!(stat, (amounts.len() as u64, amounts.iter().sum()));
    }
    let contacts: std::collections::BTreeSet<_> = all()
        .filter_map(|event| match &event.kind {
            EventKind::Outcome { presentation: p, .. } => Some((p.decision, p.offer, p.channel)),
            _ => None,
        })
        .collect();
    assert_eq!(merged.interactions.len(), contacts.len(), "caps count every contact once");
}

#[test]
fn a_merge_is_undone() {
    for seed in 0..MERGES / 10 {
        let random = &mut Random(seed);
        let [(a, _), (b, _)] = [0, 1].map(|number| someone(random, number));
        let merged = both(&a, &b);
        let (before, absorbed) = if merged.key == a.key { (a, b) } else { (b, a) };
        let (survivor, other) = unmerge(&merged, (&before, &absorbed), &[]);
        assert_eq!(Profile { version: before.version, ..survivor.clone() }, before, "merge {seed}");
        assert_eq!((survivor.version, other.version), (merged.version, merged.version), "tokens hold");
        assert_eq!(Profile { version: absorbed.version, ..other.clone() }, absorbed, "merge {seed}");
        assert_eq!(merge(&survivor, &other).stats, merge(&before, &absorbed).stats);
    }
}

/// Whichever of several merges is taken back: what is left is what the others
/// make, and what is kept of the later ones is corrected the same way.
#[test]
fn a_merge_that_is_undone_leaves_the_merge_of_the_rest() {
    for seed in 0..MERGES / 10 {
        let random = &mut Random(seed);
        let all = [0, 1, 2, 3].map(|number| someone(random, number).0);
        let [first, others @ ..] = &all;
        let with = |who: &[usize]| who.iter().fold(first.clone(), |one, n| merge(&one, &others[*n]));
        let same = |one: Profile, other: Profile| assert_eq!(one, Profile { version: one.version, ..other }, "{seed}");
        let now = with(&[0, 1, 2]);
        for gone in 0..3 {
            let before = with(&(0..gone).collect::<Vec<_>>());
            let since: Vec<&Profile> = others[gone + 1..].iter().collect();
            let (left, back) = unmerge(&now, (&before, &others[gone]), &since);
            let rest: Vec<usize> = (0..3).filter(|n| *n != gone).collect();
            same(left.clone(), with(&rest));
            same(back, others[gone].clone());
            // and one more of those that are left
            for next in rest.iter().copied() {
                let before = with(&(0..next).filter(|n| *n != gone).collect::<Vec<_>>());
                let since: Vec<&Profile> = (next + 1..3).filter(|n| *n != gone).map(|n| &others[n]).collect();
                let (alone, _) = unmerge(&left, (&before, &others[next]), &since);
                same(alone, with(&rest.iter().copied().filter(|n| *n != next).collect::<Vec<_>>()));
            }
        }
    }
}

#[test]
fn what_came_since_stays_with_the_survivor() {
    for seed in 0..MERGES / 10 {
        let random = &mut Random(seed);
        let [(a, _), (b, _)] = [0, 1].map(|number| someone(random, number));
        let mut merged = both(&a, &b);
        let (mut before, absorbed) = if merged.key == a.key { (a, b) } else { (b, a) };
        let as_it_was = before.clone();
        let mut since = someone(random, 3).1;
        since.retain(|event| !matches!(event.kind, EventKind::Exposed { .. }));
        for event in &mut since {
            // an identity that the other had goes back to it, even when it was given again
            event.identities.clear();
            event.at = event.at.plus_us(365 * DAY_US);
            if let EventKind::Upsert { consents, .. } = &mut event.kind {
                consents.iter_mut().for_each(|consent| consent.at = event.at);
            }
            customer::apply(&mut merged, event);
            customer::apply(&mut before, event);
        }
        let (survivor, other) = unmerge(&merged, (&as_it_was, &absorbed), &[]);
        assert_eq!(Profile { version: before.version, ..survivor }, before, "merge {seed}");
        // what was denied since is denied to both, contacts of since count for both,
        // all else is as it was
        let consents = |profile: &Profile| profile.consents.clone();
        for denied in consents(&before).iter().filter(|c| c.permission == Permission::Denied && c.at > NOW) {
            assert!(consents(&other).contains(denied), "merge {seed}: {denied:?}");
        }
        if before.do_not_contact.is_some_and(|at| at > NOW) {
            assert!(other.do_not_contact.is_some(), "merge {seed}");
        }
        let contacts = since.iter().filter_map(|event| match &event.kind {
            EventKind::Outcome { presentation: p, .. } => Some((p.decision, p.offer, p.channel)),
            _ => None,
        });
        let contacts: std::collections::BTreeSet<_> = contacts.collect();
        let is_since = |i: &Interaction| contacts.contains(&(i.decision, i.offer, i.channel));
        let of_since: Vec<Interaction> = merged.interactions.iter().copied().filter(is_since).collect();
        assert!(of_since.len() == contacts.len() && of_since.iter().all(|one| other.interactions.contains(one)));
        let mut same = other;
        same.interactions.retain(|one| !is_since(one));
        (same.consents, same.do_not_contact) = (absorbed.consents.clone(), absorbed.do_not_contact);
        assert_eq!(same.version, merged.version);
        same.version = absorbed.version;
        assert_eq!(same, absorbed, "merge {seed}");
    }
}

#[test]
fn what_follows_a_decision_goes_back_with_it() {
    let random = &mut Random(1);
    let [(a, _), (b, of_b)] = [0, 1].map(|number| someone(random, number));
    let merged = both(&a, &b);
    let (before, absorbed) = if merged.key == a.key { (a, b.clone()) } else { (b.clone(), a) };
    let mut shown = of_b.iter().find(|e| matches!(e.kind, EventKind::Outcome { .. })).expect("a contact").clone();
    let EventKind::Outcome { presentation, outcome, .. } = &mut shown.kind else { panic!("a contact") };
    *outcome = OutcomeType::Accept;
    let presentation = *presentation;
    shown.at = NOW.plus_us(DAY_US);
    let mut now = merged;
    customer::apply(&mut now, &shown);
    let (survivor, other) = unmerge(&now, (&before, &absorbed), &[]);
    let of_decision = |profile: &Profile| {
        profile
            .interactions
            .iter()
            .find(|i| {
                i.decision == presentation.decision
                    && i.offer == presentation.offer
                    && i.channel == presentation.channel
            })
            .copied()
    };
    let (with, without) = if before.key == b.key { (&survivor, &other) } else { (&other, &survivor) };
    assert_eq!(of_decision(with).map(|i| i.answered_at), Some(shown.at));
    assert_eq!(of_decision(without), None);
}

#[test]
fn a_merge_of_too_many_is_not_made() {
    let someone = |n: u128| Profile { key: CustomerKey(n), version: 1, ..Profile::default() };
    let mut all = someone(0);
    for n in 1..=profile::ABSORBED_MAX as u128 {
        assert!(customer::mergeable(&all, &someone(n)));
        all = merge(&all, &someone(n));
    }
    assert_eq!((all.absorbed.len(), all.version), (profile::ABSORBED_MAX, 33));
    assert!(!customer::mergeable(&all, &someone(99)) && customer::mergeable(&all, &someone(5)));
}

/// What somebody says for being contacted for marketing.
fn said(channel: Option<ChannelId>, permission: Permission, at: i64) -> Event {
    let consent = Consent {
        channel,
        purpose: ConsentPurpose::Marketing,
        permission,
        at: Timestamp(at),
        source: "form".into(),
        proof: "v1".into(),
    };
    let (attributes, preferences, records) = Default::default();
    let kind = EventKind::Upsert { attributes, consents: vec![consent], preferences, records };
    let at = Timestamp(at);
    Event { id: EventId(1), at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind }
}

fn who_says(key: u128, words: &[(Option<ChannelId>, Permission, i64)]) -> Profile {
    let mut profile = Profile { key: CustomerKey(key), ..Profile::default() };
    for (channel, permission, at) in words {
        customer::apply(&mut profile, &said(*channel, *permission, *at));
    }
    profile
}

fn by_mail(profile: &Profile) -> Permission {
    profile.permission(Some(ChannelId(1)), ConsentPurpose::Marketing)
}

#[test]
fn a_grant_after_the_merge_counts_again() {
    let someone = |key, permission, at| who_says(key, &[(None, permission, at)]);
    let mut merged = both(&someone(1, Permission::Denied, 5), &someone(2, Permission::Granted, 9));
    assert_eq!(by_mail(&merged), Permission::Denied);
    assert_eq!((merged.consents[0].at, &*merged.consents[0].source), (Timestamp(9), ""));
    // the grant comes once more, late: it was said before the two were known to be one
    customer::apply(&mut merged, &said(None, Permission::Granted, 9));
    assert_eq!(by_mail(&merged), Permission::Denied);
    customer::apply(&mut merged, &said(None, Permission::Granted, 10));
    assert_eq!(by_mail(&merged), Permission::Granted);
    let unknown = both(&someone(1, Permission::Unknown, 5), &someone(2, Permission::Granted, 9));
    assert_eq!(by_mail(&unknown), Permission::Unknown);
}

/// The stricter stands, though the one spoke of every channel and the other of
/// one; what one person said to both is that person's own affair.
#[test]
fn a_denial_stands_whatever_its_scope() {
    use Permission::{Denied, Granted};
    let mail = Some(ChannelId(1));
    for (ann, bob, wanted, elsewhere) in [
        (&[(None, Denied, 1)][..], &[(mail, Granted, 2)][..], Denied, Denied),
        (&[(mail, Denied, 1)], &[(None, Granted, 2)], Denied, Granted),
        (&[(None, Denied, 1), (mail, Granted, 2)], &[(mail, Granted, 5)], Granted, Denied),
        (&[(mail, Granted, 1), (None, Denied, 2)], &[(mail, Granted, 5)], Denied, Denied),
        (&[(None, Denied, 1), (mail, Granted, 2)], &[], Granted, Denied),
        (&[(None, Denied, 1), (mail, Granted, 1)], &[(mail, Granted, 2)], Denied, Denied),
    ] {
        let [ann, bob] = [(1, ann), (2, bob)].map(|(key, words)| who_says(key, words));
        let nobody = who_says(3, &[]);
        let merged = both(&ann, &bob);
        for mut merged in [both(&bob, &ann), both(&both(&nobody, &bob), &ann), merged] {
            assert_eq!(by_mail(&merged), wanted, "{ann:?} {bob:?}");
            assert_eq!(merged.permission(Some(ChannelId(2)), ConsentPurpose::Marketing), elsewhere);
            customer::apply(&mut merged, &said(mail, Granted, 9));
            assert_eq!(by_mail(&merged), Granted, "what is said afterwards counts");
        }
    }
}
