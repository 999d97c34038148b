//! Identities: their keyed hashes, and whose they are.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::{CustomerKey, Identity, IdentityHash, IdentityTypeId};

use super::{Resolved, sampled::SampledMap};

/// Most identities of customers kept in memory.
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

    fn hash(&self, domain: u8, kind: IdentityTypeId, value: &str) -> u128 {
        let mut mac = self.keyed.clone();
        mac.update(&[domain]);
        mac.update(&kind.0.to_le_bytes());
        mac.update(value.as_bytes());
        let digest = mac.finalize().into_bytes();
        digest.iter().take(16).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
    }
}

/// Whose identities are, as far as memory knows. INVARIANT: an identity once
/// given to a customer stays with that customer, so a known one is never stale.
pub(super) struct Aliases {
    known: SampledMap<IdentityHash, CustomerKey>,
    unknown: SampledMap<IdentityHash, ()>,
    /// Counts the identities given away: a search that began before one must
    /// not be kept as "nobody's".
    generation: AtomicU64,
}

impl Aliases {
    pub fn new() -> Self {
        // one byte each: the bound is a count
        Self {
            known: SampledMap::new(ALIASES_MAX),
            unknown: SampledMap::new(UNKNOWN_MAX),
            generation: AtomicU64::new(0),
        }
    }

    /// Whose an identity is; `None` when memory cannot tell, `Some(None)` when
    /// it is nobody's.
    pub fn get(&self, hash: IdentityHash) -> Option<Option<CustomerKey>> {
        match self.known.get(&hash) {
            Some(customer) => Some(Some(customer)),
            None => self.unknown.get(&hash).map(|()| None),
        }
    }

    /// Gives an identity to a customer.
    pub fn give(&self, hash: IdentityHash, customer: CustomerKey) {
        self.known.put(hash, customer, 1);
        self.unknown.remove_after(&hash, || {
            self.generation.fetch_add(1, SeqCst);
        });
    }

    /// To be taken before a search begins.
    pub fn ticket(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Keeps what was found.
    pub fn found(&self, hash: IdentityHash, customer: Option<CustomerKey>, ticket: u64) {
        match customer {
            Some(customer) => self.known.put(hash, customer, 1),
            None => {
                self.unknown.put_new(hash, (), 1, || self.generation.load(SeqCst) == ticket);
            }
        }
    }

    /// What the identities stand for, as far as memory knows.
    pub fn resolve(&self, identities: &[Identity]) -> Resolved {
        let mut resolved = Resolved::Unknown;
        for identity in identities {
            match (self.get(identity.hash), resolved) {
                (None, _) => return Resolved::NotLoaded,
                (Some(Some(customer)), Resolved::Unknown) => resolved = Resolved::Known(customer),
                (Some(Some(customer)), Resolved::Known(known)) if customer != known => {
                    resolved = Resolved::Ambiguous;
                }
                _ => {}
            }
        }
        resolved
    }
}
