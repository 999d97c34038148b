//! Who holds an identity: as a rule one customer, of a shared one several.
//!
//! Whether an identity is shared is what the rules say at the time; who holds it
//! is state. So a type may be declared otherwise without anything being moved:
//! the first holder stands in the table of aliases, the others in a second one.

use std::sync::Arc;

use crate::domain::{CustomerKey, Identity, IdentityTypeId, Profile, Sharing};

use super::{Presence, Resolved, Store, StoreError, blocking};

/// Most customers kept as holders of one identity. A further one keeps it in the
/// profile, but is not found by it.
pub const HOLDERS_MAX: usize = 100;

/// Bytes of a key at rest.
const KEY_BYTES: usize = 16;

/// The customers that hold an identity, in the order in which they got it.
/// INVARIANT: at least one, at most [`HOLDERS_MAX`], each once; one is taken out
/// only where a merge, or taking it back, puts another in its place, and when it
/// is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    One(CustomerKey),
    Several(Arc<[CustomerKey]>),
}

impl Holders {
    /// The first one and the others, as they are at rest.
    pub fn read(first: CustomerKey, others: &[u8]) -> Self {
        let (others, _) = others.as_chunks::<KEY_BYTES>();
        if others.is_empty() {
            return Holders::One(first);
        }
        let others = others.iter().map(|bytes| CustomerKey(u128::from_le_bytes(*bytes)));
        Holders::Several(std::iter::once(first).chain(others).collect())
    }

    /// All but the first one, as they are at rest.
    pub fn write_others(&self) -> Vec<u8> {
        self.all().iter().skip(1).flat_map(|key| key.0.to_le_bytes()).collect()
    }

    pub fn all(&self) -> &[CustomerKey] {
        match self {
            Holders::One(key) => std::slice::from_ref(key),
            Holders::Several(keys) => keys,
        }
    }

    pub fn holds(&self, key: CustomerKey) -> bool {
        self.all().contains(&key)
    }

    /// With one more; `None` when there are too many.
    pub fn with(&self, key: CustomerKey) -> Option<Self> {
        let keys = self.all();
        (keys.len() < HOLDERS_MAX).then(|| Holders::Several(keys.iter().copied().chain([key]).collect()))
    }

    /// Without these; `None` when nobody is left.
    pub fn without(&self, gone: &[CustomerKey]) -> Option<Self> {
        let left: Vec<_> = self.all().iter().copied().filter(|key| !gone.contains(key)).collect();
        match *left {
            [] => None,
            [key] => Some(Holders::One(key)),
            _ => Some(Holders::Several(left.into())),
        }
    }

    /// With others in the place of some, each once.
    pub fn map(self, live: impl Fn(CustomerKey) -> CustomerKey) -> Self {
        if self.all().iter().all(|key| live(*key) == *key) {
            return self;
        }
        let mut keys: Vec<CustomerKey> = Vec::with_capacity(self.all().len());
        for key in self.all() {
            let key = live(*key);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        match *keys {
            [key] => Holders::One(key),
            _ => Holders::Several(keys.into()),
        }
    }

    /// Who holds both; `None` for nobody.
    pub fn common(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Holders::One(key), many) | (many, Holders::One(key)) => many.holds(*key).then_some(Holders::One(*key)),
            (Holders::Several(keys), many) => {
                let both: Arc<[CustomerKey]> = keys.iter().copied().filter(|key| many.holds(*key)).collect();
                match *both {
                    [] => None,
                    [key] => Some(Holders::One(key)),
                    _ => Some(Holders::Several(both)),
                }
            }
        }
    }
}

/// Whether nothing is known of a customer but identities of these types, which
/// are shared: the first unique identity that comes with one of them is then
/// theirs. The store does not know the rules, so the types are those that come
/// along: who is also known by a shared identity of another type stays apart.
pub fn has_only(profile: &Profile, shared: &[IdentityTypeId]) -> bool {
    profile.identities.iter().all(|identity| shared.contains(&identity.kind))
}

/// Whom identities name together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Who holds all that anybody holds.
    By(Holders),
    /// Nobody holds any.
    Nobody,
    /// Each is held, but all by nobody.
    Apart,
}

/// Whom identities name. A unique one decides; shared ones only where there is
/// no unique one. `holders` finds who holds one.
///
/// # Errors
/// Those of `holders`.
pub(super) fn named<T, E>(
    identities: &[T],
    sharing: impl Fn(&T) -> Sharing,
    mut holders: impl FnMut(&T) -> Result<Option<Holders>, E>,
) -> Result<Named, E> {
    let unique = identities.iter().any(|one| sharing(one) == Sharing::Unique);
    let mut named = Named::Nobody;
    for identity in identities.iter().filter(|one| !unique || sharing(one) == Sharing::Unique) {
        let Some(found) = holders(identity)? else { continue };
        let common = match &named {
            Named::By(known) => known.common(&found),
            Named::Nobody | Named::Apart => Some(found),
        };
        let Some(common) = common else { return Ok(Named::Apart) };
        named = Named::By(common);
    }
    Ok(named)
}

/// What identities stand for.
///
/// # Errors
/// Those of `holders`.
pub(super) fn resolve<E>(
    identities: &[Identity],
    holders: impl FnMut(&Identity) -> Result<Option<Holders>, E>,
) -> Result<Resolved, E> {
    Ok(match named(identities, |identity| identity.sharing, holders)? {
        Named::By(Holders::One(key)) => Resolved::Known(key),
        Named::Nobody => Resolved::Unknown,
        Named::By(Holders::Several(_)) | Named::Apart => Resolved::Ambiguous,
    })
}

impl Store {
    /// What the identities stand for, as far as memory knows.
    pub fn resolve_hot(&self, identities: &[Identity]) -> Resolved {
        match self.shared.aliases.resolve(identities) {
            // while a merge moves identities, some may name who was taken in
            Resolved::Ambiguous => {
                self.shared.aliases.resolve_with(identities, |holders| self.shared.live_holders(holders))
            }
            // whom nobody has here somebody may have whom this replica has not read yet
            Resolved::Unknown if self.presence() == Presence::Joining => Resolved::NotLoaded,
            known => known,
        }
    }

    /// What the identities stand for. Never [`Resolved::NotLoaded`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn resolve(&self, identities: &[Identity]) -> Result<Resolved, StoreError> {
        match self.resolve_hot(identities) {
            Resolved::NotLoaded => {}
            known => return Ok(known),
        }
        let found = self.resolve_here(identities).await?;
        if found != Resolved::Unknown || self.presence() != Presence::Joining {
            return Ok(found);
        }
        for identity in identities {
            self.read_by_identity(identity.hash).await;
        }
        self.resolve_here(identities).await
    }

    /// The same of customers whom this replica has.
    async fn resolve_here(&self, identities: &[Identity]) -> Result<Resolved, StoreError> {
        let (identities, shared) = (identities.to_vec(), Arc::clone(&self.shared));
        blocking(move || {
            resolve(&identities, |identity| Ok(shared.holders(identity.hash)?.map(|h| shared.live_holders(h))))
        })
        .await
    }

    /// Everybody who holds an identity, at most [`HOLDERS_MAX`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn holders(&self, identity: &Identity) -> Result<Vec<CustomerKey>, StoreError> {
        let keys = |holders: Option<Holders>| holders.map_or_else(Vec::new, |h| h.all().to_vec());
        if let Some(known) = self.shared.aliases.get(identity.hash) {
            return Ok(keys(known));
        }
        let (hash, shared) = (identity.hash, Arc::clone(&self.shared));
        blocking(move || shared.holders(hash)).await.map(keys)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn of(keys: &[u128]) -> Option<Holders> {
        let (first, others) = keys.split_first()?;
        let mut holders = Holders::One(CustomerKey(*first));
        for key in others {
            holders = holders.with(CustomerKey(*key)).unwrap();
        }
        Some(holders)
    }

    fn resolved(identities: &[(Sharing, &[u128])]) -> Resolved {
        let found = |(_, keys): &(Sharing, &[u128])| Ok::<_, Infallible>(of(keys));
        match named(identities, |one| one.0, found) {
            Ok(Named::By(Holders::One(key))) => Resolved::Known(key),
            Ok(Named::Nobody) => Resolved::Unknown,
            Ok(Named::By(Holders::Several(_)) | Named::Apart) => Resolved::Ambiguous,
            Err(never) => match never {},
        }
    }

    #[test]
    fn a_unique_identity_decides_and_shared_ones_must_agree() {
        use Sharing::{Shared, Unique};
        let known = |key| Resolved::Known(CustomerKey(key));
        for (identities, wanted) in [
            (&[(Unique, &[1][..])][..], known(1)),
            (&[(Unique, &[1]), (Unique, &[2])], Resolved::Ambiguous),
            (&[(Unique, &[]), (Unique, &[2])], known(2)),
            // a type that was shared before it was declared unique
            (&[(Unique, &[1, 2])], Resolved::Ambiguous),
            (&[(Unique, &[1, 2]), (Unique, &[2])], known(2)),
            (&[(Shared, &[1, 2]), (Unique, &[2])], known(2)),
            (&[(Shared, &[1]), (Unique, &[2])], known(2)),
            (&[(Shared, &[1]), (Unique, &[])], Resolved::Unknown),
            (&[(Shared, &[1])], known(1)),
            (&[(Shared, &[1, 2])], Resolved::Ambiguous),
            (&[(Shared, &[1, 2]), (Shared, &[2, 3])], known(2)),
            (&[(Shared, &[1, 2, 3]), (Shared, &[2, 3])], Resolved::Ambiguous),
            (&[(Shared, &[1]), (Shared, &[2])], Resolved::Ambiguous),
            (&[(Shared, &[1]), (Shared, &[])], known(1)),
            (&[(Shared, &[])], Resolved::Unknown),
            (&[], Resolved::Unknown),
        ] {
            assert_eq!(resolved(identities), wanted, "{identities:?}");
        }
    }

    #[test]
    fn holders_are_bounded_and_come_back_from_rest() {
        let keys: Vec<u128> = (1..=HOLDERS_MAX as u128).collect();
        let full = of(&keys).unwrap();
        assert_eq!(full.with(CustomerKey(0)), None);
        assert_eq!(Holders::read(CustomerKey(1), &full.write_others()), full);
        let one = Holders::One(CustomerKey(9));
        assert_eq!(Holders::read(CustomerKey(9), &one.write_others()), one);
    }
}
