//! Many random merges against a slow and obvious model, and claims under way
//! during merges.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::{merging, support::*};
use crate::domain::{profile::IDENTITIES_MAX, time::SECOND_US, *};
use crate::store::{ledger::ReadAgain, *};

/// Merges of a run, unless `RANDOM_MERGES` says otherwise; 10,000 in full.
const MERGES: usize = 1_500;
/// Submissions sent together.
const BATCH: usize = 64;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// A person as the model has one: the people who are one by now.
#[derive(Clone, Debug, Default, PartialEq)]
struct Person {
    /// Who they were, by number.
    members: Vec<usize>,
    /// (first seen, key) of each: the least lives on.
    seen: Vec<(Timestamp, CustomerKey)>,
    events: u64,
    amount: i64,
    /// Decisions that were seen.
    seen_decisions: u64,
    reserved: usize,
}

struct Model {
    /// Where each of them is.
    of: Vec<usize>,
    people: BTreeMap<usize, Person>,
}

impl Model {
    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of[a], self.of[b]);
        if a == b {
            return;
        }
        let other = self.people.remove(&b).unwrap();
        other.members.iter().for_each(|member| self.of[*member] = a);
        let one = self.people.get_mut(&a).unwrap();
        one.members.extend(other.members);
        one.seen.extend(other.seen);
        one.events += other.events;
        one.amount += other.amount;
        one.seen_decisions += other.seen_decisions;
        one.reserved += other.reserved;
    }

    fn person(&mut self, member: usize) -> &mut Person {
        self.people.get_mut(&self.of[member]).unwrap()
    }
}

fn mail(store: &Store, n: usize) -> Identity {
    identity(store, EMAIL, &format!("m{n}@x.org"))
}

fn until() -> Timestamp {
    NOW.plus_us(100_000 * SECOND_US)
}

fn reserve(store: &Store, key: CustomerKey, n: u128) {
    let one = Reservation {
        record: Default::default(),
        decision: decision_id(n),
        offer: OFFER,
        channel: CHANNEL,
        at: NOW,
        expires_at: until(),
    };
    store.ledger().claim(key, NOW, |_| (vec![one], ()));
}

/// Holds the store against the model.
async fn compare(store: &Store, model: &Model, (sent, with_ledger): (u64, bool)) {
    let mut events = 0;
    for person in model.people.values() {
        let (_, survivor) = person.seen.iter().min().unwrap();
        for member in &person.members {
            assert_eq!(store.resolve(&[mail(store, *member)]).await.unwrap(), Resolved::Known(*survivor));
        }
        for (_, key) in &person.seen {
            let hot = store.profile(*key).await.unwrap().unwrap();
            let profile = &hot.profile;
            assert_eq!((profile.key, profile.arm_key), (*survivor, ArmKey(survivor.0)));
            let stat = profile.stat(EventTypeId(3)).unwrap();
            assert_eq!((stat.count, stat.amount), (person.events, person.amount));
            assert_eq!(profile.interactions.len() as u64, person.seen_decisions.min(100));
            assert_eq!(profile.version, person.events + person.seen_decisions);
            assert_eq!(profile.absorbed.len() + 1, person.seen.len());
            let mut held = Vec::new();
            store.ledger().reservations(*key, NOW, &mut held);
            assert!(!with_ledger || held.len() == person.reserved.min(256), "{} {}", held.len(), person.reserved);
        }
        let hot = store.profile(*survivor).await.unwrap().unwrap();
        events += hot.profile.stat(EventTypeId(3)).map_or(0, |stat| stat.count);
    }
    assert_eq!(events, sent);
}

#[test]
fn random_merges_flip_no_arm_and_lose_nothing() {
    let merges: usize = std::env::var("RANDOM_MERGES").ok().and_then(|n| n.parse().ok()).unwrap_or(MERGES);
    let people = merges + merges / 8;
    let dir = tempfile::tempdir().unwrap();
    let store = merging::open(dir.path());
    store.link_by(merging::linking(u16::MAX));
    let runtime = runtime();
    let (model, sent) = runtime.block_on(random_run(&store, (people, merges)));
    runtime.block_on(compare(&store, &model, (sent, true)));
    assert_eq!(store.stats().merges, [merges as u64, 0]);
    assert_eq!(store.stats().merges_refused, [0; 7]);
    let copied = crashed_copy(&store);
    drop(store);
    let recovered = merging::open(copied.path());
    runtime.block_on(compare(&recovered, &model, (sent, false)));
}

async fn random_run(store: &Store, (people, merges): (usize, usize)) -> (Model, u64) {
    let mut random = Random(7);
    let mut id = 0_u128;
    let mut next = |store: &Store, members: &[usize]| {
        id += 1;
        let target = Target::Identities(members.iter().map(|n| mail(store, *n)).collect());
        let mut next = submission(target, id, purchase(id as i64 % 1_000));
        // after everybody was first seen
        next.event.at = NOW.plus_us(2_000_000 + id as i64);
        next
    };
    let mut model = Model { of: (0..people).collect(), people: BTreeMap::new() };
    let mut keys = Vec::with_capacity(people);
    // everybody by themselves, in an order that is not that of their age
    let mut batch: Vec<Submission> = (0..people).map(|n| next(store, &[n])).collect();
    for submission in &mut batch {
        submission.event.at = NOW.plus_us(random.below(1_000_000) as i64);
    }
    for (n, submission) in batch.into_iter().enumerate() {
        let (at, amount) = (submission.event.at, (n as i64 + 1) % 1_000);
        let receipt = store.record(vec![submission]).await.remove(0);
        let key = receipt.customer.unwrap();
        keys.push(key);
        let person =
            Person { members: vec![n], seen: vec![(at, key)], events: 1, amount, seen_decisions: 0, reserved: 0 };
        model.people.insert(n, person);
    }
    let (mut done, mut outcomes, mut batch) = (0, 10_000_000, Vec::new());
    while done < merges {
        let (a, b) = (random.below(people), random.below(people));
        let fits = model.person(a).members.len() + model.person(b).members.len() <= IDENTITIES_MAX;
        if model.of[a] != model.of[b] && fits {
            done += 1;
            batch.push(next(store, &[a, b]));
            let amount = batch.last().map_or(0, |one| one.content as i64 % 1_000);
            model.unite(a, b);
            let person = model.person(a);
            person.events += 1;
            person.amount += amount;
        }
        // events of one, outcomes and reservations by the key of long ago
        let c = random.below(people);
        batch.push(next(store, &[c]));
        let amount = batch.last().map_or(0, |one| one.content as i64 % 1_000);
        let person = model.person(c);
        person.events += 1;
        person.amount += amount;
        if random.below(4) == 0 {
            outcomes += 1;
            let n = outcomes;
            let kind = outcome(decision_id(n), Some(keys[c]), OutcomeType::Impression);
            batch.push(submission(Target::Customer(keys[c]), n, kind));
            model.person(c).seen_decisions += 1;
            reserve(store, keys[c], n);
            model.person(c).reserved += 1;
        }
        if batch.len() >= BATCH || done == merges {
            for receipt in store.record(std::mem::take(&mut batch)).await {
                assert_eq!((receipt.status, receipt.left_out), (ReceiptStatus::Recorded, Vec::new()));
            }
        }
    }
    (model, id as u64)
}

/// Who claims while a merge comes in between is sent to the one who lives on,
/// and sees what both hold: nothing is granted beyond the cap, nothing lost.
#[test]
fn claims_during_a_merge_count_for_both() {
    const CAP: usize = 40;
    for round in 0..20_u128 {
        let ledger = Ledger::default();
        // in one shard, in two, and in two the other way round
        let (absorbed, survivor) =
            (CustomerKey(1 + round), CustomerKey([1 + round + 64, 2 + round, 0][round as usize % 3]));
        let merged = AtomicBool::new(false);
        let granted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_u128 {
                let (ledger, granted, merged) = (&ledger, &granted, &merged);
                scope.spawn(move || {
                    let (mut key, mut version) = (if thread % 2 == 0 { absorbed } else { survivor }, 1);
                    for n in 0..60 {
                        if thread == 0 && n == 4 {
                            ledger.unite(absorbed, (survivor, 2));
                            merged.store(true, Relaxed);
                        }
                        // before the merge both together are under the cap
                        while n >= 8 && !merged.load(Relaxed) {
                            std::thread::yield_now();
                        }
                        let one = Reservation {
                            record: Default::default(),
                            decision: decision_id(thread * 1_000 + n),
                            offer: OFFER,
                            channel: CHANNEL,
                            at: NOW,
                            expires_at: until(),
                        };
                        loop {
                            let after = merged.load(Relaxed);
                            let claimed = ledger.claim_by((key, version), NOW, |live| {
                                if live.len() < CAP { (vec![one], true) } else { (Vec::new(), false) }
                            });
                            match claimed {
                                Ok(got) => {
                                    assert!(!after || version == 2, "a profile of before the merge was believed");
                                    granted.fetch_add(u64::from(got), Relaxed);
                                    break;
                                }
                                Err(ReadAgain(live)) => (key, version) = (live, 2),
                            }
                        }
                    }
                });
            }
        });
        let mut held = Vec::new();
        ledger.reservations(absorbed, NOW, &mut held);
        assert_eq!((held.len(), held.len() as u64), (CAP, granted.load(Relaxed)), "round {round}");
    }
}
