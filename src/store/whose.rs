//! Whose a submission is: whom its identities name, who becomes one by it, and
//! which of them are left out.
//!
//! The strongest identity says who is meant. Each of the others joins that
//! customer when nobody has it, makes one of two customers when another one has
//! it, or is left out when that would make one of two people.

use std::collections::BTreeSet;

use crate::domain::{
    CustomerKey, Event, IdentityHash, IdentityTypeId, Profile, Sharing, StoredIdentity, profile::IDENTITIES_MAX,
    schema::VISITOR_TYPE,
};

use super::{
    LeftOut, Linking, NotLinked, StoreError, Target,
    group::Group,
    holders::{self, Holders},
    linking::stored,
    merge::too_large,
    shared::Shared,
    submit::Refusal,
};

/// An identity that a submission names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub identity: StoredIdentity,
    pub hash: IdentityHash,
    pub sharing: Sharing,
}

/// Whose a submission is, before anything is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Whose; nobody has any of the identities yet where there is none.
    pub customer: Option<CustomerKey>,
    /// Who becomes one with that customer, in order.
    pub merges: Vec<PlannedMerge>,
    /// The identities that become or stay the customer's.
    pub kept: Vec<Named>,
    /// Those that do not.
    pub left_out: Vec<LeftOut>,
    /// The devices by which alone one more person becomes the customer's.
    pub joined_by: Vec<IdentityHash>,
}

/// A merge to come.
#[derive(Clone, Debug)]
pub(super) struct PlannedMerge {
    pub with: CustomerKey,
    /// The identities by which people are joined; none where one of the two is
    /// but a device.
    pub joined: Vec<IdentityHash>,
}

/// Every identity that the submission names, each once, the target's first.
pub(super) fn identities(shared: &Shared, target: &Target, event: &Event) -> Vec<Named> {
    let given: &[_] = match target {
        Target::Identities(identities) => identities,
        Target::Customer(_) | Target::Anonymous => &[],
    };
    let mut seen = BTreeSet::new();
    let given = given.iter().map(|i| (stored(i), i.sharing));
    let all = given.chain(event.identities.iter().map(|identity| (identity.clone(), Sharing::Unique)));
    let once = all.filter(|(identity, _)| seen.insert(identity.clone()));
    once.map(|(identity, sharing)| {
        let hash = shared.hasher.identity(identity.kind, &identity.value);
        Named { identity, hash, sharing }
    })
    .collect()
}

/// Whom identities name together.
pub(super) fn named(shared: &Shared, group: &Group, identities: &[Named]) -> Result<holders::Named, StoreError> {
    holders::named(identities, |one| one.sharing, |one| group.holders(shared, one.hash))
}

/// Leaves out a visitor who is somebody else already where another unique
/// identity says who is meant: whoever logs in after another person in the same
/// browser is not that person.
pub(super) fn without_other_visitors(
    shared: &Shared,
    group: &mut Group,
    identities: Vec<Named>,
) -> Result<Vec<Named>, StoreError> {
    let visitor = IdentityTypeId::of(VISITOR_TYPE);
    let says_who = |one: &Named| one.sharing == Sharing::Unique && one.identity.kind != visitor;
    if !identities.iter().any(says_who) || !identities.iter().any(|one| one.identity.kind == visitor) {
        return Ok(identities);
    }
    let others: Vec<Named> = identities.iter().filter(|one| says_who(one)).cloned().collect();
    let meant = match named(shared, group, &others)? {
        holders::Named::By(Holders::One(key)) => Some(key),
        _ => None,
    };
    let mut kept = Vec::with_capacity(identities.len());
    for one in identities {
        let taken = one.identity.kind == visitor && is_taken(shared, group, one.hash, meant)?;
        if !taken {
            kept.push(one);
        }
    }
    Ok(kept)
}

/// Whether an identity is of somebody whom more than visits made, and who is
/// not the one who is meant.
fn is_taken(
    shared: &Shared,
    group: &mut Group,
    hash: IdentityHash,
    meant: Option<CustomerKey>,
) -> Result<bool, StoreError> {
    let Some(holders) = group.holders(shared, hash)? else { return Ok(false) };
    for key in holders.all().iter().filter(|key| Some(**key) != meant) {
        if group.stage(shared, *key)?.is_some_and(|staged| !staged.profile.is_only_visited()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Works out whose a submission by identities is.
pub(super) fn plan(shared: &Shared, group: &mut Group, identities: Vec<Named>) -> Result<Plan, Refusal> {
    let mut found = Vec::with_capacity(identities.len());
    for one in identities.iter().filter(|one| one.sharing == Sharing::Unique) {
        found.push((one.clone(), group.holders(shared, one.hash)?));
    }
    let anybody = found.iter().any(|(_, holders)| matches!(holders, Some(Holders::One(_))));
    if !anybody {
        return plan_alone(shared, group, identities);
    }
    let linking = shared.linking.load_full();
    found.sort_by_key(|(one, _)| linking.strength(one.identity.kind));
    let shared_ones = identities.into_iter().filter(|one| one.sharing == Sharing::Shared).collect();
    let mut planning = Planning { shared, linking: &linking, found, plan: Plan::default() };
    planning.plan.customer = planning.meant(group)?;
    planning.settle(group)?;
    let Planning { mut plan, .. } = planning;
    plan.kept.extend::<Vec<Named>>(shared_ones);
    Ok(plan)
}

/// Where no unique identity is of exactly one customer.
fn plan_alone(shared: &Shared, group: &mut Group, identities: Vec<Named>) -> Result<Plan, Refusal> {
    let customer = match named(shared, group, &identities)? {
        holders::Named::Apart => return Err(Refusal::Wrong(ambiguous(&identities))),
        holders::Named::By(Holders::Several(keys)) => return Err(Refusal::Wrong(held_by_several(keys.len()))),
        holders::Named::By(Holders::One(key)) => Some(key),
        holders::Named::Nobody => known_by_shared(shared, group, &identities)?,
    };
    let linking = shared.linking.load_full();
    let known = match customer {
        Some(key) => group.stage(shared, key)?.map(|staged| staged.profile.identities.clone()),
        None => None,
    };
    let mut known = known.unwrap_or_default();
    let mut plan = Plan { customer, ..Plan::default() };
    for one in identities {
        if linking.is_another(&known, &one.identity) {
            plan.left_out.push(LeftOut { kind: one.identity.kind, why: NotLinked::Single });
        } else {
            known.push(one.identity.clone());
            plan.kept.push(one);
        }
    }
    Ok(plan)
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

/// A plan being made: some unique identity is of exactly one customer.
struct Planning<'a> {
    shared: &'a Shared,
    linking: &'a Linking,
    /// The unique identities, the strongest first, with who has them.
    found: Vec<(Named, Option<Holders>)>,
    plan: Plan,
}

impl Planning<'_> {
    /// Who is meant: the one who has the strongest identity. Where nobody has it,
    /// the first of those who have one of the others and whose it may be.
    fn meant(&self, group: &mut Group) -> Result<Option<CustomerKey>, StoreError> {
        let strongest = self.found.iter().find(|(_, holders)| !matches!(holders, Some(Holders::Several(_))));
        let Some((new, holders)) = strongest else { return Ok(None) };
        if let Some(Holders::One(key)) = holders {
            return Ok(Some(*key));
        }
        for key in self.owners() {
            let Some(staged) = group.stage(self.shared, key)? else { continue };
            let profile = staged.profile.clone();
            if self.refuses_new(group, (key, &profile), new)?.is_ok() {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Who has one of the identities alone, each once.
    fn owners(&self) -> Vec<CustomerKey> {
        let mut owners = Vec::new();
        for (_, holders) in &self.found {
            if let Some(Holders::One(key)) = holders
                && !owners.contains(key)
            {
                owners.push(*key);
            }
        }
        owners
    }

    /// Why an identity that nobody has does not become this customer's; else the
    /// devices that have one more person by it. A device alone joins no more
    /// people than it may, by whatever kinds of identity they come.
    fn refuses_new(
        &self,
        group: &Group,
        (key, profile): (CustomerKey, &Profile),
        new: &Named,
    ) -> Result<Result<Vec<IdentityHash>, NotLinked>, StoreError> {
        if self.linking.is_another(&profile.identities, &new.identity) {
            return Ok(Err(NotLinked::Single));
        }
        let of_devices = |one: &Named| self.linking.is_only_device(std::slice::from_ref(&one.identity));
        // who came with this one in the same submission is the same person
        if of_devices(new) || self.plan.kept.iter().any(|one| !of_devices(one)) {
            return Ok(Ok(Vec::new()));
        }
        let theirs = |known: &Holders| known.holds(key) || self.plan.merges.iter().any(|one| known.holds(one.with));
        let links = self.found.iter().filter(|(_, holders)| holders.as_ref().is_some_and(theirs));
        let links: Vec<&Named> = links.map(|(one, _)| one).collect();
        // the first person of a device is one anyway
        if !links.iter().all(|one| of_devices(one)) || self.linking.is_only_device(&profile.identities) {
            return Ok(Ok(Vec::new()));
        }
        let most = u32::from(self.linking.of_type(new.identity.kind).people_max);
        for link in &links {
            let most = most.min(self.linking.of_type(link.identity.kind).people_max.into());
            if self.people(group, link.hash)? + 1 > most {
                return Ok(Err(NotLinked::People));
            }
        }
        Ok(Ok(links.iter().map(|one| one.hash).collect()))
    }

    /// Goes through the identities, the strongest first.
    fn settle(&mut self, group: &mut Group) -> Result<(), StoreError> {
        let mut whole = match self.plan.customer {
            Some(key) => group.stage(self.shared, key)?.map(|staged| staged.profile.clone()).unwrap_or_default(),
            None => Profile::default(),
        };
        for at in 0..self.found.len() {
            let (one, holders) = self.found[at].clone();
            let why = match holders {
                None => self.takes_new(group, &mut whole, &one)?,
                Some(Holders::One(key)) if Some(key) == self.plan.customer => None,
                Some(Holders::One(key)) if self.plan.merges.iter().any(|merge| merge.with == key) => None,
                Some(Holders::One(key)) => self.takes_other(group, &mut whole, key)?,
                Some(Holders::Several(keys)) => {
                    let holds = self.plan.customer.is_some_and(|key| keys.contains(&key));
                    (!holds).then_some(NotLinked::Several)
                }
            };
            match why {
                None => self.plan.kept.push(one),
                Some(why) => self.plan.left_out.push(LeftOut { kind: one.identity.kind, why }),
            }
        }
        Ok(())
    }

    fn takes_new(&mut self, group: &Group, whole: &mut Profile, new: &Named) -> Result<Option<NotLinked>, StoreError> {
        let refused = match self.plan.customer {
            // without a merge the whole write is refused, as too many are
            Some(_) if !self.plan.merges.is_empty() && whole.identities.len() >= IDENTITIES_MAX => {
                Some(NotLinked::Identities)
            }
            Some(key) => match self.refuses_new(group, (key, whole), new)? {
                Ok(devices) => {
                    self.plan.joined_by.extend(devices);
                    None
                }
                Err(why) => Some(why),
            },
            None => self.linking.is_another(&whole.identities, &new.identity).then_some(NotLinked::Single),
        };
        if refused.is_none() {
            whole.identities.push(new.identity.clone());
        }
        Ok(refused)
    }

    /// Whether another customer becomes one with who is meant, who as yet is
    /// `whole`.
    fn takes_other(
        &mut self,
        group: &mut Group,
        whole: &mut Profile,
        other: CustomerKey,
    ) -> Result<Option<NotLinked>, StoreError> {
        let Some(staged) = group.stage(self.shared, other)? else { return Ok(Some(NotLinked::Several)) };
        let other = staged.profile.clone();
        if self.plan.customer.is_none() {
            // somebody new is meant: whoever has this is another person
            let single = other.identities.iter().any(|one| self.linking.is_another(&whole.identities, one));
            return Ok(Some(if single { NotLinked::Single } else { NotLinked::People }));
        }
        if group.are_parted(self.shared, whole, &other)? {
            return Ok(Some(NotLinked::Parted));
        }
        if let Some(why) = too_large(whole, &other, 0) {
            return Ok(Some(why));
        }
        let mut joined = Vec::new();
        if !self.linking.is_only_device(&whole.identities) && !self.linking.is_only_device(&other.identities) {
            if other.identities.iter().any(|one| self.linking.is_another(&whole.identities, one)) {
                return Ok(Some(NotLinked::Single));
            }
            joined = self.involved(&other);
            for hash in &joined {
                let most = self.people_max(*hash);
                if self.people(group, *hash)? + 1 > most {
                    return Ok(Some(NotLinked::People));
                }
            }
        }
        let with = other.key;
        *whole = crate::customer::merge(whole, &other);
        self.plan.merges.push(PlannedMerge { with, joined });
        Ok(None)
    }

    /// The named identities by which two customers are joined: those kept so far
    /// and those of the other one.
    fn involved(&self, other: &Profile) -> Vec<IdentityHash> {
        let theirs = self.found.iter().filter(|(_, holders)| *holders == Some(Holders::One(other.key)));
        let theirs = theirs.map(|(one, _)| one.hash);
        let kept = self.plan.kept.iter().map(|one| one.hash);
        let mut all: Vec<IdentityHash> = kept.chain(theirs).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The people that an identity joins already, those that this plan makes one
    /// included.
    fn people(&self, group: &Group, hash: IdentityHash) -> Result<u32, StoreError> {
        let planned = self.plan.merges.iter().filter(|merge| merge.joined.contains(&hash)).count();
        Ok(group.linked(self.shared, hash)?.max(1).saturating_add(u32::try_from(planned).unwrap_or(u32::MAX)))
    }

    fn people_max(&self, hash: IdentityHash) -> u32 {
        let of = self.found.iter().find(|(one, _)| one.hash == hash).map(|(one, _)| one.identity.kind);
        of.map_or(0, |kind| self.linking.of_type(kind).people_max.into())
    }
}

fn held_by_several(customers: usize) -> String {
    format!("`{customers}` customers share what is named: name the one who is meant by an identity that is only theirs")
}

/// Names of identity types stand in rules, which the store does not know; so
/// their stable ids and positions are told.
pub(super) fn ambiguous(identities: &[Named]) -> String {
    let kinds: Vec<_> = identities.iter().map(|one| format!("`{:08x}`", one.identity.kind.0)).collect();
    format!(
        "the identities (types {}) are of more than one customer: send an event for each, or only identities of one",
        kinds.join(", ")
    )
}
