//! One submission: whose it is, whether it is new, and its place in the log.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use crate::domain::{
    CustomerKey, Event, EventKind, IdentityHash, IdentityTypeId, Sharing, StoredIdentity, profile::IDENTITIES_MAX,
    schema::VISITOR_TYPE,
};

use super::{
    Receipt, ReceiptStatus, StoreError, Submission, Target,
    appender::Appender,
    group::Group,
    holders::{self, Holders},
    seal::DataKey,
    shared::Shared,
};

/// Why a submission is not stored.
enum Refusal {
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
}

/// Appends one submission to the log and applies it to the group.
pub(super) fn submit(shared: &Shared, log: &mut Appender, group: &mut Group, submission: Submission) -> Receipt {
    match try_submit(shared, log, group, submission) {
        Ok((owner, created)) => receipt(shared, group, ReceiptStatus::Recorded, owner, created),
        Err(Refusal::Known { owner, conflict }) => {
            let status = if conflict { ReceiptStatus::Conflict } else { ReceiptStatus::Duplicate };
            receipt(shared, group, status, owner, false)
        }
        Err(Refusal::Wrong(why)) => receipt(shared, group, ReceiptStatus::Refused(why), None, false),
        Err(Refusal::Later) => {
            shared.counters.exhausted.fetch_add(1, Relaxed);
            receipt(shared, group, ReceiptStatus::Exhausted, None, false)
        }
    }
}

fn receipt(
    shared: &Shared,
    group: &mut Group,
    status: ReceiptStatus,
    customer: Option<CustomerKey>,
    created: bool,
) -> Receipt {
    let staged = customer.and_then(|key| group.stage(shared, key).ok().flatten());
    let version = staged.map_or(0, |staged| staged.profile.version);
    Receipt { status, customer, version, created }
}

fn try_submit(
    shared: &Shared,
    log: &mut Appender,
    group: &mut Group,
    submission: Submission,
) -> Result<(Option<CustomerKey>, bool), Refusal> {
    let Submission { target, mut event, content, .. } = submission;
    let known = match group.events.get(&event.id) {
        Some((known, _)) => Some(*known),
        None => shared.event(event.id)?,
    };
    if let Some(known) = known {
        let owner = known_owner(shared, group, &target, &event)?;
        return Err(Refusal::Known { owner, conflict: known != content });
    }
    let owner = find_owner(shared, group, &target, &event)?;
    let Some(key) = owner.key else {
        log.event(None, &event, content)?;
        settle(group, &event, content);
        group.apply(shared, None, &event)?;
        return Ok((None, false));
    };
    // the identities stand in the event, so that replay gives them again
    event.identities = owner.new.iter().map(|(_, identity)| identity.clone()).collect();
    let joined = joined(shared, group, &owner.new, key)?;
    let data_key = if owner.created { DataKey::generate()? } else { data_key(shared, group, key)? };
    log.event(Some((key, &data_key)), &event, content)?;
    if owner.created {
        group.keys.push((key, data_key.clone()));
        group.create(key, data_key);
    }
    group.aliases.extend(joined);
    settle(group, &event, content);
    group.apply(shared, Some(key), &event)?;
    Ok((Some(key), owner.created))
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

/// An identity that a submission names.
#[derive(Clone)]
struct Named {
    identity: StoredIdentity,
    hash: IdentityHash,
    sharing: Sharing,
}

/// Every identity that the submission names, each once, the target's first.
fn identities(shared: &Shared, target: &Target, event: &Event) -> Vec<Named> {
    let given: &[_] = match target {
        Target::Identities(identities) => identities,
        Target::Customer(_) | Target::Anonymous => &[],
    };
    let mut seen = BTreeSet::new();
    let given = given.iter().map(|i| (StoredIdentity { kind: i.kind, value: i.value.clone() }, i.sharing));
    let all = given.chain(event.identities.iter().map(|identity| (identity.clone(), Sharing::Unique)));
    let once = all.filter(|(identity, _)| seen.insert(identity.clone()));
    once.map(|(identity, sharing)| {
        let hash = shared.hasher.identity(identity.kind, &identity.value);
        Named { identity, hash, sharing }
    })
    .collect()
}

fn named(shared: &Shared, group: &Group, identities: &[Named]) -> Result<holders::Named, StoreError> {
    holders::named(identities, |one| one.sharing, |one| group.holders(shared, one.hash))
}

/// Leaves out a visitor who is somebody else already where another unique
/// identity says who is meant: whoever logs in after another person in the same
/// browser is not that person.
fn without_other_visitors(
    shared: &Shared,
    group: &mut Group,
    identities: Vec<Named>,
) -> Result<Vec<Named>, StoreError> {
    let visitor = IdentityTypeId::of(VISITOR_TYPE);
    let says_who = |one: &Named| one.sharing == Sharing::Unique && one.identity.kind != visitor;
    if !identities.iter().any(says_who) || !identities.iter().any(|one| one.identity.kind == visitor) {
        return Ok(identities);
    }
    let mut kept = Vec::with_capacity(identities.len());
    for one in identities {
        let taken = one.identity.kind == visitor && is_taken(shared, group, one.hash)?;
        if !taken {
            kept.push(one);
        }
    }
    Ok(kept)
}

/// Whether an identity is of somebody whom more than visits made.
fn is_taken(shared: &Shared, group: &mut Group, hash: IdentityHash) -> Result<bool, StoreError> {
    let Some(holders) = group.holders(shared, hash)? else { return Ok(false) };
    for key in holders.all() {
        if group.stage(shared, *key)?.is_some_and(|staged| !staged.profile.is_only_visited()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whose a submission is that was stored before; creates nobody.
fn known_owner(
    shared: &Shared,
    group: &mut Group,
    target: &Target,
    event: &Event,
) -> Result<Option<CustomerKey>, StoreError> {
    if let Target::Customer(key) = target {
        return Ok(Some(*key));
    }
    let identities = without_other_visitors(shared, group, identities(shared, target, event))?;
    match named(shared, group, &identities)? {
        holders::Named::By(Holders::One(key)) => Ok(Some(key)),
        _ => Ok(None),
    }
}

fn find_owner(shared: &Shared, group: &mut Group, target: &Target, event: &Event) -> Result<Owner, Refusal> {
    if matches!(target, Target::Anonymous) {
        return match &event.kind {
            EventKind::Outcome { .. } => Ok(Owner { key: None, new: Vec::new(), created: false }),
            _ => Err(Refusal::Wrong("an event without a customer must be an outcome: name an identity".to_owned())),
        };
    }
    let identities = without_other_visitors(shared, group, identities(shared, target, event))?;
    let key = match (named(shared, group, &identities)?, target) {
        (holders::Named::By(known), Target::Customer(key)) if known.holds(*key) => Some(*key),
        (holders::Named::Nobody, Target::Customer(key)) => Some(*key),
        (holders::Named::By(_), Target::Customer(_)) | (holders::Named::Apart, _) => {
            return Err(Refusal::Wrong(ambiguous(&identities)));
        }
        (holders::Named::By(Holders::Several(keys)), _) => return Err(Refusal::Wrong(held_by_several(keys.len()))),
        (holders::Named::By(Holders::One(key)), _) => Some(key),
        (holders::Named::Nobody, _) => known_by_shared(shared, group, &identities)?,
    };
    match key {
        Some(key) => {
            let new = new_identities(shared, group, identities, key)?;
            let Some(staged) = group.stage(shared, key)? else {
                return Err(Refusal::Wrong(
                    "the customer is not known any more: send the event by identity".to_owned(),
                ));
            };
            within_bound(staged.profile.identities.len() + new.len())?;
            Ok(Owner { key: Some(key), new, created: false })
        }
        None => {
            // INVARIANT: a shared identity makes the key only of who has no
            // unique one: the next to share it must get another key
            let unique = identities.iter().find(|one| one.sharing == Sharing::Unique);
            let Some(first) = unique.or_else(|| identities.first()) else {
                return Err(Refusal::Wrong("the event names no identity: give at least one".to_owned()));
            };
            within_bound(identities.len())?;
            let key = shared.hasher.customer(first.identity.kind, &first.identity.value);
            let new = identities.into_iter().map(|one| (one.hash, one.identity)).collect();
            Ok(Owner { key: Some(key), new, created: true })
        }
    }
}

/// Whom the shared identities name, when nobody has the unique ones yet and
/// nothing else is known of that customer: who called before they said who they
/// are is not somebody else then. The log keeps whose an event is, so that a
/// recovery does not ask again.
fn known_by_shared(
    shared: &Shared,
    group: &mut Group,
    identities: &[Named],
) -> Result<Option<CustomerKey>, StoreError> {
    let by_shared: Vec<Named> = identities.iter().filter(|one| one.sharing == Sharing::Shared).cloned().collect();
    if by_shared.is_empty() || by_shared.len() == identities.len() {
        return Ok(None);
    }
    let holders::Named::By(Holders::One(key)) = named(shared, group, &by_shared)? else { return Ok(None) };
    let kinds: Vec<_> = by_shared.iter().map(|one| one.identity.kind).collect();
    let alone = group.stage(shared, key)?.is_some_and(|staged| holders::has_only(&staged.profile, &kinds));
    Ok(alone.then_some(key))
}

/// Those that the customer does not have yet.
fn new_identities(
    shared: &Shared,
    group: &mut Group,
    identities: Vec<Named>,
    key: CustomerKey,
) -> Result<Vec<(IdentityHash, StoredIdentity)>, StoreError> {
    let mut new = Vec::new();
    for one in identities {
        if group.holders(shared, one.hash)?.is_some_and(|holders| holders.holds(key)) {
            continue;
        }
        // of an identity with too many holders only the profile knows
        let kept = group.stage(shared, key)?.is_some_and(|staged| staged.profile.identities.contains(&one.identity));
        if !kept {
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

fn held_by_several(customers: usize) -> String {
    format!("`{customers}` customers share what is named: name the one who is meant by an identity that is only theirs")
}

/// Names of identity types stand in rules, which the store does not know; so
/// their stable ids and positions are told.
fn ambiguous(identities: &[Named]) -> String {
    let kinds: Vec<_> = identities.iter().map(|one| format!("`{:08x}`", one.identity.kind.0)).collect();
    format!(
        "the identities (types {}) are of more than one customer: send an event for each, or only identities of one",
        kinds.join(", ")
    )
}
