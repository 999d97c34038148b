//! Joining: reading everybody from Redis once, so that this replica has all that
//! was written before it came, or while it was away for too long. What is written
//! meanwhile comes by the stream; until it is through, who is asked for and not
//! known here is read at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::domain::CustomerKey;

use super::super::{
    Remote, Store, blocking,
    redis::{Failure, Outage, address::Layout},
};
use super::{
    Presence,
    fold::CALL,
    read_through::{Found, ReadError},
};

/// Keys asked for in one step.
const SCAN_LEN: usize = 1_000;
/// Customers read at the same time.
const READ_LEN: usize = 128;
/// How long to wait when Redis does not answer.
const RETRY: Duration = Duration::from_millis(250);

impl Store {
    /// Reads everybody whenever that is needed, until the service stops. To be run
    /// once, and again when it panics. Ends at once when there are no others.
    pub async fn join(&self) {
        let Some(remote) = self.remote.clone() else { return };
        let state = &self.shared.replicas;
        loop {
            while state.presence() != Presence::Joining {
                state.joins.notified().await;
                if self.shared.followers.has_ended() {
                    return;
                }
            }
            // the stream must be read from before, so that nothing falls between
            while !self.reads_stream() {
                tokio::time::sleep(RETRY / 10).await;
                if self.shared.followers.has_ended() {
                    return;
                }
            }
            if remote.is_foreign() {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            if matches!(remote.client.address().layout, Layout::Cluster(_)) {
                self.join_cluster(&remote).await;
                continue;
            }
            match self.read_everybody(&remote).await {
                Ok(read) => {
                    tracing::info!(customers = read, "every customer in redis was read");
                    state.joined();
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// In a cluster keys are listed server by server: those whom this replica has are
    /// read again, the others as they are asked for.
    async fn join_cluster(&self, remote: &Remote) {
        self.shared.replicas.reads_as_asked();
        let mut after = None;
        while self.shared.replicas.is_joining_again() {
            let shared = Arc::clone(&self.shared);
            let piece = blocking(move || shared.mended(shared.embedded.piece_after(after, SCAN_LEN))).await;
            let Ok(piece) = piece else { return tokio::time::sleep(RETRY).await };
            match piece.keys.last() {
                Some(last) => after = Some(*last),
                None => self.shared.replicas.joined_again(),
            }
            for some in piece.keys.chunks(READ_LEN) {
                if self.read_some_customers(remote, some, true).await.is_err() {
                    return tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.shared.replicas.joins.notified().await;
    }

    async fn read_everybody(&self, remote: &Remote) -> Result<usize, Failure> {
        let again = self.shared.replicas.is_joining_again();
        let (mut cursor, mut read) = (b"0".to_vec(), 0);
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(&cursor).arg("MATCH").arg(remote.keys.profiles()).arg("COUNT").arg(SCAN_LEN);
            let answer = remote.client.call(&command, Instant::now() + CALL).await?;
            let (next, keys) = scanned(&answer)?;
            let customers: Vec<CustomerKey> = keys.iter().filter_map(|key| remote.keys.customer_of(key)).collect();
            for some in customers.chunks(READ_LEN) {
                read += self.read_some_customers(remote, some, again).await?;
            }
            if next == b"0" {
                return Ok(read);
            }
            cursor = next;
        }
    }

    async fn read_some_customers(
        &self,
        remote: &Remote,
        customers: &[CustomerKey],
        again: bool,
    ) -> Result<usize, Failure> {
        let mut wanted = match again {
            true => customers.to_vec(),
            false => self.unknown_of(customers).await,
        };
        let read = wanted.len();
        while !wanted.is_empty() {
            let found = join_all(wanted.iter().map(|key| self.find_in_redis(remote, *key))).await;
            let (mut adopted, mut erased) = (Vec::with_capacity(found.len()), Vec::new());
            for (key, found) in wanted.iter().zip(found) {
                match found {
                    Ok(Found::Customer(customer)) => adopted.push(*customer),
                    Ok(Found::Erased) => erased.push(*key),
                    Ok(Found::Moved(_) | Found::Nothing) => {}
                    Err(ReadError::Redis(failure)) => return Err(failure),
                    Err(error) => tracing::error!(%error, "a customer in redis cannot be read"),
                }
            }
            for key in erased {
                self.forget_erased(key).await;
            }
            wanted = if adopted.is_empty() { Vec::new() } else { self.adopt(adopted).await };
            if !wanted.is_empty() {
                if self.shared.followers.has_ended() {
                    return Err(Outage::Busy.into());
                }
                // they changed meanwhile, or have not been shipped
                tokio::time::sleep(RETRY / 10).await;
            }
        }
        Ok(read)
    }

    /// Those whom this replica has nothing of.
    pub(super) async fn unknown_of(&self, customers: &[CustomerKey]) -> Vec<CustomerKey> {
        let (shared, customers) = (Arc::clone(&self.shared), customers.to_vec());
        let unknown = tokio::task::spawn_blocking(move || {
            let owed = |key: &CustomerKey| shared.replicas.owes(*key) || !matches!(shared.load(*key), Ok(Some(_)));
            customers.into_iter().filter(owed).collect()
        });
        unknown.await.unwrap_or_default()
    }

    /// Whether the stream is read, and what this replica had before is in Redis.
    fn reads_stream(&self) -> bool {
        let state = &self.shared.replicas;
        state.has_begun() && state.may_adopt(state.shipped())
    }
}

/// The next cursor, and keys.
fn scanned(answer: &redis::Value) -> Result<(Vec<u8>, Vec<Vec<u8>>), Failure> {
    let redis::Value::Array(parts) = answer else { return Err(Failure::shape("a cursor and keys")) };
    let [redis::Value::BulkString(cursor), redis::Value::Array(keys)] = parts.as_slice() else {
        return Err(Failure::shape("a cursor and keys"));
    };
    let key = |key: &redis::Value| match key {
        redis::Value::BulkString(key) => Some(key.clone()),
        _ => None,
    };
    Ok((cursor.clone(), keys.iter().filter_map(key).collect()))
}
