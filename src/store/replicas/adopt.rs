//! The writer takes customers over as Redis has them.

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{CustomerKey, EventId, Profile};

use super::super::{
    Erasure, HotProfile, NewErasure, StoreError,
    group::{Group, Staged},
    writer::{Batch, Writer},
};
use super::take_in::HELD;

/// A customer as Redis has it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Adopted {
    pub profile: Box<Profile>,
    /// The ids of what it holds.
    pub ids: Vec<EventId>,
    /// Before it was read: up to where this replica's own records were in Redis.
    pub shipped: u64,
    /// Before it was read: up to where everything of this log was in memory.
    pub applied: u64,
}

impl Writer {
    /// A customer was erased while this replica did not listen: nothing of it stays
    /// here, and nothing of before comes back.
    pub(super) fn forget_erased(&mut self, key: CustomerKey) {
        let at = self.shared.latest();
        if self.shared.tombstones.erased(key).is_some() {
            return;
        }
        let profile = match self.shared.load(key) {
            Ok(Some(hot)) if hot.profile.key == key => hot.profile.clone(),
            _ => Profile { key, ..Profile::default() },
        };
        let id = xxh3_128(&key.0.to_le_bytes());
        let new = NewErasure { id, at, reason: "erased on another replica".into(), customer: key };
        let erasure = Erasure::of(new, &profile, &self.shared.hasher);
        if !self.appender.has_room(&self.shared) || !self.take_erasure(erasure) {
            tracing::error!("a customer who was erased on another replica could not be erased here");
        }
    }

    /// Takes customers as Redis has them; answers those that must be read again,
    /// for they changed meanwhile.
    pub(super) fn adopt(&mut self, customers: Vec<Adopted>) -> Vec<CustomerKey> {
        let mut batch = Batch::default();
        let (mut again, mut all) = (Vec::new(), Vec::with_capacity(customers.len()));
        for customer in customers {
            let key = customer.profile.key;
            all.push(key);
            let room = self.appender.has_room(&self.shared);
            match room.then(|| self.adopt_one(&mut batch.group, customer)) {
                Some(Ok(true)) => {}
                Some(Ok(false)) | None => again.push(key),
                Some(Err(error)) => tracing::warn!(%error, "reading a customer from redis"),
            }
        }
        if self.commit_received(batch) { again } else { all }
    }

    fn adopt_one(&mut self, group: &mut Group, adopted: Adopted) -> Result<bool, StoreError> {
        let Adopted { profile, ids, shipped, applied } = adopted;
        let key = profile.key;
        let erased = self.shared.tombstones.erased(key).is_some();
        let state = &self.shared.replicas;
        let known = group.live(&self.shared, key)?;
        // who was taken in here is one with another; who is known is as good, but for a
        // gap, or when it was made before anything of it was read
        if erased || known.is_some_and(|live| live != key || !state.owes(key)) {
            return Ok(true);
        }
        if !state.may_adopt(shipped) || state.has_unshipped(key, shipped) || state.was_touched(key, applied) {
            return Ok(false);
        }
        let mut profile = profile;
        let mut ids = ids;
        if known.is_some() {
            // what this replica has and Redis has not: it may come again, and is known here
            for event in self.shared.noted_events(key)? {
                if !ids.contains(&event.id) {
                    let _ = crate::customer::apply(&mut profile, &event);
                    ids.push(event.id);
                }
            }
        }
        let (_, data_key) = self.owner(group, key)?;
        let at = self.shared.latest();
        let hot = HotProfile::new(*profile, data_key.clone());
        self.appender.adopted((&hot, &ids), at)?;
        self.received();
        group.records += 1;
        let claimed = self.give(group, key, &hot.profile.identities)?;
        let HotProfile { profile, .. } = hot;
        group.customers.insert(key, Staged { profile, data_key, touched: true, applied: 0 });
        let held = |id: &EventId| !group.events.contains_key(id) && !matches!(self.shared.event(*id), Ok(Some(_)));
        let new: Vec<EventId> = ids.into_iter().filter(held).collect();
        group.events.extend(new.into_iter().map(|id| (id, (HELD, at))));
        self.settle_claims(group, key, (claimed, at))?;
        Ok(true)
    }
}
