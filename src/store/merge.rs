//! Two customers become one, and are two again: the same code live and when the
//! log is applied again.

use std::sync::Arc;

use crate::customer;
use crate::domain::{
    CustomerKey, DecisionId, IdentityHash, MergeId, OfferId, Profile, RecordRef, StoredIdentity, Timestamp,
    profile::{ABSORBED_MAX, IDENTITIES_MAX},
};

use super::{
    Merge, MergeCause, NotLinked, Receipt, ReceiptStatus, StoreError,
    appender::Appender,
    group::Group,
    holders::Holders,
    log::RecordKind,
    merge_record::{self, ChangeBody, ChangeHead, CustomerChange},
    merges::{Order, keys_of},
    shared::Shared,
    unions::Redirect,
};

/// A change of what the ledger and the watchers hold, once memory has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// All of the first is the second's too, who alone lives on.
    Unite(CustomerKey, CustomerKey),
    /// The second is a customer beside the first again.
    Part(CustomerKey, CustomerKey),
    /// A presentation to the customer holds its place no more.
    Release(CustomerKey, DecisionId, (OfferId, RecordRef)),
}

/// Two customers who are to become one.
#[derive(Clone, Debug)]
pub(super) struct Union {
    pub id: MergeId,
    pub at: Timestamp,
    pub cause: MergeCause,
    pub reason: Box<str>,
    /// The identities by which people are joined.
    pub joined: Vec<IdentityHash>,
}

/// Why two customers would be too much for one; `None` when they are not.
pub(super) fn too_large(a: &Profile, b: &Profile, further_identities: usize) -> Option<NotLinked> {
    let both = a.identities.iter().filter(|one| b.identities.contains(one)).count();
    let identities = a.identities.len() + b.identities.len() - both + further_identities;
    if identities > IDENTITIES_MAX {
        return Some(NotLinked::Identities);
    }
    (!customer::mergeable(a, b)).then_some(NotLinked::Absorbed)
}

/// Merges two customers of the group: the log first, then the working copies.
/// Answers who lives on.
pub(super) fn merge(
    shared: &Shared,
    log: &mut Appender,
    group: &mut Group,
    ((a, b), union): ((CustomerKey, CustomerKey), Union),
) -> Result<CustomerKey, StoreError> {
    let (Some(a), Some(b)) = (group.live(shared, a)?, group.live(shared, b)?) else {
        return Err(StoreError::Corrupt("merging two customers: one of them is not known any more".to_owned()));
    };
    if a == b {
        return Ok(a);
    }
    // INVARIANT: both have a working copy: they live
    let survivor = customer::survivor(&group.customers[&a].profile, &group.customers[&b].profile);
    let absorbed = if survivor == a { b } else { a };
    let head = ChangeHead { change: CustomerChange::Merge, survivor, absorbed };
    append(log, group, (head, union.at), &body_of(&union))?;
    group.merge(shared, (survivor, absorbed), &union)?;
    Ok(survivor)
}

fn body_of(union: &Union) -> ChangeBody {
    ChangeBody { id: union.id, cause: union.cause, reason: union.reason.clone(), joined: union.joined.clone() }
}

fn append(
    log: &mut Appender,
    group: &mut Group,
    (head, at): (ChangeHead, Timestamp),
    body: &ChangeBody,
) -> Result<(), StoreError> {
    let Some(staged) = group.customers.get(&head.survivor) else {
        return Err(StoreError::Corrupt("changing a customer who is not known any more".to_owned()));
    };
    log.change(head, at, (body, &staged.data_key))?;
    group.records += 1;
    Ok(())
}

/// What somebody asked for.
pub(super) fn order(shared: &Shared, log: &mut Appender, group: &mut Group, order: Order) -> Receipt {
    let done = match order {
        Order::Merge { a, b, id, at, reason } => {
            let union = Union { id, at, cause: MergeCause::Requested, reason, joined: Vec::new() };
            requested(shared, log, group, ((a, b), union))
        }
        Order::Undo { survivor, id, at, reason } => undo(shared, log, group, (survivor, id, at, reason)),
    };
    match done {
        Ok((status, customer)) => {
            let version = customer.and_then(|key| group.customers.get(&key)).map_or(0, |staged| staged.profile.version);
            Receipt { customer, version, ..Receipt::without(status) }
        }
        Err(StoreError::Corrupt(why)) => Receipt::without(ReceiptStatus::Refused(why)),
        Err(_) => Receipt::without(ReceiptStatus::Exhausted),
    }
}

type Done = Result<(ReceiptStatus, Option<CustomerKey>), StoreError>;

fn refused(why: String) -> Done {
    Ok((ReceiptStatus::Refused(why), None))
}

fn requested(
    shared: &Shared,
    log: &mut Appender,
    group: &mut Group,
    ((a, b), union): ((CustomerKey, CustomerKey), Union),
) -> Done {
    let (Some(a), Some(b)) = (group.live(shared, a)?, group.live(shared, b)?) else {
        return refused("one of the customers is not known any more: look them up again".to_owned());
    };
    if a == b {
        return Ok((ReceiptStatus::Duplicate, Some(a)));
    }
    if let Some(why) = too_large(&group.customers[&a].profile, &group.customers[&b].profile, 0) {
        return refused(too_large_text(why));
    }
    let survivor = merge(shared, log, group, ((a, b), union))?;
    Ok((ReceiptStatus::Recorded, Some(survivor)))
}

/// Why two customers would be too much for one, in words.
fn too_large_text(why: NotLinked) -> String {
    match why {
        NotLinked::Absorbed => format!("more than `{ABSORBED_MAX}` customers would have become one: they stay apart"),
        _ => format!("together they would have more than `{IDENTITIES_MAX}` identities: they stay apart"),
    }
}

/// Why two customers would be too much for one, in words; `None` when they are
/// not.
pub fn too_large_in_words(a: &Profile, b: &Profile) -> Option<String> {
    too_large(a, b, 0).map(too_large_text)
}

fn undo(
    shared: &Shared,
    log: &mut Appender,
    group: &mut Group,
    (survivor, id, at, reason): (CustomerKey, MergeId, Timestamp, Box<str>),
) -> Done {
    let Some(merge) = group.merge_of(shared, survivor, id)? else {
        return refused(format!("no merge `{id}` of this customer is kept: merges are kept for 30 days"));
    };
    if merge.undone.is_some() {
        return refused(format!("the merge `{id}` was taken back before"));
    }
    if at > merge.undo_until() {
        return refused(format!("the merge `{id}` is more than 30 days old: it cannot be taken back any more"));
    }
    if group.live(shared, survivor)? != Some(survivor) {
        return refused(format!(
            "the customer of the merge `{id}` was taken in by another one since: take that back first"
        ));
    }
    let head = ChangeHead { change: CustomerChange::Undo, survivor, absorbed: merge.absorbed.key };
    let body = ChangeBody { id, cause: merge.cause, reason, joined: merge.joined.clone() };
    append(log, group, (head, at), &body)?;
    group.part(shared, (survivor, id), at)?;
    Ok((ReceiptStatus::Recorded, Some(survivor)))
}

/// Takes back a merge that another replica took back; nothing where it is not
/// kept, or was taken back before.
pub(super) fn take_back(
    shared: &Shared,
    log: &mut Appender,
    group: &mut Group,
    (head, body, at): (ChangeHead, ChangeBody, Timestamp),
) -> Result<(), StoreError> {
    let Some(merge) = group.merge_of(shared, head.survivor, body.id)? else { return Ok(()) };
    if merge.undone.is_some() || group.live(shared, head.survivor)? != Some(head.survivor) {
        return Ok(());
    }
    append(log, group, (head, at), &body)?;
    group.part(shared, (head.survivor, body.id), at)
}

impl Group {
    /// Makes one customer of two who live.
    pub fn merge(
        &mut self,
        shared: &Shared,
        (survivor, absorbed): (CustomerKey, CustomerKey),
        union: &Union,
    ) -> Result<(), StoreError> {
        if self.live(shared, survivor)? != Some(survivor) || self.live(shared, absorbed)? != Some(absorbed) {
            return Ok(());
        }
        let Some(taken) = self.customers.remove(&absorbed) else { return Ok(()) };
        let Some(staged) = self.customers.get_mut(&survivor) else { return Ok(()) };
        let before = staged.profile.clone();
        staged.profile = customer::merge(&before, &taken.profile);
        staged.touched = true;
        staged.applied += taken.applied;
        if shared.watchers.watched(absorbed) || self.watched.contains(&absorbed) {
            self.watched.insert(survivor);
        }
        if let Some(happened) = self.happened.remove(&absorbed) {
            self.happened.entry(survivor).or_default().extend(happened);
        }
        for identity in &taken.profile.identities {
            self.hand_over(shared, identity, |holders| {
                holders.map(|key| if key == absorbed { survivor } else { key })
            })?;
        }
        for hash in &union.joined {
            let people = self.linked(shared, *hash)?.max(1) + 1;
            self.unions.linked.insert(*hash, people);
        }
        self.unions.redirects.insert(absorbed, Some(Redirect { to: survivor, data_key: taken.data_key }));
        if union.cause == MergeCause::Requested {
            self.no_longer_apart(shared, &before, &taken.profile)?;
        }
        self.moves.push(Move::Unite(absorbed, survivor));
        self.merged.push(union.cause);
        let merge = Merge {
            id: union.id,
            at: union.at,
            cause: union.cause,
            reason: union.reason.clone(),
            survivor: before,
            absorbed: taken.profile,
            joined: union.joined.clone(),
            undone: None,
        };
        self.unions.merges.insert((survivor, union.id), Arc::new(merge));
        Ok(())
    }

    /// Changes who holds an identity.
    fn hand_over(
        &mut self,
        shared: &Shared,
        identity: &StoredIdentity,
        change: impl FnOnce(Holders) -> Holders,
    ) -> Result<(), StoreError> {
        let hash = shared.hasher.identity(identity.kind, &identity.value);
        if let Some(holders) = self.holders(shared, hash)? {
            self.aliases.insert(hash, change(holders));
            self.unions.moved.insert(hash);
        }
        Ok(())
    }

    /// Who asks for a merge lifts what parted the two before.
    fn no_longer_apart(&mut self, shared: &Shared, a: &Profile, b: &Profile) -> Result<(), StoreError> {
        for one in keys_of(a) {
            for other in keys_of(b) {
                if self.is_parted(shared, one, other)? {
                    self.unions.parted.insert((one.min(other), one.max(other)), false);
                }
            }
        }
        Ok(())
    }

    fn is_parted(&self, shared: &Shared, a: CustomerKey, b: CustomerKey) -> Result<bool, StoreError> {
        match self.unions.parted(a, b) {
            Some(parted) => Ok(parted),
            None => shared.parted(a, b),
        }
    }

    /// How many people an identity joined; 0 when it joined none yet.
    pub fn linked(&self, shared: &Shared, hash: IdentityHash) -> Result<u32, StoreError> {
        match self.unions.linked.get(&hash) {
            Some(people) => Ok(*people),
            None => shared.linked(hash),
        }
    }

    /// Whether any of what became one customer was parted from any of another.
    pub fn are_parted(&self, shared: &Shared, a: &Profile, b: &Profile) -> Result<bool, StoreError> {
        for one in keys_of(a) {
            for other in keys_of(b) {
                if self.is_parted(shared, one, other)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Appender {
    /// A change between customers.
    fn change(
        &mut self,
        head: ChangeHead,
        at: Timestamp,
        (body, key): (&ChangeBody, &super::seal::DataKey),
    ) -> Result<(), StoreError> {
        self.begin(at);
        let payload = merge_record::encode(head, body, (key, self.log.next_sequence()))?;
        self.log.append(RecordKind::Customer, at, &payload);
        Ok(())
    }
}
