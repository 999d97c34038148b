//! One submission: whose it is, whether it is new, and its place in the log.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{
    CustomerKey, Event, EventKind, IdentityHash, MergeId, Sharing, StoredIdentity, Timestamp, profile::IDENTITIES_MAX,
};

use super::{
    LeftOut, MergeCause, NotLinked, Receipt, ReceiptStatus, StoreError, Submission, Target,
    appender::Appender,
    group::Group,
    holders::{self, Holders},
    linking,
    merge::{self, Union},
    replicas,
    seal::DataKey,
    shared::Shared,
    whose::{self, Named, Plan, PlannedMerge},
};

/// Most erasures of one person that are looked for.
const ERASURES_MAX: u32 = 64;

/// Why a submission is not stored.
pub(super) enum Refusal {
    /// It was stored before.
    Known { owner: Option<CustomerKey>, conflict: bool },
    /// It cannot be stored.
    Wrong(String),
    /// It cannot be stored now.
    Later,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            // what the system refuses now it may take later
            StoreError::Io { .. } | StoreError::Full { .. } | StoreError::Closed => Refusal::Later,
            StoreError::Corrupt(_) | StoreError::Settings(_) => Refusal::Wrong(format!("storing the event: {error}")),
        }
    }
}

/// Whose a submission is.
struct Owner {
    key: Option<CustomerKey>,
    /// Identities that become the customer's, with their hashes.
    new: Vec<(IdentityHash, StoredIdentity)>,
    created: bool,
    /// Who becomes one with the customer before.
    merges: Vec<PlannedMerge>,
    left_out: Vec<LeftOut>,
    /// The devices by which alone one more person becomes the customer's.
    joined_by: Vec<IdentityHash>,
}

impl Owner {
    fn nobody() -> Self {
        let (new, merges, left_out) = (Vec::new(), Vec::new(), Vec::new());
        Self { key: None, new, created: false, merges, left_out, joined_by: Vec::new() }
    }
}

/// A submission that was stored.
struct Done {
    customer: Option<CustomerKey>,
    created: bool,
    left_out: Vec<LeftOut>,
}

/// Appends one submission to the log and applies it to the group.
pub(super) fn submit(shared: &Shared, log: &mut Appender, group: &mut Group, submission: Submission) -> Receipt {
    match try_submit(shared, log, group, submission) {
        Ok(done) => receipt(shared, group, ReceiptStatus::Recorded, done),
        Err(Refusal::Known { owner, conflict }) => {
            let status = if conflict { ReceiptStatus::Conflict } else { ReceiptStatus::Duplicate };
            receipt(shared, group, status, Done { customer: owner, created: false, left_out: Vec::new() })
        }
        Err(Refusal::Wrong(why)) => Receipt::without(ReceiptStatus::Refused(why)),
        Err(Refusal::Later) => {
            shared.counters.exhausted.fetch_add(1, Relaxed);
            Receipt::without(ReceiptStatus::Exhausted)
        }
    }
}

fn receipt(shared: &Shared, group: &mut Group, status: ReceiptStatus, done: Done) -> Receipt {
    let staged = done.customer.and_then(|key| group.stage(shared, key).ok().flatten());
    let version = staged.map_or(0, |staged| staged.profile.version);
    let Done { customer, created, left_out } = done;
    Receipt { status, customer, version, created, left_out, sequence: 0 }
}

fn try_submit(shared: &Shared, log: &mut Appender, group: &mut Group, submission: Submission) -> Result<Done, Refusal> {
    let Submission { mut target, mut event, content, .. } = submission;
    let of_the_erased = without_the_erased(shared, group, (&mut target, &mut event))?;
    let known = match group.events.get(&event.id) {
        Some((known, _)) => Some(*known),
        None => shared.event(event.id)?,
    };
    if let Some(known) = known {
        let owner = known_owner(shared, group, &target, &event)?;
        // of what was read from another replica's state only the id is known
        return Err(Refusal::Known { owner, conflict: known != content && known != replicas::HELD });
    }
    let Owner { key, new, created, merges, mut left_out, joined_by } = find_owner(shared, group, &target, &event)?;
    left_out.extend(of_the_erased);
    count(shared, &left_out);
    let Some(mut key) = key else {
        log.event(None, &event, content)?;
        settle(group, &event, content);
        group.apply(shared, None, &event)?;
        return Ok(Done { customer: None, created: false, left_out });
    };
    for PlannedMerge { with, joined } in merges {
        let id = merge_id(&event, with);
        let cause = MergeCause::Identified;
        let union = Union { id, at: event.received_at, cause, reason: Box::default(), joined };
        key = merge::merge(shared, log, group, ((key, with), union))?;
    }
    if !joined_by.is_empty() {
        linking::join(shared, log, group, (key, joined_by, event.received_at))?;
    }
    // the identities stand in the event, so that replay gives them again
    event.identities = new.iter().map(|(_, identity)| identity.clone()).collect();
    let joined = joined(shared, group, &new, key)?;
    let data_key = if created { DataKey::generate()? } else { data_key(shared, group, key)? };
    log.event(Some((key, &data_key)), &event, content)?;
    if created {
        group.keys.push((key, data_key.clone()));
        group.create(key, data_key);
    }
    group.aliases.extend(joined);
    settle(group, &event, content);
    group.apply(shared, Some(key), &event)?;
    Ok(Done { customer: Some(key), created, left_out })
}

/// The same event makes the same merge, whatever the order of both.
fn merge_id(event: &Event, with: CustomerKey) -> MergeId {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&event.id.0.to_le_bytes());
    bytes[16..].copy_from_slice(&with.0.to_le_bytes());
    MergeId(xxh3_128(&bytes))
}

fn count(shared: &Shared, left_out: &[LeftOut]) {
    for one in left_out {
        shared.counters.merges_refused[one.why as usize].fetch_add(1, Relaxed);
    }
}

fn settle(group: &mut Group, event: &Event, content: u64) {
    group.records += 1;
    group.events.insert(event.id, (content, event.received_at));
}

fn data_key(shared: &Shared, group: &mut Group, key: CustomerKey) -> Result<DataKey, Refusal> {
    match group.stage(shared, key)? {
        Some(staged) => Ok(staged.data_key.clone()),
        None => Err(Refusal::Wrong("the customer of this token is not known any more: ask again".to_owned())),
    }
}

/// Refuses what happened before somebody whom it names was erased: it would
/// bring back what was to be forgotten. What happens later is of somebody new. An
/// outcome belongs to the moment of its decision. Where the strongest identity
/// names a customer who lives, it is that one's: only what named the erased is
/// left out.
fn without_the_erased(
    shared: &Shared,
    group: &Group,
    (target, event): (&mut Target, &mut Event),
) -> Result<Vec<LeftOut>, Refusal> {
    let refused = || {
        let why = "erased: the customer was erased after this happened; it is not kept, do not send it again";
        Refusal::Wrong(why.to_owned())
    };
    if let Target::Customer(key) = target
        && shared.tombstones.erased(*key).is_some()
    {
        return Err(refused());
    }
    let happened = happened(event);
    if !shared.tombstones.matter(happened) {
        return Ok(Vec::new());
    }
    let is_erased = |hash: IdentityHash| shared.tombstones.of(hash).is_some_and(|tombstone| happened <= tombstone.at);
    let named = whose::identities(shared, target, event);
    let (erased, others): (Vec<_>, Vec<_>) = named.iter().partition(|one| is_erased(one.hash));
    if erased.is_empty() {
        // what only others have as well may have been of who was erased
        let is_spared = |hash: IdentityHash| shared.tombstones.spared(hash).is_some_and(|at| happened <= at);
        let doubtful = others.iter().any(|one| is_spared(one.hash)) && others.iter().all(|one| is_spared(one.hash));
        return if doubtful && !matches!(target, Target::Customer(_)) { Err(refused()) } else { Ok(Vec::new()) };
    }
    if !matches!(target, Target::Customer(_)) && !names_the_living(shared, group, (&named, &others))? {
        return Err(refused());
    }
    if let Target::Identities(identities) = target {
        identities.retain(|one| !is_erased(one.hash));
    }
    event.identities.retain(|one| !is_erased(shared.hasher.identity(one.kind, &one.value)));
    Ok(erased.into_iter().map(|one| LeftOut { kind: one.identity.kind, why: NotLinked::Erased }).collect())
}

/// When an event happened, as far as an erasure is concerned.
fn happened(event: &Event) -> Timestamp {
    match &event.kind {
        EventKind::Outcome { presentation, .. } => {
            let decided = i64::try_from(presentation.decision.unix_ms()).unwrap_or(i64::MAX);
            event.at.min(Timestamp::from_millis(decided))
        }
        _ => event.at,
    }
}

/// Whether the strongest unique identity is of a customer who lives, and not
/// one of the erased.
fn names_the_living(
    shared: &Shared,
    group: &Group,
    (named, others): (&[Named], &[&Named]),
) -> Result<bool, StoreError> {
    let linking = shared.linking.load();
    let unique = named.iter().filter(|one| one.sharing == Sharing::Unique);
    let Some(strongest) = unique.min_by_key(|one| linking.strength(one.identity.kind)) else { return Ok(false) };
    let lives = others.iter().any(|one| one.hash == strongest.hash);
    Ok(lives && group.holders(shared, strongest.hash)?.is_some())
}

/// Who holds each of these identities with the customer beside the others.
fn joined(
    shared: &Shared,
    group: &Group,
    new: &[(IdentityHash, StoredIdentity)],
    key: CustomerKey,
) -> Result<Vec<(IdentityHash, Holders)>, StoreError> {
    let mut joined = Vec::with_capacity(new.len());
    for (hash, _) in new {
        joined.extend(group.joined(shared, *hash, key)?.map(|holders| (*hash, holders)));
    }
    Ok(joined)
}

/// Whose a submission is that was stored before; creates nobody.
fn known_owner(
    shared: &Shared,
    group: &mut Group,
    target: &Target,
    event: &Event,
) -> Result<Option<CustomerKey>, StoreError> {
    if let Target::Customer(key) = target {
        return group.live(shared, *key);
    }
    match plan(shared, group, target, event) {
        Ok(plan) => Ok(plan.customer),
        Err(Refusal::Later) => Err(StoreError::Closed),
        Err(_) => Ok(None),
    }
}

fn plan(shared: &Shared, group: &mut Group, target: &Target, event: &Event) -> Result<Plan, Refusal> {
    let identities = whose::identities(shared, target, event);
    let identities = whose::without_other_visitors(shared, group, identities)?;
    whose::plan(shared, group, identities)
}

fn find_owner(shared: &Shared, group: &mut Group, target: &Target, event: &Event) -> Result<Owner, Refusal> {
    match target {
        Target::Anonymous => match &event.kind {
            EventKind::Outcome { .. } => Ok(Owner::nobody()),
            _ => Err(Refusal::Wrong("an event without a customer must be an outcome: name an identity".to_owned())),
        },
        Target::Customer(key) => by_key(shared, group, *key, (target, event)),
        Target::Identities(_) => {
            let plan = plan(shared, group, target, event)?;
            match plan.customer {
                Some(key) => of_known(shared, group, key, plan),
                None => of_new(shared, plan),
            }
        }
    }
}

/// Of the customer whom a token names.
fn by_key(
    shared: &Shared,
    group: &mut Group,
    key: CustomerKey,
    (target, event): (&Target, &Event),
) -> Result<Owner, Refusal> {
    let Some(key) = group.live(shared, key)? else { return Err(Refusal::Wrong(gone())) };
    let identities = whose::identities(shared, target, event);
    match whose::named(shared, group, &identities)? {
        holders::Named::By(known) if !known.holds(key) => Err(Refusal::Wrong(whose::ambiguous(&identities))),
        holders::Named::Apart => Err(Refusal::Wrong(whose::ambiguous(&identities))),
        _ => of_known(shared, group, key, Plan { customer: Some(key), kept: identities, ..Plan::default() }),
    }
}

fn gone() -> String {
    "the customer is not known any more: send the event by identity".to_owned()
}

fn of_known(shared: &Shared, group: &mut Group, key: CustomerKey, plan: Plan) -> Result<Owner, Refusal> {
    let Plan { merges, kept, left_out, joined_by, .. } = plan;
    let new = new_identities(shared, group, kept, (key, &merges))?;
    let Some(staged) = group.stage(shared, key)? else { return Err(Refusal::Wrong(gone())) };
    let key = staged.profile.key;
    let mut all: BTreeSet<StoredIdentity> = staged.profile.identities.iter().cloned().collect();
    for merge in &merges {
        let other = group.stage(shared, merge.with)?;
        all.extend(other.iter().flat_map(|other| other.profile.identities.iter().cloned()));
    }
    within_bound(all.len() + new.len())?;
    Ok(Owner { key: Some(key), new, created: false, merges, left_out, joined_by })
}

fn of_new(shared: &Shared, plan: Plan) -> Result<Owner, Refusal> {
    let Plan { kept, left_out, .. } = plan;
    // INVARIANT: a shared identity makes the key only of who has no
    // unique one: the next to share it must get another key
    let unique = kept.iter().find(|one| one.sharing == Sharing::Unique);
    let Some(first) = unique.or_else(|| kept.first()) else {
        return Err(Refusal::Wrong("the event names no identity: give at least one".to_owned()));
    };
    within_bound(kept.len())?;
    let key = new_key(shared, first);
    let new = kept.into_iter().map(|one| (one.hash, one.identity)).collect();
    Ok(Owner { key: Some(key), new, created: true, left_out, ..Owner::nobody() })
}

/// The key of somebody new: another one than before an erasure. Of an erasure on
/// another replica only the customer may be known here, and not the identity.
fn new_key(shared: &Shared, first: &Named) -> CustomerKey {
    let (kind, value) = (first.identity.kind, &*first.identity.value);
    let times = shared.tombstones.of(first.hash).map_or(0, |tombstone| tombstone.times);
    let key_after = |times| match times {
        0 => shared.hasher.customer(kind, value),
        times => shared.hasher.customer_again(kind, value, times),
    };
    let lives = |key: &CustomerKey| shared.tombstones.erased(*key).is_none();
    (times..times.saturating_add(ERASURES_MAX)).map(key_after).find(lives).unwrap_or_else(|| key_after(times))
}

/// Those that neither the customer nor who becomes one with it has yet.
fn new_identities(
    shared: &Shared,
    group: &mut Group,
    identities: Vec<Named>,
    (key, merges): (CustomerKey, &[PlannedMerge]),
) -> Result<Vec<(IdentityHash, StoredIdentity)>, StoreError> {
    let keys: Vec<CustomerKey> = merges.iter().map(|merge| merge.with).chain([key]).collect();
    let mut new = Vec::new();
    for one in identities {
        let holders: Option<Holders> = group.holders(shared, one.hash)?;
        let mut held = holders.is_some_and(|holders| keys.iter().any(|key| holders.holds(*key)));
        for key in &keys {
            // of an identity with too many holders only the profile knows
            held |= group.stage(shared, *key)?.is_some_and(|staged| staged.profile.identities.contains(&one.identity));
        }
        if !held {
            new.push((one.hash, one.identity));
        }
    }
    Ok(new)
}

fn within_bound(len: usize) -> Result<(), Refusal> {
    if len > IDENTITIES_MAX {
        return Err(Refusal::Wrong(format!(
            "the customer would have `{len}` identities, at most `{IDENTITIES_MAX}` are kept: send fewer"
        )));
    }
    Ok(())
}
