//! What the rules say of identity types, as far as it decides who becomes one
//! customer. The store does not know the rules: `app` hands this over whenever
//! other rules become active. What came of it stands in the log, so that a
//! recovery never asks it.

use std::collections::HashMap;

use crate::domain::{
    CustomerKey, Identity, IdentityHash, IdentityTypeId, MergeId, Profile, Schema, Sharing, StoredIdentity, Timestamp,
    schema::{IdentityBearer, PEOPLE_MAX},
};

use super::{
    MergeCause, Store, StoreError,
    appender::Appender,
    group::Group,
    log::RecordKind,
    merge_record::{self, ChangeBody, ChangeHead, CustomerChange},
    seal::DataKey,
    shared::Shared,
};

/// What the rules say of every identity type.
#[derive(Clone, Debug, Default)]
pub struct Linking(HashMap<IdentityTypeId, TypeLinking>);

/// What the rules say of an identity type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeLinking {
    /// Its place in the order of declaration.
    pub place: u16,
    /// Whether several customers may hold one.
    pub sharing: Sharing,
    /// What has one.
    pub bearer: IdentityBearer,
    /// Whether a person has at most one.
    pub single: bool,
    /// Most people that one value may join.
    pub people_max: u16,
}

/// Of a type that the rules do not have.
const UNDECLARED: TypeLinking = TypeLinking {
    place: u16::MAX,
    sharing: Sharing::Unique,
    bearer: IdentityBearer::Person,
    single: false,
    people_max: PEOPLE_MAX,
};

impl Linking {
    /// As these rules say.
    pub fn of(schema: &Schema) -> Self {
        let types = schema.identities.iter().enumerate().map(|(place, def)| {
            let place = u16::try_from(place).unwrap_or(u16::MAX);
            let (sharing, bearer) = (def.sharing, def.bearer);
            (def.id, TypeLinking { place, sharing, bearer, single: def.single, people_max: def.people_max })
        });
        Self(types.collect())
    }

    /// Of types, each with what is said of it.
    pub fn of_types(types: impl IntoIterator<Item = (IdentityTypeId, TypeLinking)>) -> Self {
        Self(types.into_iter().collect())
    }

    /// What is said of a type.
    pub fn of_type(&self, kind: IdentityTypeId) -> TypeLinking {
        self.0.get(&kind).copied().unwrap_or(UNDECLARED)
    }

    /// Orders identities by how much they say of who is meant, the strongest
    /// first: those of persons before those of devices, then as declared.
    pub(super) fn strength(&self, kind: IdentityTypeId) -> (bool, u16) {
        let said = self.of_type(kind);
        (said.bearer == IdentityBearer::Device, said.place)
    }

    /// Whether identities name a device and nobody else.
    pub(super) fn is_only_device(&self, identities: &[StoredIdentity]) -> bool {
        let device = |one: &StoredIdentity| self.of_type(one.kind).bearer == IdentityBearer::Device;
        !identities.is_empty() && identities.iter().all(device)
    }

    /// Whether a value of a type that a person has once is not the one that is
    /// known already.
    pub(super) fn is_another(&self, known: &[StoredIdentity], new: &StoredIdentity) -> bool {
        let differs = |one: &StoredIdentity| one.kind == new.kind && one.value != new.value;
        self.of_type(new.kind).single && known.iter().any(differs)
    }
}

/// Why customers that were named together did not become one. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum NotLinked {
    /// A person has one value of a type, and there are two.
    Single = 0,
    /// An identity joined as many people as it may.
    People = 1,
    /// They would have too many identities.
    Identities = 2,
    /// Too many customers would have become one.
    Absorbed = 3,
    /// Somebody parted them.
    Parted = 4,
    /// Several customers hold the identity.
    Several = 5,
    /// Who had it was erased after this happened.
    Erased = 6,
}

impl NotLinked {
    /// Every reason, in order of its number.
    pub const ALL: [NotLinked; 7] = [
        NotLinked::Single,
        NotLinked::People,
        NotLinked::Identities,
        NotLinked::Absorbed,
        NotLinked::Parted,
        NotLinked::Several,
        NotLinked::Erased,
    ];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            NotLinked::Single => "single",
            NotLinked::People => "people",
            NotLinked::Identities => "identities",
            NotLinked::Absorbed => "absorbed",
            NotLinked::Parted => "parted",
            NotLinked::Several => "several",
            NotLinked::Erased => "erased",
        }
    }
}

/// An identity that a submission named and that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its type.
    pub kind: IdentityTypeId,
    /// Why.
    pub why: NotLinked,
}

impl Store {
    /// Takes what the rules say of identity types from now on.
    pub fn link_by(&self, linking: Linking) {
        self.shared.linking.store(std::sync::Arc::new(linking));
    }

    /// Whether a customer has nothing but what names devices.
    pub fn is_only_device(&self, profile: &Profile) -> bool {
        self.shared.linking.load().is_only_device(&profile.identities)
    }
}

/// One more person becomes a customer's by devices alone: the log first, then
/// the group counts them.
pub(super) fn join(
    shared: &Shared,
    log: &mut Appender,
    group: &mut Group,
    (key, devices, at): (CustomerKey, Vec<IdentityHash>, Timestamp),
) -> Result<(), StoreError> {
    let Some(staged) = group.stage(shared, key)? else { return Ok(()) };
    let customer = staged.profile.key;
    let head = ChangeHead { change: CustomerChange::Joined, survivor: customer, absorbed: customer };
    let body = ChangeBody { id: MergeId(0), cause: MergeCause::Identified, reason: Box::default(), joined: devices };
    log.joined(head, at, (&body, &staged.data_key))?;
    group.records += 1;
    group.count_people(shared, &body.joined)
}

impl Group {
    /// Counts one more person whom each of these identities joined.
    pub fn count_people(&mut self, shared: &Shared, joined: &[IdentityHash]) -> Result<(), StoreError> {
        for hash in joined {
            let people = self.linked(shared, *hash)?.max(1) + 1;
            self.unions.linked.insert(*hash, people);
        }
        Ok(())
    }
}

impl Appender {
    fn joined(
        &mut self,
        head: ChangeHead,
        at: Timestamp,
        (body, key): (&ChangeBody, &DataKey),
    ) -> Result<(), StoreError> {
        self.begin(at);
        let payload = merge_record::encode(head, body, (key, self.log.next_sequence()))?;
        self.log.append(RecordKind::Customer, at, &payload);
        Ok(())
    }
}

/// The part of an identity that a customer keeps.
pub(super) fn stored(identity: &Identity) -> StoredIdentity {
    StoredIdentity { kind: identity.kind, value: identity.value.clone() }
}
