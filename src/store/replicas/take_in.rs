//! The writer takes in what other replicas wrote: into the log first, then into
//! memory, each thing once by its id. Whose it is stands in the entry; who holds
//! an identity is settled here where two replicas gave it at the same time.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{CustomerKey, Event, EventId, MergeId, Sharing, StoredIdentity, Timestamp};

use super::super::{
    Erasure, MergeCause, StoreError, decided,
    group::Group,
    holders::Holders,
    linking,
    merge::{self, Union},
    merge_record::{ChangeBody, ChangeHead, CustomerChange},
    seal::DataKey,
    writer::{Batch, Writer},
};
use super::{
    adopt::Adopted,
    entry::{Entry, What},
};

/// The content of an event of which only the id is known: a customer who was read
/// from Redis holds it.
pub(in crate::store) const HELD: u64 = 0;
/// The content of what is no event.
const CHANGE: u64 = 1;

/// What the writer is asked for of other replicas.
pub(in crate::store) enum Command {
    /// What they wrote; whether it is in the log.
    Receive { entries: Vec<Entry>, reply: oneshot::Sender<bool> },
    /// A customer was erased while this replica did not listen.
    Forget { key: CustomerKey, reply: oneshot::Sender<()> },
    /// Customers as Redis has them; those that must be read again.
    Adopt { customers: Vec<Adopted>, reply: oneshot::Sender<Vec<CustomerKey>> },
}

impl Writer {
    /// INVARIANT: everything before it was committed. Who asked may have gone.
    pub(in crate::store) fn replicate(&mut self, command: Command) {
        match command {
            Command::Receive { entries, reply } => {
                let _ = reply.send(self.receive(entries));
            }
            Command::Forget { key, reply } => {
                self.forget_erased(key);
                let _ = reply.send(());
            }
            Command::Adopt { customers, reply } => {
                let _ = reply.send(self.adopt(customers));
            }
        }
    }

    /// Takes entries in; whether all are in the log.
    fn receive(&mut self, entries: Vec<Entry>) -> bool {
        let mut batch = Batch::default();
        for entry in entries {
            if !self.appender.has_room(&self.shared) {
                self.shared.log_full.store(true, Relaxed);
                let _ = self.commit_received(batch);
                return false;
            }
            self.shared.saw_time(entry.time);
            let id = entry.id();
            let known = batch.group.events.get(&id).map(|known| known.0);
            let known = known.or_else(|| self.shared.event(id).ok().flatten());
            if known.is_some_and(|content| content != HELD) {
                self.shared.replicas.counts.received_again.fetch_add(1, Relaxed);
                continue;
            }
            let taken = match entry.what {
                What::Erased(erasure) => {
                    if !self.commit_received(std::mem::take(&mut batch)) || !self.take_erasure(*erasure) {
                        return false;
                    }
                    Ok(())
                }
                what => self.take(&mut batch.group, (id, entry.time), (what, known.is_some())),
            };
            match taken {
                Ok(()) => {
                    self.shared.replicas.counts.received.fetch_add(1, Relaxed);
                }
                Err(StoreError::Corrupt(why)) => {
                    tracing::error!(why, "an entry of another replica cannot be taken in");
                    self.shared.replicas.counts.unreadable.fetch_add(1, Relaxed);
                }
                Err(_) => {
                    let _ = self.commit_received(batch);
                    return false;
                }
            }
        }
        self.commit_received(batch)
    }

    /// INVARIANT: what was received and did not get into the log is not taken for
    /// received when its sequence is given again.
    pub(super) fn commit_received(&mut self, batch: Batch) -> bool {
        let from = self.appender.log.last_sequence() + 1;
        self.commit(batch);
        if self.failed_at.is_some() {
            self.shared.replicas.did_not_receive(from);
        }
        self.failed_at.is_none()
    }

    fn take(
        &mut self,
        group: &mut Group,
        (id, time): (EventId, Timestamp),
        (what, held): (What, bool),
    ) -> Result<(), StoreError> {
        match what {
            What::Event { customer: Some(key), event, content } if held => self.note(group, key, (&event, content)),
            What::Event { customer, event, content } => self.take_event(group, customer, (&event, content)),
            _ if held => Ok(()),
            What::Change { head, body } => {
                let taken = self.take_change(group, head, (body, time));
                group.events.insert(id, (CHANGE, time));
                taken
            }
            What::Names(names) => {
                let new = self
                    .shared
                    .keep_names(names.iter().map(|name| (crate::domain::ItemId::of(name), Arc::from(&**name))));
                if !new.is_empty() {
                    self.appender.names(&names, time);
                    self.received();
                    group.records += 1;
                    group.names.extend(new);
                }
                Ok(())
            }
            What::Erased(_) => Ok(()),
        }
    }

    /// The record that was appended last is another replica's.
    pub(super) fn received(&self) {
        self.shared.replicas.will_receive(self.appender.log.next_sequence() - 1);
    }

    /// What the customer held when it was read from Redis: it is noted, and changes
    /// nothing else.
    fn note(&mut self, group: &mut Group, key: CustomerKey, (event, content): (&Event, u64)) -> Result<(), StoreError> {
        if self.shared.tombstones.erased(key).is_some() {
            return Ok(());
        }
        let (owner, data_key) = self.owner(group, key)?;
        self.appender.event(Some((owner, &data_key)), event, content)?;
        self.received();
        group.note(owner, event);
        settle(group, event, content);
        Ok(())
    }

    fn take_event(
        &mut self,
        group: &mut Group,
        customer: Option<CustomerKey>,
        (event, content): (&Event, u64),
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let Some(key) = customer else {
            self.appender.event(None, event, content)?;
            self.received();
            settle(group, event, content);
            return group.apply(&shared, None, event);
        };
        if shared.tombstones.erased(key).is_some() {
            return Ok(());
        }
        let (owner, data_key) = self.owner(group, key)?;
        self.appender.event(Some((owner, &data_key)), event, content)?;
        self.received();
        self.shared.replicas.touch(owner, self.appender.log.next_sequence() - 1);
        let claimed = self.give(group, owner, &event.identities)?;
        settle(group, event, content);
        match decided::is_of_decision(event) {
            true => group.apply_quietly(&shared, Some(owner), event)?,
            false => group.apply(&shared, Some(owner), event)?,
        }
        self.settle_claims(group, owner, (claimed, event.received_at))
    }

    /// Who lives on for a customer, made if need be, and what seals its data.
    pub(super) fn owner(&mut self, group: &mut Group, key: CustomerKey) -> Result<(CustomerKey, DataKey), StoreError> {
        if let Some(live) = group.live(&self.shared, key)?
            && let Some(staged) = group.customers.get(&live)
        {
            return Ok((live, staged.data_key.clone()));
        }
        let data_key = DataKey::generate()?;
        self.shared.replicas.makes(key);
        group.keys.push((key, data_key.clone()));
        group.create(key, data_key.clone());
        Ok((key, data_key))
    }

    /// Gives identities to a customer; answers who has one of them already that
    /// only one person has.
    pub(super) fn give(
        &self,
        group: &mut Group,
        owner: CustomerKey,
        identities: &[StoredIdentity],
    ) -> Result<Vec<CustomerKey>, StoreError> {
        let linking = self.shared.linking.load();
        let mut claimed = Vec::new();
        for identity in identities {
            let hash = self.shared.hasher.identity(identity.kind, &identity.value);
            let unique = linking.of_type(identity.kind).sharing == Sharing::Unique;
            if unique
                && let Some(Holders::One(other)) = group.holders(&self.shared, hash)?
                && let Some(other) = group.live(&self.shared, other)?
                && other != owner
            {
                claimed.push(other);
                continue;
            }
            let joined = group.joined(&self.shared, hash, owner)?;
            group.aliases.extend(joined.map(|holders| (hash, holders)));
        }
        Ok(claimed)
    }

    /// Two customers got the same identity on two replicas: they are one, unless
    /// what is known of both says that they are not. Every replica comes to the
    /// same end, and says so under the same id.
    pub(super) fn settle_claims(
        &mut self,
        group: &mut Group,
        owner: CustomerKey,
        (claimed, at): (Vec<CustomerKey>, Timestamp),
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        for other in claimed {
            let (Some(one), Some(two)) = (group.live(&shared, owner)?, group.live(&shared, other)?) else { continue };
            if one == two {
                continue;
            }
            let (a, b) = (group.customers[&one].profile.clone(), group.customers[&two].profile.clone());
            let linking = shared.linking.load();
            let apart = group.are_parted(&shared, &a, &b)?
                || merge::too_large(&a, &b, 0).is_some()
                || b.identities.iter().any(|identity| linking.is_another(&a.identities, identity));
            if apart {
                continue;
            }
            let id = MergeId(claim_id(one, two));
            let union = Union { id, at, cause: MergeCause::Identified, reason: Box::default(), joined: Vec::new() };
            let survivor = merge::merge(&shared, &mut self.appender, group, ((one, two), union))?;
            shared.replicas.wrote(Some(survivor), self.appender.log.next_sequence() - 1);
        }
        Ok(())
    }

    fn take_change(
        &mut self,
        group: &mut Group,
        head: ChangeHead,
        (body, at): (ChangeBody, Timestamp),
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let before = self.appender.log.next_sequence();
        let ChangeHead { change, survivor, absorbed } = head;
        match change {
            CustomerChange::Merge => {
                if group.live(&shared, survivor)?.is_none() || group.live(&shared, absorbed)?.is_none() {
                    return Ok(());
                }
                let ChangeBody { id, cause, reason, joined } = body;
                let union = Union { id, at, cause, reason, joined };
                merge::merge(&shared, &mut self.appender, group, ((survivor, absorbed), union))?;
            }
            CustomerChange::Undo => merge::take_back(&shared, &mut self.appender, group, (head, body, at))?,
            CustomerChange::Joined => {
                if let Some(live) = group.live(&shared, survivor)? {
                    linking::join(&shared, &mut self.appender, group, (live, body.joined, at))?;
                }
            }
        }
        if self.appender.log.next_sequence() > before {
            self.received();
        }
        Ok(())
    }

    pub(super) fn take_erasure(&mut self, erasure: Erasure) -> bool {
        let erasure = Arc::new(erasure);
        let mut group = Group::default();
        if group.erase(&self.shared, Arc::clone(&erasure)).is_err() {
            return false;
        }
        group.events.insert(EventId(erasure.id), (CHANGE, erasure.at));
        self.appender.customer(&erasure.encode(), erasure.at);
        self.received();
        let Ok(written) = self.appender.write(&self.shared) else {
            self.shared.replicas.did_not_receive(self.appender.log.last_sequence() + 1);
            return false;
        };
        let changed = group.publish(&self.shared, written.last_sequence, &mut self.tallies);
        self.changed.extend(changed);
        self.shared.overlay.hurry();
        true
    }
}

fn settle(group: &mut Group, event: &Event, content: u64) {
    group.records += 1;
    group.events.insert(event.id, (content.max(CHANGE), event.received_at));
}

/// The same two customers make the same merge on every replica.
fn claim_id(one: CustomerKey, two: CustomerKey) -> u128 {
    let mut bytes = [0; 33];
    bytes[..16].copy_from_slice(&one.0.min(two.0).to_le_bytes());
    bytes[16..32].copy_from_slice(&one.0.max(two.0).to_le_bytes());
    xxh3_128(&bytes)
}
