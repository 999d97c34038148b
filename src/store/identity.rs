//! Identities: their keyed hashes, and whose they are.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::{CustomerKey, Identity, IdentityHash, IdentityTypeId, RecordRef};

use super::{
    Resolved,
    holders::{self, Holders},
    sampled::SampledMap,
};

/// Most pairs of an identity and a customer who holds it kept in memory.
pub const ALIASES_MAX: u64 = 1_000_000;
/// Most identities kept in memory as nobody's.
pub const UNKNOWN_MAX: u64 = 200_000;

/// Hashes identities with the secret of the data directory.
#[derive(Clone)]
pub(super) struct IdentityHasher {
    keyed: Hmac<Sha256>,
}

impl IdentityHasher {
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(secret);
        // HMAC pads a short key with zeros to the block (RFC 2104), so this is the same key
        Self { keyed: Hmac::<Sha256>::new(&block.into()) }
    }

    /// HMAC-SHA256 of (type, value), cut to 128 bits (RFC 2104, section 5).
    pub fn identity(&self, kind: IdentityTypeId, value: &str) -> IdentityHash {
        IdentityHash(self.hash(b'i', kind, value))
    }

    /// The key of the customer whose first identity this is.
    pub fn customer(&self, kind: IdentityTypeId, value: &str) -> CustomerKey {
        CustomerKey(self.hash(b'c', kind, value))
    }

    /// A customer's key for other systems: one that says nothing of the key.
    pub fn outside(&self, customer: CustomerKey) -> u128 {
        self.hash(b'o', IdentityTypeId::default(), &format!("{:032x}", customer.0))
    }

    /// The same for who comes back after so many erasures: another key, so that
    /// nothing of before is ever taken for theirs.
    pub fn customer_again(&self, kind: IdentityTypeId, value: &str, erasures: u32) -> CustomerKey {
        CustomerKey(self.keyed_hash(&[b"a", &erasures.to_le_bytes(), &kind.0.to_le_bytes(), value.as_bytes()]))
    }

    /// What stands at rest, outside of any seal, for a record of a customer.
    pub fn record(&self, customer: CustomerKey, record: RecordRef) -> u64 {
        match record.is_some() {
            true => self.keyed_hash(&[b"r", &customer.0.to_le_bytes(), &record.0.to_le_bytes()]) as u64,
            false => 0,
        }
    }

    fn hash(&self, domain: u8, kind: IdentityTypeId, value: &str) -> u128 {
        self.keyed_hash(&[&[domain], &kind.0.to_le_bytes(), value.as_bytes()])
    }

    fn keyed_hash(&self, parts: &[&[u8]]) -> u128 {
        let mut mac = self.keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        let digest = mac.finalize().into_bytes();
        digest.iter().take(16).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
    }
}

/// Whose identities are, as far as memory knows. INVARIANT: an identity once
/// given to a customer stays with that customer, but for merges, taking them back,
/// and erasures. A shared one may be given to others too. Memory knows of all that
/// before any other reader does; so a known one is never stale.
pub(super) struct Aliases {
    known: SampledMap<IdentityHash, Holders>,
    unknown: SampledMap<IdentityHash, ()>,
    /// Counts the identities given away: a search that began before one must
    /// not be kept as "nobody's".
    given: AtomicU64,
    /// Counts those that got one more holder or another: a search that began
    /// before one must not be kept with the holders of then.
    joined: AtomicU64,
}

/// What a search must show to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    given: u64,
    joined: u64,
}

impl Aliases {
    pub fn new() -> Self {
        // one byte for each holder: the bound is a count
        Self {
            known: SampledMap::new(ALIASES_MAX),
            unknown: SampledMap::new(UNKNOWN_MAX),
            given: AtomicU64::new(0),
            joined: AtomicU64::new(0),
        }
    }

    /// Whose an identity is; `None` when memory cannot tell, `Some(None)` when
    /// it is nobody's.
    pub fn get(&self, hash: IdentityHash) -> Option<Option<Holders>> {
        match self.known.get(&hash) {
            Some(holders) => Some(Some(holders)),
            None => self.unknown.get(&hash).map(|()| None),
        }
    }

    /// Gives an identity to its holders, who may be more than before.
    pub fn give(&self, hash: IdentityHash, holders: Holders) {
        if let Holders::Several(_) = holders {
            // before the value, so that an older search is refused from here on
            self.joined.fetch_add(1, SeqCst);
        }
        let pairs = holders.all().len() as u64;
        self.known.put(hash, holders, pairs);
        self.unknown.remove_after(&hash, || {
            self.given.fetch_add(1, SeqCst);
        });
    }

    /// Takes an identity away from everybody.
    pub fn take(&self, hash: IdentityHash) {
        self.known.remove_after(&hash, || {
            self.joined.fetch_add(1, SeqCst);
        });
    }

    /// Gives an identity to others than before.
    pub fn hand_over(&self, hash: IdentityHash, holders: Holders) {
        // before the value, so that an older search is refused from here on
        self.joined.fetch_add(1, SeqCst);
        self.give(hash, holders);
    }

    /// To be taken before a search begins.
    pub fn ticket(&self) -> Ticket {
        Ticket { given: self.given.load(SeqCst), joined: self.joined.load(SeqCst) }
    }

    /// Keeps what was found, unless the writer was faster.
    pub fn found(&self, hash: IdentityHash, holders: Option<Holders>, ticket: Ticket) {
        match holders {
            Some(holders) => {
                let pairs = holders.all().len() as u64;
                self.known.put_new(hash, holders, pairs, || self.joined.load(SeqCst) == ticket.joined);
            }
            None => {
                self.unknown.put_new(hash, (), 1, || self.given.load(SeqCst) == ticket.given);
            }
        }
    }

    /// What the identities stand for, as far as memory knows.
    pub fn resolve(&self, identities: &[Identity]) -> Resolved {
        self.resolve_with(identities, |holders| holders)
    }

    /// The same, of holders as `live` has them.
    pub fn resolve_with(&self, identities: &[Identity], live: impl Fn(Holders) -> Holders) -> Resolved {
        let holders = |identity: &Identity| self.get(identity.hash).map(|known| known.map(&live)).ok_or(());
        holders::resolve(identities, holders).unwrap_or(Resolved::NotLoaded)
    }
}
