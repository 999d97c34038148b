//! Two customers become one, and are two again.

use super::support::*;
use crate::domain::{schema::IdentityBearer, time::DAY_US, *};
use crate::store::*;

pub const COOKIE: IdentityTypeId = IdentityTypeId(4);

/// Opens a store that knows the types: customer ids are single, a phone is
/// shared, a cookie is a device's and joins at most 3 people.
pub fn open(dir: &std::path::Path) -> Store {
    let store = Store::open(config(dir)).unwrap();
    store.link_by(linking(3));
    store
}

pub fn linking(people_max: u16) -> Linking {
    let person = |place, single| TypeLinking {
        place,
        sharing: Sharing::Unique,
        bearer: IdentityBearer::Person,
        single,
        people_max,
    };
    Linking::of_types([
        (CUSTOMER_ID, person(0, true)),
        (EMAIL, person(1, false)),
        (PHONE, TypeLinking { sharing: Sharing::Shared, ..person(2, false) }),
        (COOKIE, TypeLinking { bearer: IdentityBearer::Device, ..person(3, false) }),
    ])
}

fn named(store: &Store, identities: &[(IdentityTypeId, &str)]) -> Target {
    Target::Identities(identities.iter().map(|(kind, value)| identity(store, *kind, value)).collect())
}

async fn buys(store: &Store, identities: &[(IdentityTypeId, &str)], id: u128) -> Receipt {
    let receipt = store.record(vec![submission(named(store, identities), id, purchase(100))]).await.remove(0);
    assert_eq!(receipt.status, ReceiptStatus::Recorded);
    receipt
}

async fn who(store: &Store, kind: IdentityTypeId, value: &str) -> CustomerKey {
    let one = identity(store, kind, value);
    let known = store.resolve(std::slice::from_ref(&one)).await.unwrap();
    assert_eq!(store.resolve_hot(&[one]), known);
    match known {
        Resolved::Known(key) => key,
        other => panic!("{value}: {other:?}"),
    }
}

async fn profile(store: &Store, key: CustomerKey) -> Profile {
    store.profile(key).await.unwrap().unwrap().profile.clone()
}

fn purchases(profile: &Profile) -> u64 {
    profile.stat(EventTypeId(3)).map_or(0, |stat| stat.count)
}

fn why(receipt: &Receipt) -> Vec<(IdentityTypeId, NotLinked)> {
    receipt.left_out.iter().map(|one| (one.kind, one.why)).collect()
}

#[test]
fn a_visitor_who_becomes_known_keeps_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        // nobody has the customer id: it joins the visitor
        let visitor = buys(&store, &[(COOKIE, "c1")], 1).await;
        let known = buys(&store, &[(COOKIE, "c1"), (CUSTOMER_ID, "ann")], 2).await;
        assert_eq!((known.customer, known.created), (visitor.customer, false));
        // another browser, which somebody used before the login: both become one
        let other = buys(&store, &[(COOKIE, "c2")], 3).await.customer.unwrap();
        let merged = buys(&store, &[(COOKIE, "c2"), (CUSTOMER_ID, "ann")], 4).await;
        assert_eq!(merged.customer, visitor.customer);
        assert!(merged.left_out.is_empty() && merged.version == 4);
        for (kind, value) in [(COOKIE, "c1"), (COOKIE, "c2"), (CUSTOMER_ID, "ann")] {
            assert_eq!(Some(who(&store, kind, value).await), visitor.customer);
        }
        let ann = profile(&store, other).await;
        assert_eq!((Some(ann.key), purchases(&ann), ann.identities.len()), (visitor.customer, 4, 3));
        assert_eq!(ann.arm_key, ArmKey(ann.key.0));
        let stats = store.stats();
        assert_eq!((stats.merges, stats.merges_refused, stats.merges_undone), ([1, 0], [0; 7], 0));
        // a repetition is one, and merges nobody
        let again =
            store.record(vec![submission(named(&store, &[(COOKIE, "c2"), (CUSTOMER_ID, "ann")]), 4, purchase(100))]);
        let again = again.await.remove(0);
        assert_eq!((again.status, again.customer), (ReceiptStatus::Duplicate, visitor.customer));
    });
}

/// Whoever is older lives on, be it the visitor.
#[test]
fn the_older_one_lives_on_with_its_arm() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        let ann = buys(&store, &[(CUSTOMER_ID, "ann")], 9).await.customer.unwrap();
        let visitor = buys(&store, &[(COOKIE, "c1")], 1).await.customer.unwrap();
        let merged = buys(&store, &[(COOKIE, "c1"), (CUSTOMER_ID, "ann")], 10).await;
        assert_eq!(merged.customer, Some(visitor));
        assert_eq!(profile(&store, ann).await.arm_key, ArmKey(visitor.0));
        assert!(store.hot_keys() == [visitor]);
    });
}

#[test]
fn two_people_stay_two_and_the_event_is_the_strongest_one_s() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        let ann = buys(&store, &[(CUSTOMER_ID, "ann"), (COOKIE, "shared")], 1).await.customer;
        let bob = buys(&store, &[(CUSTOMER_ID, "bob")], 2).await.customer;
        // the browser is ann's: bob is somebody else
        let both = buys(&store, &[(COOKIE, "shared"), (CUSTOMER_ID, "bob")], 3).await;
        assert_eq!((both.customer, why(&both)), (bob, vec![(COOKIE, NotLinked::Single)]));
        // so is who was not known before
        let cid = buys(&store, &[(COOKIE, "shared"), (CUSTOMER_ID, "cid"), (EMAIL, "cid@x.org")], 4).await;
        assert!(cid.created && cid.customer != ann);
        assert_eq!(why(&cid), [(COOKIE, NotLinked::Single)]);
        assert_eq!(Some(who(&store, EMAIL, "cid@x.org").await), cid.customer);
        assert_eq!(Some(who(&store, COOKIE, "shared").await), ann);
        // an e-mail of ann and the customer id of bob
        buys(&store, &[(CUSTOMER_ID, "ann"), (EMAIL, "ann@x.org")], 5).await;
        let mixed = buys(&store, &[(EMAIL, "ann@x.org"), (CUSTOMER_ID, "bob")], 6).await;
        assert_eq!((mixed.customer, why(&mixed)), (bob, vec![(EMAIL, NotLinked::Single)]));
        // two values of one kind of which a person has one
        let two = buys(&store, &[(CUSTOMER_ID, "dan"), (CUSTOMER_ID, "eve")], 7).await;
        assert_eq!((two.created, why(&two)), (true, vec![(CUSTOMER_ID, NotLinked::Single)]));
        assert_eq!(store.stats().merges_refused[NotLinked::Single as usize], 4);
        assert_eq!(store.stats().merges, [0, 0]);
        // a shared phone makes nobody one
        let phone = buys(&store, &[(CUSTOMER_ID, "ann"), (PHONE, "+4930")], 8).await;
        let phone_of_bob = buys(&store, &[(CUSTOMER_ID, "bob"), (PHONE, "+4930")], 9).await;
        assert_eq!((phone.customer, phone_of_bob.customer), (ann, bob));
        assert_eq!(store.stats().merges, [0, 0]);
    });
}

#[test]
fn a_device_joins_at_most_so_many_people() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        let mails = ["a@x.org", "b@x.org", "c@x.org", "d@x.org"];
        for (n, mail) in mails.into_iter().enumerate() {
            buys(&store, &[(EMAIL, mail)], n as u128).await;
        }
        let first = who(&store, EMAIL, mails[0]).await;
        for (n, mail) in mails.into_iter().enumerate().take(3) {
            let receipt = buys(&store, &[(COOKIE, "family"), (EMAIL, mail)], 10 + n as u128).await;
            assert!(receipt.left_out.is_empty() && receipt.customer == Some(first), "{mail}");
        }
        let fourth = buys(&store, &[(COOKIE, "family"), (EMAIL, mails[3])], 20).await;
        assert_eq!(why(&fourth), [(COOKIE, NotLinked::People)]);
        assert_eq!(fourth.customer, Some(who(&store, EMAIL, mails[3]).await));
        // nor does one that nobody had before join
        let fifth = buys(&store, &[(COOKIE, "family"), (EMAIL, "e@x.org")], 21).await;
        assert!(fifth.created);
        assert_eq!(why(&fifth), [(COOKIE, NotLinked::People)]);
        assert_eq!(store.stats().merges_refused[NotLinked::People as usize], 2);
        assert_eq!(purchases(&profile(&store, first).await), 6);
        let count = store.stats().merges;
        drop(store);
        // the count of people is kept
        let store = open(dir.path());
        assert_eq!(count, [2, 0]);
        assert_eq!(
            why(&buys(&store, &[(COOKIE, "family"), (EMAIL, mails[3])], 22).await),
            [(COOKIE, NotLinked::People)]
        );
    });
}

/// People who come as identities that nobody had count like those who were
/// customers before, whatever the kinds.
#[test]
fn a_device_joins_no_more_people_when_they_are_new() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let family: [(IdentityTypeId, &str); 3] = [(EMAIL, "a@x.org"), (CUSTOMER_ID, "b"), (EMAIL, "c@x.org")];
    runtime().block_on(async {
        let first = buys(&store, &[(COOKIE, "family")], 1).await.customer;
        for (n, one) in family.into_iter().enumerate() {
            let receipt = buys(&store, &[(COOKIE, "family"), one], 10 + n as u128).await;
            assert_eq!((receipt.customer, why(&receipt)), (first, vec![]), "{n}");
        }
        let fourth = buys(&store, &[(COOKIE, "family"), (EMAIL, "d@x.org")], 20).await;
        assert!(fourth.created);
        assert_eq!(why(&fourth), [(COOKIE, NotLinked::People)]);
    });
    // with what only the log has, and with what is at rest
    let copied = crashed_copy(&store);
    drop(store);
    for dir in [copied.path(), dir.path()] {
        let store = open(dir);
        runtime().block_on(async {
            let again = buys(&store, &[(COOKIE, "family"), (EMAIL, "d@x.org")], 21).await;
            assert_eq!(why(&again), [(COOKIE, NotLinked::People)]);
            assert_eq!(store.stats().merges, [0, 0]);
        });
    }
}

/// One event cannot join more people than many can.
#[test]
fn people_named_by_one_event_count_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.link_by(linking(3));
    runtime().block_on(async {
        let mails: Vec<String> = (0..8).map(|n| format!("{n}@x.org")).collect();
        for (n, mail) in mails.iter().enumerate() {
            assert!(buys(&store, &[(EMAIL, mail)], n as u128).await.created);
        }
        let all: Vec<_> = mails.iter().map(|mail| (EMAIL, &**mail)).collect();
        let named = buys(&store, &all, 20).await;
        assert_eq!(why(&named), [(EMAIL, NotLinked::People); 5]);
        assert_eq!(store.stats().merges, [2, 0]);
    });
}

/// Who says who they are by several identities at once is one person.
#[test]
fn identities_that_come_together_are_one_person() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.link_by(linking(2));
    runtime().block_on(async {
        let first = buys(&store, &[(COOKIE, "c")], 1).await.customer;
        let login = [(COOKIE, "c"), (CUSTOMER_ID, "ann"), (EMAIL, "ann@x.org"), (EMAIL, "ann@y.org")];
        let known = buys(&store, &login, 2).await;
        assert_eq!((known.customer, why(&known)), (first, vec![]));
        let second = buys(&store, &[(COOKIE, "c"), (EMAIL, "b@x.org"), (EMAIL, "b@y.org")], 3).await;
        assert_eq!((second.customer, why(&second)), (first, vec![]));
        let third = buys(&store, &[(COOKIE, "c"), (EMAIL, "e@x.org")], 4).await;
        assert_eq!(why(&third), [(COOKIE, NotLinked::People)]);
    });
}

#[test]
fn too_many_do_not_become_one_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        let ann = buys(&store, &[(CUSTOMER_ID, "ann")], 0).await.customer;
        let mut refused = 0;
        for n in 1..40_u128 {
            let cookie = format!("c{n}");
            buys(&store, &[(COOKIE, &cookie)], 100 + n).await;
            let both = buys(&store, &[(COOKIE, &cookie), (CUSTOMER_ID, "ann")], 200 + n).await;
            assert_eq!(both.customer, ann);
            refused += both.left_out.len();
        }
        let ann = profile(&store, ann.unwrap()).await;
        assert_eq!(ann.identities.len(), crate::domain::profile::IDENTITIES_MAX);
        assert_eq!(refused, 40 - ann.identities.len());
        assert_eq!(purchases(&ann) as usize, 1 + 39 + ann.identities.len() - 1);
    });
}

/// Everything that tells two states apart.
async fn state(store: &Store, values: &[(IdentityTypeId, &str)]) -> Vec<(CustomerKey, Profile, Vec<Merge>)> {
    let mut all = Vec::new();
    for (kind, value) in values {
        let profile = profile(store, who(store, *kind, value).await).await;
        let merges = store.merges(&profile).await.unwrap().iter().map(|merge| (**merge).clone()).collect();
        all.push((profile.key, profile, merges));
    }
    all
}

#[test]
fn a_merge_and_what_takes_it_back_survive_a_crash() {
    let values = [(CUSTOMER_ID, "ann"), (EMAIL, "ann@x.org"), (COOKIE, "c1"), (PHONE, "+4930")];
    for stored_before in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let runtime = runtime();
        let (ann, mail, merged) = runtime.block_on(async {
            let ann = buys(&store, &[(CUSTOMER_ID, "ann"), (COOKIE, "c1")], 1).await.customer.unwrap();
            let mail = buys(&store, &[(EMAIL, "ann@x.org"), (PHONE, "+4930")], 2).await.customer.unwrap();
            if stored_before {
                stored(&store).await;
            }
            buys(&store, &[(EMAIL, "ann@x.org"), (CUSTOMER_ID, "ann")], 3).await;
            (ann, mail, state(&store, &values).await)
        });
        assert!(merged.iter().all(|one| one.0 == ann && one.2.len() == 1), "{merged:?}");
        let copied = crashed_copy(&store);
        let recovered = open(copied.path());
        runtime.block_on(async {
            assert_eq!(state(&recovered, &values).await, merged);
            if stored_before {
                stored(&recovered).await;
            }
            // the one who was taken in is still found by its key
            assert_eq!(profile(&recovered, mail).await.key, ann);
            let id = merged[0].2[0].id;
            let undone = recovered.undo_merge(ann, (id, NOW.plus_us(10)), "a mistake").await;
            assert_eq!((undone.status, undone.customer), (ReceiptStatus::Recorded, Some(ann)));
        });
        let parted = runtime.block_on(state(&recovered, &values));
        assert_eq!(parted.iter().map(|one| one.0).collect::<Vec<_>>(), [ann, mail, ann, mail]);
        assert_eq!(parted.iter().map(|one| purchases(&one.1)).collect::<Vec<_>>(), [2, 1, 2, 1]);
        assert_eq!((parted[0].2[0].undone, parted[1].1.identities.len()), (Some(NOW.plus_us(10)), 2));
        let copied = crashed_copy(&recovered);
        for _ in 0..2 {
            let again = open(copied.path());
            assert_eq!(runtime.block_on(state(&again, &values)), parted);
            again.close();
        }
    }
}

#[test]
fn who_was_parted_becomes_one_again_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        let ann = buys(&store, &[(CUSTOMER_ID, "ann")], 1).await.customer.unwrap();
        let mail = buys(&store, &[(EMAIL, "x@x.org")], 2).await.customer.unwrap();
        let both = [(EMAIL, "x@x.org"), (CUSTOMER_ID, "ann")];
        buys(&store, &both, 3).await;
        let merge = store.merges(&profile(&store, ann).await).await.unwrap().remove(0);
        assert_eq!(merge.cause, MergeCause::Identified);
        let early = store.undo_merge(ann, (merge.id, merge.at.plus_us(30 * DAY_US + 1)), "").await;
        assert!(matches!(early.status, ReceiptStatus::Refused(why) if why.contains("30 days old")));
        let unknown = store.undo_merge(ann, (MergeId(7), merge.at), "").await;
        assert!(matches!(unknown.status, ReceiptStatus::Refused(why) if why.contains("no merge")));
        assert_eq!(store.undo_merge(ann, (merge.id, merge.at), "wrong").await.status, ReceiptStatus::Recorded);
        let twice = store.undo_merge(ann, (merge.id, merge.at), "wrong").await;
        assert!(matches!(twice.status, ReceiptStatus::Refused(why) if why.contains("taken back before")));

        let apart = buys(&store, &both, 4).await;
        assert_eq!((apart.customer, why(&apart)), (Some(ann), vec![(EMAIL, NotLinked::Parted)]));
        assert_eq!(who(&store, EMAIL, "x@x.org").await, mail);
        // not by way of a third one either
        buys(&store, &[(EMAIL, "y@x.org")], 5).await;
        buys(&store, &[(EMAIL, "y@x.org"), (EMAIL, "x@x.org")], 6).await;
        assert_eq!(
            why(&buys(&store, &[(EMAIL, "y@x.org"), (CUSTOMER_ID, "ann")], 7).await),
            [(EMAIL, NotLinked::Parted)]
        );
        stored(&store).await;
        assert_eq!(why(&buys(&store, &both, 8).await), [(EMAIL, NotLinked::Parted)]);

        let asked = store.merge((ann, mail), (MergeId(8), NOW), "the same person").await;
        assert_eq!((asked.status, asked.customer), (ReceiptStatus::Recorded, Some(ann)));
        let again = store.merge((mail, ann), (MergeId(9), NOW), "").await;
        assert_eq!((again.status, again.customer), (ReceiptStatus::Duplicate, Some(ann)));
        assert!(buys(&store, &both, 9).await.left_out.is_empty());
        assert_eq!(purchases(&profile(&store, mail).await), 9);
        assert_eq!((store.stats().merges, store.stats().merges_undone), ([2, 1], 1));
    });
}

/// Whoever asks for it merges people whom no event would.
#[test]
fn a_later_merge_is_taken_back_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        let mut keys = Vec::new();
        for (n, name) in ["ann", "bob", "cid"].into_iter().enumerate() {
            keys.push(buys(&store, &[(CUSTOMER_ID, name)], 10 - n as u128).await.customer.unwrap());
        }
        // each is older than the one before
        store.merge((keys[0], keys[1]), (MergeId(1), NOW), "").await;
        store.merge((keys[1], keys[2]), (MergeId(2), NOW.plus_us(1)), "").await;
        let all = profile(&store, keys[0]).await;
        assert_eq!((all.key, purchases(&all)), (keys[2], 3));
        let merges: Vec<MergeId> = store.merges(&all).await.unwrap().iter().map(|merge| merge.id).collect();
        assert_eq!(merges, [MergeId(2), MergeId(1)]);
        let first = store.undo_merge(keys[1], (MergeId(1), NOW.plus_us(2)), "").await;
        assert!(matches!(first.status, ReceiptStatus::Refused(why) if why.contains("take that back first")));
        store.undo_merge(keys[2], (MergeId(2), NOW.plus_us(2)), "").await;
        let first = store.undo_merge(keys[1], (MergeId(1), NOW.plus_us(3)), "").await;
        assert_eq!(first.status, ReceiptStatus::Recorded);
        for (key, name) in keys.into_iter().zip(["ann", "bob", "cid"]) {
            assert_eq!(who(&store, CUSTOMER_ID, name).await, key);
            assert_eq!(purchases(&profile(&store, key).await), 1);
        }
    });
}

/// The earlier of two merges of the same survivor: what the later one would give
/// back does not bring it back.
#[test]
fn merges_are_taken_back_in_any_order() {
    for order in [[1, 2], [2, 1]] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        runtime().block_on(async {
            let mut keys = Vec::new();
            for (n, name) in ["ann", "bob", "cid"].into_iter().enumerate() {
                keys.push(buys(&store, &[(CUSTOMER_ID, name)], 1 + n as u128).await.customer.unwrap());
            }
            let before: Vec<Profile> = [profile(&store, keys[0]).await, profile(&store, keys[1]).await].into();
            for n in 1..3 {
                store.merge((keys[0], keys[n]), (MergeId(n as u128), NOW.plus_us(n as i64)), "").await;
            }
            for id in order {
                let undone = store.undo_merge(keys[0], (MergeId(id), NOW.plus_us(9)), "").await;
                assert_eq!(undone.status, ReceiptStatus::Recorded);
            }
            let ann = profile(&store, keys[0]).await;
            assert_eq!(Profile { version: 1, ..ann }, before[0], "{order:?}");
            let bob = profile(&store, keys[1]).await;
            assert_eq!(Profile { version: 1, ..bob }, before[1], "{order:?}");
        });
    }
}

#[test]
fn what_names_the_one_who_was_taken_in_reaches_the_one_who_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    runtime().block_on(async {
        let ann = buys(&store, &[(CUSTOMER_ID, "ann")], 1).await.customer.unwrap();
        let mail = buys(&store, &[(EMAIL, "x@x.org")], 2).await.customer.unwrap();
        // a decision of before, one that was under way meanwhile, and a watcher
        let hot = store.hot(mail).unwrap();
        let version = store.tallies().borrow().version;
        assert!(store.submit_decision(decision(1, Some(std::sync::Arc::clone(&hot)), version)));
        let mut watcher = store.watch(mail).ok().unwrap();
        buys(&store, &[(EMAIL, "x@x.org"), (CUSTOMER_ID, "ann")], 3).await;
        assert_eq!(watcher.next().await.unwrap().events.len(), 1);
        assert!(store.submit_decision(decision(2, Some(hot), version)));
        let seen = |n| {
            let kind = outcome(decision_id(n), Some(mail), OutcomeType::Impression);
            submission(Target::Customer(mail), 100 + n, kind)
        };
        for n in 1..3 {
            let receipt = store.record(vec![seen(n)]).await.remove(0);
            assert_eq!((receipt.status, receipt.customer), (ReceiptStatus::Recorded, Some(ann)));
            assert_eq!(watcher.next().await.unwrap().events.len(), 1);
        }
        assert_eq!(store.record(vec![seen(1)]).await[0].customer, Some(ann));
        assert_eq!(profile(&store, mail).await.interactions.len(), 2);
        // both are replayed with the profile that they read
        for n in 1..3 {
            let stored = store.decision(decision_id(n)).await.unwrap().unwrap();
            assert_eq!(stored.record.customer.unwrap().profile.key, mail);
        }
        let merge = store.merges(&profile(&store, ann).await).await.unwrap().remove(0);
        assert_eq!(store.undo_merge(ann, (merge.id, NOW), "").await.status, ReceiptStatus::Recorded);
        assert!(watcher.next().await.is_some());
        // what followed its decisions went back with it
        assert_eq!(profile(&store, mail).await.key, mail);
        buys(&store, &[(EMAIL, "x@x.org")], 9).await;
        assert_eq!(watcher.next().await.unwrap().events.len(), 1);
        drop(watcher);
        assert_eq!(store.stats().watchers, 0);
    });
    // after a restart the records under the old key are still read
    drop(store);
    let store = open(dir.path());
    runtime().block_on(async {
        let stored = store.decision(decision_id(2)).await.unwrap().unwrap();
        assert!(stored.record.customer.is_some());
    });
}
