//! Merges of the same people taken back, one by one, and what is left of them.

use super::{
    merging::{self, COOKIE},
    support::*,
};
use crate::domain::*;
use crate::store::*;

const NAMES: [&str; 4] = ["ann", "bob", "cid", "dan"];

/// Four customers; each is older than the next.
async fn people(store: &Store, further: &[&[(IdentityTypeId, &str)]]) -> Vec<CustomerKey> {
    let mut keys = Vec::new();
    for (n, name) in NAMES.into_iter().enumerate() {
        let mut identities = vec![identity(store, CUSTOMER_ID, name)];
        let more = further.get(n).into_iter().copied().flatten();
        identities.extend(more.map(|(kind, value)| identity(store, *kind, value)));
        let bought = submission(Target::Identities(identities), 1 + n as u128, purchase(100));
        keys.push(store.record(vec![bought]).await[0].customer.unwrap());
    }
    keys
}

fn says(channel: Option<ChannelId>, permission: Permission, at: Timestamp) -> EventKind {
    let consent = Consent {
        channel,
        purpose: ConsentPurpose::Marketing,
        permission,
        at,
        source: "form".into(),
        proof: "v1".into(),
    };
    let (attributes, preferences, records) = Default::default();
    EventKind::Upsert { attributes, consents: vec![consent], preferences, records }
}

async fn send(store: &Store, key: CustomerKey, (id, kind): (u128, EventKind)) {
    let receipt = store.record(vec![submission(Target::Customer(key), id, kind)]).await.remove(0);
    assert_eq!(receipt.status, ReceiptStatus::Recorded);
}

async fn merge(store: &Store, (a, b): (CustomerKey, CustomerKey), id: u128) {
    let receipt = store.merge((a, b), (MergeId(id), NOW.plus_us(100 + id as i64)), "one").await;
    assert_eq!((receipt.status, receipt.customer), (ReceiptStatus::Recorded, Some(a)));
}

async fn undo(store: &Store, survivor: CustomerKey, id: u128) {
    let receipt = store.undo_merge(survivor, (MergeId(id), NOW.plus_us(1_000)), "two").await;
    assert_eq!(receipt.status, ReceiptStatus::Recorded);
}

async fn profile(store: &Store, key: CustomerKey) -> Profile {
    store.profile(key).await.unwrap().unwrap().profile.clone()
}

async fn holders(store: &Store, value: &str) -> Vec<CustomerKey> {
    let mut held = store.holders(&identity(store, PHONE, value)).await.unwrap();
    held.sort();
    held
}

/// What is kept of merges, as the embedded store has it.
async fn kept(store: &Store, keys: &[CustomerKey]) -> Vec<Merge> {
    stored(store).await;
    let kept = store.shared.embedded.merges(keys).unwrap();
    assert_eq!(store.shared.embedded.merge_rows().unwrap(), [kept.len() as u64; 3]);
    kept
}

/// What a later merge brought is not lost with the one that is taken back.
#[test]
fn what_others_said_who_are_still_one_stands() {
    let dir = tempfile::tempdir().unwrap();
    let store = merging::open(dir.path());
    let marketing = |profile: &Profile| profile.permission(None, ConsentPurpose::Marketing);
    let (left, key) = runtime().block_on(async {
        let keys = people(&store, &[]).await;
        for (n, (permission, at)) in
            [(Permission::Granted, 1), (Permission::Denied, 5), (Permission::Denied, 3)].into_iter().enumerate()
        {
            send(&store, keys[n], (10 + n as u128, says(None, permission, NOW.plus_us(at)))).await;
        }
        for (id, key) in [(21, keys[1]), (22, keys[2])] {
            send(&store, key, (id, EventKind::DoNotContact { on: true, reason: "".into() })).await;
        }
        merge(&store, (keys[0], keys[1]), 1).await;
        merge(&store, (keys[0], keys[2]), 2).await;
        undo(&store, keys[0], 1).await;
        let left = profile(&store, keys[0]).await;
        assert_eq!((marketing(&left), left.consents[0].at), (Permission::Denied, NOW.plus_us(3)));
        assert!(left.do_not_contact.is_some() && left.identities.len() == 2);
        (left, keys[0])
    });
    let copied = crashed_copy(&store);
    let recovered = merging::open(copied.path());
    runtime().block_on(async {
        assert_eq!(profile(&recovered, key).await, left);
        undo(&recovered, key, 2).await;
        let alone = profile(&recovered, key).await;
        assert_eq!((marketing(&alone), alone.do_not_contact), (Permission::Granted, None));
    });
}

#[test]
fn who_shares_an_identity_holds_it_after_every_undo() {
    for order in [[1, 2], [2, 1]] {
        let dir = tempfile::tempdir().unwrap();
        let store = merging::open(dir.path());
        runtime().block_on(async {
            let phone: &[(IdentityTypeId, &str)] = &[(PHONE, "+4930")];
            let keys = people(&store, &[&[], phone, phone]).await;
            merge(&store, (keys[0], keys[1]), 1).await;
            merge(&store, (keys[0], keys[2]), 2).await;
            assert_eq!(holders(&store, "+4930").await, [keys[0]]);
            undo(&store, keys[0], order[0]).await;
            let mut both = [keys[0], keys[order[0] as usize]];
            both.sort();
            assert_eq!(holders(&store, "+4930").await, both, "{order:?}");
            assert_eq!(profile(&store, keys[0]).await.identities.len(), 3);
            undo(&store, keys[0], order[1]).await;
            let mut both = [keys[1], keys[2]];
            both.sort();
            assert_eq!(holders(&store, "+4930").await, both, "{order:?}");
            assert_eq!(profile(&store, keys[0]).await.identities.len(), 1);
            for key in &keys[1..3] {
                assert_eq!(profile(&store, *key).await.identities.len(), 2);
            }
        });
    }
}

#[test]
fn contacts_of_since_and_tokens_hold_for_both() {
    let dir = tempfile::tempdir().unwrap();
    let store = merging::open(dir.path());
    runtime().block_on(async {
        let keys = people(&store, &[]).await;
        merge(&store, (keys[0], keys[1]), 1).await;
        send(&store, keys[1], (50, outcome(decision_id(1), Some(keys[1]), OutcomeType::Impression))).await;
        send(&store, keys[0], (51, outcome(decision_id(1), Some(keys[0]), OutcomeType::Decline))).await;
        let merged = profile(&store, keys[0]).await;
        assert_eq!(merged.interactions.len(), 1);
        undo(&store, keys[0], 1).await;
        for key in &keys[..2] {
            let one = profile(&store, *key).await;
            assert_eq!(one.interactions, merged.interactions);
            assert_eq!(one.version, merged.version);
        }
        // one again: neither goes back
        merge(&store, (keys[0], keys[1]), 2).await;
        let again = profile(&store, keys[0]).await;
        assert_eq!(again.interactions, merged.interactions);
        assert!(again.version >= merged.version);
        let bought = again.stat(EventTypeId(3)).unwrap();
        assert_eq!(bought.count, 2);
    });
}

/// A merge that was taken back keeps nothing of the two but that it was.
#[test]
fn what_was_taken_back_keeps_nobody_s_data() {
    let dir = tempfile::tempdir().unwrap();
    let store = merging::open(dir.path());
    runtime().block_on(async {
        let keys = people(&store, &[&[], &[(COOKIE, "b")]]).await;
        // the later one first: it had the earlier one's data on the side of the survivor
        merge(&store, (keys[0], keys[1]), 1).await;
        merge(&store, (keys[0], keys[2]), 2).await;
        undo(&store, keys[0], 2).await;
        undo(&store, keys[0], 1).await;
        // by way of an older one
        merge(&store, (keys[1], keys[3]), 3).await;
        merge(&store, (keys[0], keys[1]), 4).await;
        undo(&store, keys[0], 4).await;
        undo(&store, keys[1], 3).await;
        let all = kept(&store, &keys).await;
        assert_eq!(all.len(), 4);
        for one in all {
            assert!(one.undone.is_some() && one.joined.is_empty(), "{one:?}");
            for side in [&one.survivor, &one.absorbed] {
                assert_eq!(*side, Profile { key: side.key, ..Profile::default() });
            }
        }
        let bob = NewErasure { id: 7, at: NOW.plus_us(9_000), reason: "asked for".into(), customer: keys[1] };
        assert_eq!(store.erase(bob).await.unwrap().unwrap().customers, [keys[1]]);
        let left: Vec<MergeId> = kept(&store, &keys).await.iter().map(|one| one.id).collect();
        assert_eq!(left, [MergeId(2)], "whoever lived on, and whoever is erased");
    });
}

/// The merge was stored, and neither the undo nor the erasure was when both came.
#[test]
fn an_undo_and_an_erasure_at_once_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = merging::open(dir.path());
    runtime().block_on(async {
        let keys = people(&store, &[]).await;
        merge(&store, (keys[0], keys[1]), 1).await;
        merge(&store, (keys[0], keys[2]), 2).await;
        assert_eq!(kept(&store, &keys).await.len(), 2);
        undo(&store, keys[0], 1).await;
        let bob = NewErasure { id: 7, at: NOW.plus_us(9_000), reason: "asked for".into(), customer: keys[1] };
        assert_eq!(store.erase(bob).await.unwrap().unwrap().customers, [keys[1]]);
        let left = kept(&store, &keys).await;
        assert_eq!(left.iter().map(|one| one.id).collect::<Vec<_>>(), [MergeId(2)]);
        let ann = identity(&store, CUSTOMER_ID, NAMES[0]);
        assert_eq!(left[0].survivor.identities.len(), 1, "what the later one gives back has nothing of bob");
        assert_eq!(&*left[0].survivor.identities[0].value, &*ann.value);
        assert!(!store.shared.parted(keys[0], keys[1]).unwrap());
        // it can neither be listed nor taken back
        assert_eq!(store.merges(&profile(&store, keys[0]).await).await.unwrap().len(), 1);
        let again = store.undo_merge(keys[0], (MergeId(1), NOW.plus_us(10_000)), "").await;
        assert!(matches!(again.status, ReceiptStatus::Refused(why) if why.contains("no merge")));
    });
}

/// What is cancelled together with the merge that moves it holds no place.
#[test]
fn a_cancel_with_its_merge_releases() {
    let dir = tempfile::tempdir().unwrap();
    let store = merging::open(dir.path());
    runtime().block_on(async {
        let keys = people(&store, &[]).await;
        let visitor = submission(Target::Identities(vec![identity(&store, COOKIE, "c")]), 20, purchase(1));
        let visitor = store.record(vec![visitor]).await[0].customer.unwrap();
        for n in 1..3 {
            let until = NOW.plus_us(3_600_000_000);
            let held = Reservation {
                decision: decision_id(n),
                offer: OFFER,
                channel: CHANNEL,
                record: RecordRef::default(),
                at: NOW,
                expires_at: until,
            };
            store.ledger().claim(visitor, NOW, |_| (vec![held], ()));
        }
        let both = vec![identity(&store, COOKIE, "c"), identity(&store, CUSTOMER_ID, NAMES[0])];
        let cancelled = outcome(decision_id(1), Some(visitor), OutcomeType::Cancelled);
        let together = vec![
            submission(Target::Identities(both), 30, purchase(1)),
            submission(Target::Customer(visitor), 31, cancelled),
        ];
        for receipt in store.record(together).await {
            assert_eq!((receipt.status, receipt.customer), (ReceiptStatus::Recorded, Some(keys[0])));
        }
        let mut left = Vec::new();
        store.ledger().reservations(keys[0], NOW, &mut left);
        assert_eq!(left.iter().map(|one| one.decision).collect::<Vec<_>>(), [decision_id(2)]);
    });
}
