//! Merges that are kept for a while: what happened, and both customers as they
//! were, so that it can be taken back.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::{CustomerKey, IdentityHash, MergeId, Profile, Timestamp, time::DAY_US};

use super::{Receipt, ReceiptStatus, Store, StoreError, blocking, codec, writer::Command};

/// How long a merge can be taken back, microseconds.
pub const UNDO_US: i64 = 30 * DAY_US;
/// Most merges of one customer that are listed.
pub const MERGES_LISTED_MAX: usize = 64;

/// What led to a merge. Closed; the number is the one at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MergeCause {
    /// An event or a write named identities of both.
    Identified = 1,
    /// Somebody asked for it.
    Requested = 2,
}

impl MergeCause {
    /// Every cause, in order of its number.
    pub const ALL: [MergeCause; 2] = [MergeCause::Identified, MergeCause::Requested];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            MergeCause::Identified => "identified",
            MergeCause::Requested => "requested",
        }
    }
}

/// A merge of two customers.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// Names it.
    pub id: MergeId,
    /// When.
    pub at: Timestamp,
    /// What led to it.
    pub cause: MergeCause,
    /// Why, when somebody asked for it.
    pub reason: Box<str>,
    /// The one who lives on, as it was before; only its key once the merge was
    /// taken back.
    pub survivor: Profile,
    /// The one who was taken in, as it was before; only its key once the merge
    /// was taken back.
    pub absorbed: Profile,
    /// The identities by which people were joined; none once the merge was taken
    /// back.
    pub joined: Vec<IdentityHash>,
    /// When it was taken back.
    pub undone: Option<Timestamp>,
}

impl Merge {
    /// Until when it can be taken back.
    pub fn undo_until(&self) -> Timestamp {
        self.at.plus_us(UNDO_US)
    }

    /// What is kept once it was taken back: that it was, and of whom. INVARIANT:
    /// nothing that is known of either, so that erasing one of the two leaves
    /// nothing with the other.
    pub(super) fn taken_back(&self, at: Timestamp) -> Self {
        let head = |profile: &Profile| Profile { key: profile.key, ..Profile::default() };
        Self {
            id: self.id,
            at: self.at,
            cause: self.cause,
            reason: self.reason.clone(),
            survivor: head(&self.survivor),
            absorbed: head(&self.absorbed),
            joined: Vec::new(),
            undone: Some(at),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// To make one of two customers.
    Merge { a: CustomerKey, b: CustomerKey, id: MergeId, at: Timestamp, reason: Box<str> },
    /// To take a merge back.
    Undo { survivor: CustomerKey, id: MergeId, at: Timestamp, reason: Box<str> },
}

const VERSION: u8 = 1;

/// A merge as it is at rest, before it is sealed.
pub(super) fn plain_row(merge: &Merge) -> Vec<u8> {
    let mut row = vec![VERSION];
    let mut writer = codec::Writer::new(&mut row);
    writer.u128(merge.id.0);
    writer.signed(merge.at.0);
    writer.u8(merge.cause as u8);
    writer.text(&merge.reason);
    for profile in [&merge.survivor, &merge.absorbed] {
        let mut encoded = Vec::with_capacity(1_024);
        codec::encode_profile(profile, &mut encoded);
        writer.bytes(&encoded);
    }
    writer.list(&merge.joined, |w, hash| w.u128(hash.0));
    writer.option(merge.undone, |w, at| w.signed(at.0));
    row
}

/// A merge from how it is at rest, opened.
pub(super) fn opened_row(row: &[u8]) -> Result<Merge, StoreError> {
    let mut reader = codec::Reader::new("merge", row);
    reader.version(VERSION)?;
    let id = MergeId(reader.u128()?);
    let at = Timestamp(reader.signed()?);
    let cause = reader.choice(1, &MergeCause::ALL)?;
    let reason = reader.text()?.into();
    let survivor = codec::decode_profile(reader.bytes()?)?;
    let absorbed = codec::decode_profile(reader.bytes()?)?;
    let joined = reader.list(16, |r| r.u128().map(IdentityHash))?;
    let undone = reader.option(|r| r.signed().map(Timestamp))?;
    reader.end()?;
    Ok(Merge { id, at, cause, reason, survivor, absorbed, joined, undone })
}

/// The keys under which the merges behind a customer are kept.
pub(super) fn keys_of(profile: &Profile) -> Vec<CustomerKey> {
    profile.absorbed.iter().map(|origin| origin.key).chain([profile.key]).collect()
}

impl Store {
    /// The merges behind a customer, the newest first, at most
    /// [`MERGES_LISTED_MAX`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn merges(&self, profile: &Profile) -> Result<Vec<Arc<Merge>>, StoreError> {
        let (keys, shared) = (keys_of(profile), Arc::clone(&self.shared));
        let mut merges = blocking(move || shared.merges(&keys)).await?;
        merges.sort_by_key(|one| std::cmp::Reverse((one.at, one.id)));
        merges.truncate(MERGES_LISTED_MAX);
        Ok(merges)
    }

    /// Makes one of two customers, whatever their identities are; answers once
    /// it is on disk. A duplicate: they were one already.
    pub async fn merge(
        &self,
        (a, b): (CustomerKey, CustomerKey),
        (id, at): (MergeId, Timestamp),
        reason: &str,
    ) -> Receipt {
        self.order(Order::Merge { a, b, id, at, reason: reason.into() }).await
    }

    /// Takes a merge back; answers once it is on disk.
    pub async fn undo_merge(&self, survivor: CustomerKey, (id, at): (MergeId, Timestamp), reason: &str) -> Receipt {
        self.order(Order::Undo { survivor, id, at, reason: reason.into() }).await
    }

    async fn order(&self, order: Order) -> Receipt {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Command::Order { order, reply }).await;
        let answered = if sent { answer.await.ok() } else { None };
        answered.and_then(|mut receipts| receipts.pop()).unwrap_or_else(|| Receipt::without(ReceiptStatus::Exhausted))
    }

    /// The profile of who lives on for a customer, as far as memory knows.
    pub fn live(&self, key: CustomerKey) -> CustomerKey {
        self.shared.redirects.live(key)
    }
}
