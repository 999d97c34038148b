//! A merge taken back: who lived on without whom it took in, who holds which
//! identity afterwards, and what is still kept of it.

use std::sync::Arc;

use crate::customer;
use crate::domain::{CustomerKey, MergeId, Profile, StoredIdentity, Timestamp};

use super::{
    Merge, StoreError,
    group::{Group, Staged},
    holders::Holders,
    merge::Move,
    seal::DataKey,
    shared::Shared,
};

impl Group {
    /// Takes a merge back. Who lived on lives on, with what came since.
    pub fn part(
        &mut self,
        shared: &Shared,
        (survivor, id): (CustomerKey, MergeId),
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let all = self.merges_of(shared, survivor)?;
        let Some(merge) = all.iter().find(|merge| merge.id == id && merge.undone.is_none()) else { return Ok(()) };
        let absorbed = merge.absorbed.key;
        let Some(data_key) = self.own_data_key(shared, absorbed)? else { return Ok(()) };
        let Some(staged) = self.stage(shared, survivor)? else { return Ok(()) };
        let before = (&merge.survivor, &merge.absorbed);
        let (left, back) = customer::unmerge(&staged.profile, before, &taken_in_since(&all, merge));
        staged.profile = left.clone();
        staged.touched = true;
        for identity in &merge.absorbed.identities {
            let stays = left.identities.contains(identity);
            self.give_back(shared, (identity, stays), (survivor, absorbed))?;
        }
        self.customers.insert(absorbed, Staged { profile: back, data_key, touched: true, applied: 0 });
        for hash in &merge.joined {
            let people = self.linked(shared, *hash)?.saturating_sub(1).max(1);
            self.unions.linked.insert(*hash, people);
        }
        self.unions.redirects.insert(absorbed, None);
        self.unions.parted.insert((survivor.min(absorbed), survivor.max(absorbed)), true);
        self.moves.push(Move::Part(survivor, absorbed));
        self.parted += 1;
        self.forget_in_later_merges(&all, merge);
        self.unions.merges.insert((survivor, id), Arc::new(merge.taken_back(at)));
        Ok(())
    }

    /// What later merges would give back when they are taken back must not bring
    /// back what was taken back before.
    fn forget_in_later_merges(&mut self, all: &[Arc<Merge>], undone: &Merge) {
        let since = taken_in_since(all, undone);
        for later in all.iter().filter(|later| is_after(later, undone)) {
            let between: Vec<&Profile> =
                since.iter().copied().filter(|one| has_taken_in(&later.survivor, one.key)).collect();
            let before = (&undone.survivor, &undone.absorbed);
            let (left, _) = customer::unmerge(&later.survivor, before, &between);
            let later = Merge { survivor: left, ..(**later).clone() };
            self.unions.merges.insert((later.survivor.key, later.id), Arc::new(later));
        }
    }

    /// Gives an identity back to who was taken in; it `stays` where others who
    /// are one with the survivor have it too.
    fn give_back(
        &mut self,
        shared: &Shared,
        (identity, stays): (&StoredIdentity, bool),
        (survivor, absorbed): (CustomerKey, CustomerKey),
    ) -> Result<(), StoreError> {
        let hash = shared.hasher.identity(identity.kind, &identity.value);
        let known = self.holders(shared, hash)?.unwrap_or(Holders::One(absorbed));
        let moved = if stays { known } else { known.map(|key| if key == survivor { absorbed } else { key }) };
        let held = if moved.holds(absorbed) { moved } else { moved.with(absorbed).unwrap_or(moved) };
        self.aliases.insert(hash, held);
        self.unions.moved.insert(hash);
        Ok(())
    }

    /// The merges of who lived on in them.
    fn merges_of(&self, shared: &Shared, survivor: CustomerKey) -> Result<Vec<Arc<Merge>>, StoreError> {
        let mut all = shared.merges(&[survivor])?;
        for ((key, id), merge) in &self.unions.merges {
            if *key == survivor {
                all.retain(|known| known.id != *id);
                all.push(Arc::clone(merge));
            }
        }
        // replay must change them in the same order
        all.sort_by_key(|merge| (merge.at, merge.id));
        Ok(all)
    }

    pub fn merge_of(
        &self,
        shared: &Shared,
        survivor: CustomerKey,
        id: MergeId,
    ) -> Result<Option<Arc<Merge>>, StoreError> {
        Ok(self.merges_of(shared, survivor)?.into_iter().find(|merge| merge.id == id))
    }

    fn own_data_key(&self, shared: &Shared, key: CustomerKey) -> Result<Option<DataKey>, StoreError> {
        match self.unions.redirects.get(&key) {
            Some(Some(redirect)) => Ok(Some(redirect.data_key.clone())),
            _ => shared.data_key(key),
        }
    }
}

fn has_taken_in(profile: &Profile, key: CustomerKey) -> bool {
    profile.absorbed.iter().any(|origin| origin.key == key)
}

/// Whether a merge of the same survivor stands and came after another one.
fn is_after(one: &Merge, other: &Merge) -> bool {
    one.id != other.id && one.undone.is_none() && has_taken_in(&one.survivor, other.absorbed.key)
}

/// Those whom the survivor of a merge took in after it, as they were then, and who
/// still belong to it.
fn taken_in_since<'a>(all: &'a [Arc<Merge>], merge: &Merge) -> Vec<&'a Profile> {
    all.iter().filter(|one| is_after(one, merge)).map(|one| &one.absorbed).collect()
}
