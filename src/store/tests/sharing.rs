//! Identities that several customers hold, and who watches customers.

use super::support::*;
use crate::domain::*;
use crate::store::*;

const NUMBER: &str = "+447700900123";

fn phone(store: &Store) -> Identity {
    identity(store, PHONE, NUMBER)
}

/// Records a purchase of who has the phone and, unless empty, a customer id.
async fn call(store: &Store, name: &str, id: u128) -> Receipt {
    let own = (!name.is_empty()).then(|| identity(store, CUSTOMER_ID, name));
    // the shared one first: it must not name the customer
    let target = Target::Identities([phone(store)].into_iter().chain(own).collect());
    store.record(vec![submission(target, id, purchase(100))]).await.remove(0)
}

async fn is_shared_by(store: &Store, keys: &[CustomerKey]) {
    let number = phone(store);
    assert_eq!(store.holders(&number).await.unwrap(), keys);
    let wanted = match keys {
        [] => Resolved::Unknown,
        [key] => Resolved::Known(*key),
        _ => Resolved::Ambiguous,
    };
    assert_eq!(store.resolve(std::slice::from_ref(&number)).await.unwrap(), wanted);
    assert_eq!(store.resolve_hot(std::slice::from_ref(&number)), wanted);
    for key in keys {
        assert!(store.profile(*key).await.unwrap().unwrap().profile.identities.iter().any(|i| i.kind == PHONE));
    }
}

#[test]
fn two_people_share_a_phone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        is_shared_by(&store, &[]).await;
        let ann = call(&store, "ann", 1).await;
        is_shared_by(&store, &[ann.customer.unwrap()]).await;
        // it alone names whom it names alone
        let alone = call(&store, "", 2).await;
        assert_eq!((alone.status, alone.customer, alone.created), (ReceiptStatus::Recorded, ann.customer, false));
        let bob = call(&store, "bob", 3).await;
        assert!(bob.created && bob.customer != ann.customer, "{bob:?}");
        let keys = [ann.customer.unwrap(), bob.customer.unwrap()];
        is_shared_by(&store, &keys).await;

        let refused = call(&store, "", 4).await;
        assert!(
            matches!(&refused.status, ReceiptStatus::Refused(why) if why.contains("`2` customers share")),
            "{refused:?}"
        );
        // what was recorded when it named one is still known
        assert_eq!(call(&store, "", 2).await.status, ReceiptStatus::Duplicate);
        assert_eq!(call(&store, "bob", 5).await.customer, bob.customer);
        let both = [phone(&store), identity(&store, CUSTOMER_ID, "ann")];
        assert_eq!(store.resolve_hot(&both), Resolved::Known(keys[0]));
        let (mail, new) = (identity(&store, EMAIL, "new@example.org"), phone(&store));
        assert_eq!(store.resolve(&[new, mail]).await.unwrap(), Resolved::Unknown);
    });
}

#[test]
fn a_phone_alone_makes_the_customer_who_says_next_who_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let keys = runtime.block_on(async {
        let caller = call(&store, "", 1).await;
        assert!(caller.created);
        let ann = call(&store, "ann", 2).await;
        assert_eq!((ann.status, ann.customer, ann.created), (ReceiptStatus::Recorded, caller.customer, false));
        assert_eq!(call(&store, "ann", 2).await.status, ReceiptStatus::Duplicate);
        let profile = store.hot(caller.customer.unwrap()).unwrap();
        assert_eq!(profile.profile.identities.len(), 2);
        // the next one to share it is somebody else, and so is one in the same group
        let bob = call(&store, "bob", 5).await;
        assert!(bob.created && bob.customer != caller.customer);
        let alone = |id| submission(Target::Identities(vec![identity(&store, PHONE, "+4931")]), id, purchase(1));
        let mail = |id| {
            let target = vec![identity(&store, PHONE, "+4931"), identity(&store, EMAIL, "cid@shop.example.org")];
            submission(Target::Identities(target), id, purchase(1))
        };
        let receipts = store.record(vec![alone(6), mail(7), alone(8)]).await;
        assert!(receipts.iter().all(|r| r.customer == receipts[0].customer), "{receipts:?}");
        // both in one group of the writer
        let of = |name: &str, id| {
            let target =
                Target::Identities(vec![identity(&store, CUSTOMER_ID, name), identity(&store, PHONE, "+4930")]);
            submission(target, id, purchase(1))
        };
        let receipts = store.record(vec![of("cid", 3), of("dan", 4)]).await;
        assert!(receipts.iter().all(|r| r.created) && receipts[0].customer != receipts[1].customer);
        let keys = [caller.customer.unwrap(), bob.customer.unwrap()];
        is_shared_by(&store, &keys).await;
        keys
    });
    let copied = crashed_copy(&store);
    let recovered = Store::open(config(copied.path())).unwrap();
    runtime.block_on(async {
        is_shared_by(&recovered, &keys).await;
        let ann = identity(&recovered, CUSTOMER_ID, "ann");
        assert_eq!(recovered.resolve(&[ann]).await.unwrap(), Resolved::Known(keys[0]));
        assert_eq!(call(&recovered, "ann", 9).await.customer, Some(keys[0]));
        assert_eq!(call(&recovered, "ann", 2).await.status, ReceiptStatus::Duplicate);
    });
}

/// Whoever comes first, it is one customer with the same history.
#[test]
fn a_caller_who_is_named_is_one_customer_in_either_order() {
    let runtime = runtime();
    let history = |order: [(&str, u128); 3]| {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(config(dir.path())).unwrap();
        runtime.block_on(async {
            let mut keys = Vec::new();
            for (name, id) in order {
                keys.push(call(&store, name, id).await.customer.unwrap());
            }
            assert!(keys.iter().all(|key| *key == keys[0]));
            let hot = store.profile(keys[0]).await.unwrap().unwrap();
            let mut kinds: Vec<_> = hot.profile.identities.iter().map(|i| i.kind).collect();
            kinds.sort_unstable();
            (kinds, hot.profile.stats.len(), hot.profile.version)
        })
    };
    let first = history([("", 1), ("ann", 2), ("", 3)]);
    for order in [[("", 1), ("", 3), ("ann", 2)], [("ann", 2), ("", 1), ("", 3)]] {
        assert_eq!(history(order), first);
    }
}

#[test]
fn sharing_survives_a_crash_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let runtime = runtime();
    let mut keys = Vec::new();
    runtime.block_on(async {
        for (n, name) in ["ann", "bob", "cid", "dan"].into_iter().enumerate() {
            keys.push(call(&store, name, n as u128 + 1).await.customer.unwrap());
            if n == 1 {
                // two come from the embedded store afterwards, two from the log
                stored(&store).await;
            }
        }
        is_shared_by(&store, &keys).await;
    });
    let copied = crashed_copy(&store);
    for _ in 0..2 {
        let recovered = Store::open(config(copied.path())).unwrap();
        runtime.block_on(is_shared_by(&recovered, &keys));
        runtime.block_on(async {
            assert_eq!(call(&recovered, "ann", 1).await.status, ReceiptStatus::Duplicate);
            assert_eq!(call(&recovered, "ann", 9).await.customer, Some(keys[0]));
        });
        recovered.close();
    }
}

/// The first holder is the one a directory from before sharing has; a type that
/// is declared otherwise keeps everybody.
#[test]
fn a_type_may_be_declared_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let unique = |store: &Store| Identity { sharing: Sharing::Unique, ..phone(store) };
    let store = super::merging::open(dir.path());
    let keys = runtime.block_on(async {
        let target = Target::Identities(vec![identity(&store, CUSTOMER_ID, "ann"), unique(&store)]);
        let ann = store.record(vec![submission(target, 1, purchase(1))]).await[0].customer.unwrap();
        let target = Target::Identities(vec![identity(&store, CUSTOMER_ID, "bob")]);
        store.record(vec![submission(target, 2, purchase(1))]).await;
        let target = Target::Identities(vec![identity(&store, CUSTOMER_ID, "bob"), unique(&store)]);
        let bobs = store.record(vec![submission(target, 3, purchase(1))]).await.remove(0);
        assert!(bobs.customer != Some(ann) && bobs.left_out.len() == 1);
        let bob = call(&store, "bob", 4).await.customer.unwrap();
        vec![ann, bob]
    });
    store.close();
    drop(store);
    let store = Store::open(config(dir.path())).unwrap();
    runtime.block_on(async {
        is_shared_by(&store, &keys).await;
        // unique again: it names nobody alone, and changes nothing
        assert_eq!(store.resolve(&[unique(&store)]).await.unwrap(), Resolved::Ambiguous);
        let both = [unique(&store), identity(&store, CUSTOMER_ID, "bob")];
        assert_eq!(store.resolve(&both).await.unwrap(), Resolved::Known(keys[1]));
        let written = store.record(vec![submission(Target::Identities(both.to_vec()), 5, purchase(1))]).await.remove(0);
        assert_eq!((written.status, written.customer), (ReceiptStatus::Recorded, Some(keys[1])));
        is_shared_by(&store, &keys).await;
    });
}

#[test]
fn holders_are_bounded_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        for n in 0..HOLDERS_MAX + 2 {
            assert_eq!(call(&store, &format!("c{n}"), n as u128 + 1).await.status, ReceiptStatus::Recorded);
        }
        assert_eq!(store.holders(&phone(&store)).await.unwrap().len(), HOLDERS_MAX);
        assert_eq!(store.stats().holders_dropped, 2);
        // it stays in the profile of who is not listed, once
        let last = call(&store, &format!("c{}", HOLDERS_MAX + 1), 1_000).await.customer.unwrap();
        assert_eq!(store.hot(last).unwrap().profile.identities.len(), 2);
        assert_eq!(store.stats().holders_dropped, 2);
    });
}

#[test]
fn a_search_of_before_a_further_holder_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let ann = call(&store, "ann", 1).await.customer.unwrap();
        let (aliases, hash) = (identity::Aliases::new(), phone(&store).hash);
        let old = holders::Holders::One(ann);
        let ticket = aliases.ticket();
        aliases.give(hash, old.with(CustomerKey(7)).unwrap());
        aliases.found(hash, Some(old.clone()), ticket);
        assert_eq!(aliases.get(hash).unwrap().unwrap().all().len(), 2);
        // nor when the newer one was evicted meanwhile
        let other = identity::Aliases::new();
        let ticket = other.ticket();
        other.give(IdentityHash(1), old.with(CustomerKey(7)).unwrap());
        other.found(hash, Some(old.clone()), ticket);
        assert_eq!(other.get(hash), None);
        other.found(hash, Some(old.clone()), other.ticket());
        assert_eq!(other.get(hash), Some(Some(old)));
    });
}

#[test]
fn who_watches_is_told_what_was_written_and_reads_nothing_older() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    runtime().block_on(async {
        let ann = buy(&store, "ann", 1).await.customer.unwrap();
        let mut watcher = store.watch(ann).ok().unwrap();
        assert_eq!(store.stats().watchers, 1);
        for n in 2..50_u128 {
            buy(&store, "bob", 1_000 + n).await;
            let receipt = buy(&store, "ann", n).await;
            let told = watcher.next().await.unwrap();
            assert_eq!(told.events.iter().map(|e| e.id.0).collect::<Vec<_>>(), [n]);
            assert!(!told.missed && store.hot(ann).unwrap().profile.version >= receipt.version);
        }
        store.end_watches();
        assert!(watcher.next().await.is_none() && store.watch(ann).err() == Some(NoWatch::Ending));
        drop(watcher);
        assert_eq!(store.stats().watchers, 0);
    });
}
