//! Reading a customer from Redis who has not been read yet: by key in one round
//! trip, by another identity in two. Whoever asks at the same time waits for the
//! same reading.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{OnceCell, oneshot};

use crate::domain::{CustomerKey, EventId, IdentityHash};

use super::super::{
    Receipt, Remote, Store, StoreError, Submission, Target,
    redis::{
        Failure,
        scripts_replicas::{self, READ_CUSTOMER},
    },
    row_seal::RowKey,
    writer,
};
use super::{Presence, adopt::Adopted, fold::CALL, take_in::Command, value::Value};

/// How long a write waits for Redis to have it before it is acknowledged.
const SHARED_WAIT: Duration = Duration::from_millis(20);
/// Customers read at the same time.
const READ_LEN: usize = 128;
/// Customers on the way from one that was taken in to who lives on.
const HOPS_MAX: usize = 16;

type Reading = Arc<OnceCell<bool>>;

/// Who is being read.
#[derive(Default)]
pub(super) struct Readings(Mutex<HashMap<CustomerKey, Reading>>);

impl Readings {
    fn enter(&self, key: CustomerKey) -> Reading {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }

    fn leave(&self, key: CustomerKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

/// What Redis has of a customer.
pub(super) enum Found {
    Customer(Box<Adopted>),
    Moved(CustomerKey),
    Erased,
    Nothing,
}

impl Store {
    /// Reads whom an identity names, if this replica may not have read that
    /// customer yet. Nothing happens when Redis is away.
    pub(in crate::store) async fn read_by_identity(&self, hash: IdentityHash) {
        let Some(remote) = self.joining() else { return };
        let (alias, lookups) = (remote.keys.alias(hash), &self.shared.replicas.lookups);
        let cell = lookups.enter(CustomerKey(hash.0));
        cell.get_or_init(|| async {
            if let Ok(Some(key)) = remote.client.get(&alias, Instant::now() + CALL).await
                && let Ok(key) = <[u8; 16]>::try_from(key)
            {
                return self.read_by_key(CustomerKey(u128::from_be_bytes(key))).await;
            }
            true
        })
        .await;
        lookups.leave(CustomerKey(hash.0));
    }

    /// Reads a customer, if this replica may not have read it yet; false when that
    /// failed.
    pub(in crate::store) async fn read_by_key(&self, key: CustomerKey) -> bool {
        let Some(remote) = self.joining() else { return true };
        let readings = &self.shared.replicas.readings;
        let cell = readings.enter(key);
        let read = *cell
            .get_or_init(|| async {
                let mut next = key;
                for _ in 0..HOPS_MAX {
                    match self.find_in_redis(remote, next).await {
                        Ok(Found::Customer(adopted)) => {
                            self.shared.replicas.counts.read_through.fetch_add(1, Relaxed);
                            self.adopt(vec![*adopted]).await;
                            return true;
                        }
                        Ok(Found::Moved(to)) => next = to,
                        Ok(Found::Erased) => {
                            self.forget_erased(next).await;
                            return true;
                        }
                        Ok(Found::Nothing) => return true,
                        Err(_) => return false,
                    }
                }
                true
            })
            .await;
        readings.leave(key);
        read
    }

    /// Answers those that must be read again.
    pub(super) async fn adopt(&self, customers: Vec<Adopted>) -> Vec<CustomerKey> {
        let all: Vec<CustomerKey> = customers.iter().map(|customer| customer.profile.key).collect();
        let (reply, answer) = oneshot::channel();
        match self.send(writer::Command::Replica(Command::Adopt { customers, reply })).await {
            true => answer.await.unwrap_or(all),
            false => all,
        }
    }

    /// What Redis has of a customer.
    pub(super) async fn find_in_redis(&self, remote: &Remote, key: CustomerKey) -> Result<Found, ReadError> {
        // before it is read: what comes later may be missing in it
        let (shipped, applied) = (self.shared.replicas.shipped(), self.shared.replicas.applied_now());
        let (value, ids) = (remote.keys.profile(key), remote.keys.held_events(key));
        let answer = remote.client.script(&READ_CUSTOMER, &[&value, &ids], &[], Instant::now() + CALL).await?;
        let (Some(value), ids) = scripts_replicas::read_customer(&answer)? else { return Ok(Found::Nothing) };
        Ok(match Value::open(&RowKey::of(&self.shared.store_key), key, &value.blob)? {
            Value::Profile(profile) => {
                let id = |id: Vec<u8>| Some(EventId(u128::from_be_bytes(id.try_into().ok()?)));
                let ids = ids.into_iter().filter_map(id).collect();
                Found::Customer(Box::new(Adopted { profile, ids, shipped, applied }))
            }
            Value::Moved(to) => Found::Moved(to),
            Value::Erased => Found::Erased,
        })
    }

    /// Reads those of customers whom this replica does not know and may not have
    /// read yet: what happens to them now is not all that happened; false when some
    /// could not be read.
    pub(super) async fn read_unknown(&self, customers: Vec<CustomerKey>) -> bool {
        if self.joining().is_none() {
            return true;
        }
        let unknown = self.unknown_of(&customers).await;
        let mut read = true;
        for some in unknown.chunks(READ_LEN) {
            read &= join_all(some.iter().map(|key| self.read_by_key(*key))).await.into_iter().all(|read| read);
        }
        read
    }

    /// A customer was erased while this replica did not listen.
    pub(super) async fn forget_erased(&self, key: CustomerKey) {
        let (reply, answer) = oneshot::channel();
        if self.send(writer::Command::Replica(Command::Forget { key, reply })).await {
            let _ = answer.await;
        }
    }

    /// The shared store, while there may be customers that were not read yet.
    fn joining(&self) -> Option<&Remote> {
        self.remote.as_ref().filter(|_| self.shared.replicas.presence() == Presence::Joining)
    }

    /// Reads everybody whom submissions name, so that the writer knows them.
    pub(in crate::store) async fn read_named(&self, batch: &[Submission]) {
        if self.joining().is_none() {
            return;
        }
        for submission in batch {
            match &submission.target {
                Target::Identities(identities) => {
                    let _ = self.resolve(identities).await;
                    for identity in identities {
                        if matches!(self.shared.aliases.get(identity.hash), None | Some(None)) {
                            self.read_by_identity(identity.hash).await;
                        }
                    }
                }
                Target::Customer(key) => {
                    if !matches!(self.profile(*key).await, Ok(Some(_))) {
                        self.read_by_key(*key).await;
                    }
                }
                Target::Anonymous => {}
            }
        }
    }

    /// Waits a little until what was written is in Redis, when Redis is there.
    pub(in crate::store) async fn until_shared(&self, receipts: &[Receipt]) {
        let Some(remote) = &self.remote else { return };
        let last = receipts.iter().map(|receipt| receipt.sequence).max().unwrap_or(0);
        if last > 0 && remote.client.health().is_up() {
            self.wait_shipped(last, SHARED_WAIT).await;
        }
    }
}

/// Why a customer cannot be read now.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Redis(#[from] Failure),
    #[error(transparent)]
    Store(#[from] StoreError),
}
