//! One submission: whose it is, whether it is new, and its place in the log.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use crate::domain::{CustomerKey, Event, EventKind, IdentityHash, StoredIdentity, profile::IDENTITIES_MAX};

use super::{
    Receipt, ReceiptStatus, StoreError, Submission, Target, appender::Appender, group::Group, seal::DataKey,
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
    let data_key = if owner.created { DataKey::generate()? } else { data_key(shared, group, key)? };
    log.event(Some((key, &data_key)), &event, content)?;
    if owner.created {
        group.keys.push((key, data_key.clone()));
        group.create(key, data_key);
    }
    group.aliases.extend(owner.new.iter().map(|(hash, _)| (*hash, key)));
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

/// Every identity that the submission names, each once, the target's first.
fn identities(target: &Target, event: &Event) -> Vec<StoredIdentity> {
    let named: &[_] = match target {
        Target::Identities(identities) => identities,
        Target::Customer(_) | Target::Anonymous => &[],
    };
    let mut seen = BTreeSet::new();
    let named = named.iter().map(|i| StoredIdentity { kind: i.kind, value: i.value.clone() });
    named.chain(event.identities.iter().cloned()).filter(|i| seen.insert(i.clone())).collect()
}

fn owner_of(shared: &Shared, group: &Group, hash: IdentityHash) -> Result<Option<CustomerKey>, StoreError> {
    match group.aliases.get(&hash) {
        Some(key) => Ok(Some(*key)),
        None => shared.owner(hash),
    }
}

/// Whose a submission is that was stored before; creates nobody.
fn known_owner(
    shared: &Shared,
    group: &Group,
    target: &Target,
    event: &Event,
) -> Result<Option<CustomerKey>, StoreError> {
    if let Target::Customer(key) = target {
        return Ok(Some(*key));
    }
    for identity in identities(target, event) {
        let owner = owner_of(shared, group, shared.hasher.identity(identity.kind, &identity.value))?;
        if owner.is_some() {
            return Ok(owner);
        }
    }
    Ok(None)
}

fn find_owner(shared: &Shared, group: &mut Group, target: &Target, event: &Event) -> Result<Owner, Refusal> {
    if matches!(target, Target::Anonymous) {
        return match &event.kind {
            EventKind::Outcome { .. } => Ok(Owner { key: None, new: Vec::new(), created: false }),
            _ => Err(Refusal::Wrong("an event without a customer must be an outcome: name an identity".to_owned())),
        };
    }
    let identities = identities(target, event);
    let mut key = if let Target::Customer(key) = target { Some(*key) } else { None };
    let (mut new, mut owners) = (Vec::new(), BTreeSet::from_iter(key));
    for identity in &identities {
        let hash = shared.hasher.identity(identity.kind, &identity.value);
        match owner_of(shared, group, hash)? {
            Some(owner) => {
                owners.insert(owner);
                key = key.or(Some(owner));
            }
            None => new.push((hash, identity.clone())),
        }
    }
    if owners.len() > 1 {
        return Err(Refusal::Wrong(ambiguous(&identities)));
    }
    match key {
        Some(key) => {
            let Some(staged) = group.stage(shared, key)? else {
                return Err(Refusal::Wrong(
                    "the customer is not known any more: send the event by identity".to_owned(),
                ));
            };
            within_bound(staged.profile.identities.len() + new.len())?;
            Ok(Owner { key: Some(key), new, created: false })
        }
        None => {
            let Some(first) = identities.first() else {
                return Err(Refusal::Wrong("the event names no identity: give at least one".to_owned()));
            };
            within_bound(new.len())?;
            Ok(Owner { key: Some(shared.hasher.customer(first.kind, &first.value)), new, created: true })
        }
    }
}

fn within_bound(len: usize) -> Result<(), Refusal> {
    if len > IDENTITIES_MAX {
        return Err(Refusal::Wrong(format!(
            "the customer would have `{len}` identities, at most `{IDENTITIES_MAX}` are kept: send fewer"
        )));
    }
    Ok(())
}

/// Names of identity types stand in rules, which the store does not know; so
/// their stable ids and positions are told.
fn ambiguous(identities: &[StoredIdentity]) -> String {
    let kinds: Vec<_> = identities.iter().map(|i| format!("`{:08x}`", i.kind.0)).collect();
    format!(
        "the identities (types {}) are of more than one customer: send an event for each, or only identities of one",
        kinds.join(", ")
    )
}
