//! Customers in Redis, changed by compare-and-set: read, apply, write if nobody
//! else did, else read again. Each thing applied has an id that Redis remembers
//! with the customer, so that it counts once however often it is tried.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::customer;
use crate::domain::{ArmKey, CustomerKey, EventId, Profile, profile::ABSORBED_MAX};

use super::super::{
    Remote, StoreError,
    redis::{
        Failure, Version, Versioned,
        address::Layout,
        scripts_replicas::{self, FORGET_ENTRIES, READ_CUSTOMER, SHIP, Shipped},
    },
    row_seal::{Nonces, RowKey},
    shared::Shared,
};
use super::{entry::Entry, restore::Held, value::Value};

/// How long an id is remembered with a customer, milliseconds.
pub(super) const IDS_KEPT_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// About how many entries the stream keeps. A replica that was away for longer
/// reads every customer again.
pub const STREAM_LEN_MAX: u64 = 200_000;
/// How long one call may take.
pub(super) const CALL: Duration = Duration::from_millis(500);
/// Most races lost in a row before it is tried again later.
pub(super) const RACES_MAX: usize = 64;
/// Most values kept with their versions, so that they need not be read.
const CACHED_MAX: usize = 16_384;
/// Entries looked at in one step of forgetting.
const FORGET_LEN: &[u8] = b"1000";

/// Why something could not be shipped now.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotShipped {
    #[error(transparent)]
    Redis(#[from] Failure),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("another replica was faster {RACES_MAX} times in a row")]
    Raced,
}

/// A customer as Redis has it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: Version,
    pub(super) value: Option<Value>,
}

/// What is done to a customer at once.
#[derive(Clone, Debug)]
pub(super) struct Told {
    id: EventId,
    sequence: u64,
    /// What the others are told; empty when they are not.
    pub(super) entry: Vec<u8>,
}

/// How a change of one customer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// It is there, and so are those that were before.
    Done { again: usize },
    /// The customer was taken in by this one.
    Moved(CustomerKey),
}

/// Changes customers in Redis.
pub(super) struct Fold {
    pub remote: Remote,
    pub seal: RowKey,
    pub nonces: Nonces,
    /// What this replica has itself.
    shared: Arc<Shared>,
    cached: HashMap<CustomerKey, Known>,
    /// Times another replica was faster.
    pub races_lost: u64,
}

impl Fold {
    pub fn new(remote: Remote, shared: Arc<Shared>) -> Result<Self, StoreError> {
        let (seal, nonces) = (RowKey::of(&shared.store_key), Nonces::new()?);
        Ok(Self { remote, seal, nonces, shared, cached: HashMap::new(), races_lost: 0 })
    }

    /// What is cached may not be so any more.
    pub fn forget(&mut self) {
        self.cached.clear();
    }

    fn in_one_script(&self) -> bool {
        !matches!(self.remote.client.address().layout, Layout::Cluster(_))
    }

    /// Applies entries of one customer, in order: events.
    pub async fn apply(
        &mut self,
        customer: CustomerKey,
        entries: &[(&Entry, &crate::domain::Event)],
    ) -> Result<Folded, NotShipped> {
        let mut told = Vec::with_capacity(entries.len());
        for (entry, event) in entries {
            told.push((*event, self.told(entry)?));
        }
        let mut again = Vec::new();
        for _ in 0..RACES_MAX {
            if told.is_empty() {
                break;
            }
            let mut known = self.known(customer).await?;
            if known.value.is_none() && self.restore_lost(customer, entries.len()).await? {
                known = self.known_now(customer).await?;
            }
            let mut profile = match known.value {
                Some(Value::Moved(to)) => return Ok(Folded::Moved(to)),
                Some(Value::Erased) => return Ok(Folded::Done { again: entries.len() }),
                Some(Value::Profile(profile)) => profile,
                None => Box::new(new_profile(customer)),
            };
            for (event, _) in &told {
                let _ = customer::apply(&mut profile, event);
            }
            let new = Value::Profile(profile);
            let tells: Vec<&Told> = told.iter().map(|(_, told)| told).collect();
            match self.swap((customer, known.version), new, &tells).await? {
                None => told.clear(),
                Some(known) => {
                    let (held, rest) = std::mem::take(&mut told)
                        .into_iter()
                        .enumerate()
                        .partition::<Vec<_>, _>(|(place, _)| known.contains(place));
                    told = rest.into_iter().map(|(_, one)| one).collect();
                    again.extend(held.into_iter().map(|(_, (_, one))| one));
                }
            }
        }
        if !told.is_empty() {
            return Err(NotShipped::Raced);
        }
        // what Redis holds already may never have been told: known by its id, it counts once
        for one in &again {
            self.tell(one, Some(customer)).await?;
        }
        Ok(Folded::Done { again: again.len() })
    }

    /// Gives Redis a customer whom it lost: one of whom this replica has more than
    /// what is being shipped.
    async fn restore_lost(&mut self, customer: CustomerKey, shipping: usize) -> Result<bool, NotShipped> {
        let (shared, key) = (Arc::clone(&self.shared), customer);
        let held = super::super::blocking(move || shared.held(key)).await?;
        match held {
            Some(held) if held.profile.version > shipping as u64 => self.put_back(customer, held).await,
            _ => Ok(false),
        }
    }

    /// Gives Redis a customer whom it lost; false where there is none to give.
    pub async fn restore(&mut self, customer: CustomerKey) -> Result<bool, NotShipped> {
        self.restore_lost(customer, 0).await
    }

    async fn put_back(&mut self, customer: CustomerKey, held: Held) -> Result<bool, NotShipped> {
        let told = |id| Told { id, sequence: 0, entry: Vec::new() };
        let told: Vec<Told> = held.ids.into_iter().map(told).collect();
        let tells: Vec<&Told> = told.iter().collect();
        let names: Vec<_> =
            held.profile.identities.iter().map(|one| self.shared.hasher.identity(one.kind, &one.value)).collect();
        let put = self.swap((customer, Version::default()), Value::Profile(Box::new(held.profile)), &tells).await?;
        super::ship::name(self, customer, &names).await?;
        Ok(put.is_none())
    }

    /// Tells the others what belongs to no customer.
    pub async fn tell_of_nobody(&mut self, entry: &Entry) -> Result<(), NotShipped> {
        let told = self.told(entry)?;
        self.tell(&told, None).await
    }

    /// Removes the entries of a customer from the stream.
    pub(super) async fn forget_entries(&mut self, customer: CustomerKey) -> Result<(), NotShipped> {
        let (log, of) = (self.remote.keys.log(), customer.0.to_be_bytes());
        let mut from = b"-".to_vec();
        loop {
            let deadline = Instant::now() + CALL;
            let answer =
                self.remote.client.script(&FORGET_ENTRIES, &[&log], &[&from, &of, FORGET_LEN], deadline).await?;
            match answer {
                redis::Value::BulkString(last) => from = last,
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn told(&mut self, entry: &Entry) -> Result<Told, StoreError> {
        Ok(Told { id: entry.id(), sequence: entry.sequence, entry: entry.seal(&self.seal, &mut self.nonces)? })
    }

    /// Who lives on for a customer.
    pub(super) async fn living(&mut self, mut customer: CustomerKey) -> Result<(CustomerKey, Known), NotShipped> {
        for _ in 0..2 * ABSORBED_MAX {
            let known = self.known_now(customer).await?;
            match known.value {
                Some(Value::Moved(to)) => customer = to,
                _ => return Ok((customer, known)),
            }
        }
        Err(NotShipped::Raced)
    }

    /// What is cached is taken out: it comes back once Redis has the next.
    async fn known(&mut self, customer: CustomerKey) -> Result<Known, NotShipped> {
        match self.cached.remove(&customer) {
            Some(known) => Ok(known),
            None => self.known_now(customer).await,
        }
    }

    pub(super) async fn known_now(&mut self, customer: CustomerKey) -> Result<Known, NotShipped> {
        let key = self.remote.keys.profile(customer);
        let value = self.remote.client.get(&key, Instant::now() + CALL).await?;
        let value = value.map(|value| Versioned::decode(&value)).transpose()?;
        self.remember(customer, value)
    }

    fn remember(&mut self, customer: CustomerKey, value: Option<Versioned>) -> Result<Known, NotShipped> {
        let known = match value {
            Some(Versioned { version, blob }) => {
                Known { version, value: Some(Value::open(&self.seal, customer, &blob)?) }
            }
            None => Known { version: Version::default(), value: None },
        };
        self.cache(customer, known.clone());
        Ok(known)
    }

    fn cache(&mut self, customer: CustomerKey, known: Known) {
        if self.cached.len() >= CACHED_MAX {
            self.cached.clear();
        }
        self.cached.insert(customer, known);
    }

    /// The ids that a customer holds.
    pub(super) async fn held(&mut self, customer: CustomerKey) -> Result<Vec<Told>, NotShipped> {
        let (value, ids) = (self.remote.keys.profile(customer), self.remote.keys.held_events(customer));
        let answer = self.remote.client.script(&READ_CUSTOMER, &[&value, &ids], &[], Instant::now() + CALL).await?;
        let (_, ids) = scripts_replicas::read_customer(&answer)?;
        let id = |id: Vec<u8>| Some(EventId(u128::from_be_bytes(id.try_into().ok()?)));
        Ok(ids.into_iter().filter_map(id).map(|id| Told { id, sequence: 0, entry: Vec::new() }).collect())
    }

    /// `None` when it won; else what of it was there already.
    pub(super) async fn swap(
        &mut self,
        (customer, version): (CustomerKey, Version),
        new: Value,
        told: &[&Told],
    ) -> Result<Option<Vec<usize>>, NotShipped> {
        let blob = new.seal(&self.seal, &mut self.nonces, customer)?;
        let next = version.next();
        let value = Versioned { version: next, blob }.encode();
        let (expected, kept_ms) = (version.expected(), IDS_KEPT_MS.to_string());
        let (len_max, origin) = (STREAM_LEN_MAX.to_string(), self.remote.replica.0.to_be_bytes());
        let of = customer.0.to_be_bytes();
        let ids: Vec<([u8; 16], [u8; 8])> =
            told.iter().map(|one| (one.id.0.to_be_bytes(), one.sequence.to_be_bytes())).collect();
        let mut arguments: Vec<&[u8]> = vec![&expected, &value, kept_ms.as_bytes(), len_max.as_bytes(), &origin, &of];
        for (one, (id, sequence)) in told.iter().zip(&ids) {
            arguments.extend([&id[..], &sequence[..], &one.entry[..]]);
        }
        let (profile, held, log) =
            (self.remote.keys.profile(customer), self.remote.keys.held_events(customer), self.remote.keys.log());
        let mut keys: Vec<&[u8]> = vec![&profile, &held];
        if self.in_one_script() {
            keys.push(&log);
        }
        // INVARIANT: what is cached is what Redis has, or is found out by a lost race
        self.cached.remove(&customer);
        let answer = self.remote.client.script(&SHIP, &keys, &arguments, Instant::now() + CALL).await?;
        match Shipped::read(answer)? {
            Shipped::Won => {
                if !self.in_one_script() {
                    for one in told.iter().filter(|one| !one.entry.is_empty()) {
                        self.tell(one, Some(customer)).await?;
                    }
                }
                self.cache(customer, Known { version: next, value: Some(new) });
                Ok(None)
            }
            Shipped::Lost { value, known } => {
                self.races_lost += u64::from(known.is_empty());
                self.remember(customer, value)?;
                Ok(Some(known))
            }
        }
    }

    pub(super) async fn tell(&mut self, told: &Told, customer: Option<CustomerKey>) -> Result<(), NotShipped> {
        let (origin, sequence) = (self.remote.replica.0.to_be_bytes(), told.sequence.to_be_bytes());
        let of = customer.map_or([0; 16], |key| key.0.to_be_bytes());
        let fields: [(&[u8], &[u8]); 4] = [(b"o", &origin), (b"s", &sequence), (b"c", &of), (b"e", &told.entry)];
        self.add(&fields).await
    }

    /// Says that everything between two sequences of this replica was told.
    pub async fn tell_upto(&mut self, from: u64, upto: u64) -> Result<(), NotShipped> {
        let (origin, from, upto) = (self.remote.replica.0.to_be_bytes(), from.to_be_bytes(), upto.to_be_bytes());
        self.add(&[(b"o", &origin), (b"f", &from), (b"u", &upto)]).await
    }

    async fn add(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), NotShipped> {
        let trim = Some(super::super::redis::Trim::MaxLen(STREAM_LEN_MAX));
        self.remote.client.xadd(&self.remote.keys.log(), trim, fields, Instant::now() + CALL).await?;
        Ok(())
    }
}

pub(super) fn profile_of(known: &Known) -> Option<&Profile> {
    match &known.value {
        Some(Value::Profile(profile)) => Some(profile),
        _ => None,
    }
}

fn new_profile(key: CustomerKey) -> Profile {
    Profile { key, arm_key: ArmKey(key.0), ..Profile::default() }
}
