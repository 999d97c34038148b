//! The keys in Redis: every one is built here, has one owner, a rule for when
//! it goes away, and a place in [`TABLE`]. A part in braces is the slot tag: in a
//! cluster keys with the same tag lie on the same server, so that one script may
//! touch them.

use std::fmt::{self, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::domain::{CustomerKey, IdentityHash, RulesetHash};

/// The namespace when none is set.
pub const DEFAULT_NAMESPACE: &str = "rapport";
/// Longest namespace, bytes.
pub const NAMESPACE_BYTES_MAX: usize = 32;

/// A kind of key, as it is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it holds.
    pub holds: &'static str,
    /// How it is written.
    pub pattern: &'static str,
    /// The type of its value.
    pub value: &'static str,
    /// Who writes it.
    pub owner: &'static str,
    /// When it goes away.
    pub goes: &'static str,
}

/// Every kind of key, in the order of the functions of [`Keys`].
pub const TABLE: [Row; 16] = [
    Row {
        holds: "the profile of a customer",
        pattern: "<ns>:{<customer>}:p",
        value: "string: version and blob",
        owner: "profiles",
        goes: "at erasure or merge",
    },
    Row {
        holds: "the key that seals a customer's data",
        pattern: "<ns>:{<customer>}:k",
        value: "string: version and blob",
        owner: "vault",
        goes: "at erasure",
    },
    Row {
        holds: "into whom a customer was merged",
        pattern: "<ns>:{<customer>}:r",
        value: "string: a customer",
        owner: "merges",
        goes: "at erasure or undo",
    },
    Row {
        holds: "claims on a cap of a customer in a window",
        pattern: "<ns>:{<customer>}:c:<cap>:<window>",
        value: "sorted set: decisions by expiry",
        owner: "cap ledger",
        goes: "with its window: the claim sets the time",
    },
    Row {
        holds: "open reservations of a customer",
        pattern: "<ns>:{<customer>}:c:open",
        value: "sorted set: decisions by expiry",
        owner: "cap ledger",
        goes: "with the last of them: the claim sets the time",
    },
    Row {
        holds: "to whom an identity leads",
        pattern: "<ns>:{i<identity>}:a",
        value: "string: a customer",
        owner: "identities",
        goes: "at erasure",
    },
    Row {
        holds: "that an identity was erased",
        pattern: "<ns>:{i<identity>}:t",
        value: "string: when",
        owner: "vault",
        goes: "never, or after the retention of tombstones",
    },
    Row {
        holds: "what of a budget was granted in a window",
        pattern: "<ns>:{b<budget>}:g:<window>",
        value: "hash: granted and leased units",
        owner: "budget ledger",
        goes: "with its window: the lease sets the time",
    },
    Row {
        holds: "leases of a budget in a window",
        pattern: "<ns>:{b<budget>}:l:<window>",
        value: "sorted set: replicas by expiry",
        owner: "budget ledger",
        goes: "with its window: the lease sets the time",
    },
    Row {
        holds: "whose profile changed",
        pattern: "<ns>:inv",
        value: "stream: customers and versions",
        owner: "coherence",
        goes: "never; entries are trimmed",
    },
    Row {
        holds: "which ruleset is active",
        pattern: "<ns>:{rules}:active",
        value: "string: version and hash",
        owner: "publishing",
        goes: "never",
    },
    Row {
        holds: "a revision of the rules",
        pattern: "<ns>:{rules}:r:<hash>",
        value: "string: blob",
        owner: "publishing",
        goes: "when it is neither active nor kept",
    },
    Row {
        holds: "which models are active",
        pattern: "<ns>:{models}:active",
        value: "string: version and names",
        owner: "learning",
        goes: "never",
    },
    Row {
        holds: "a model",
        pattern: "<ns>:{models}:m:<hash>",
        value: "string: blob",
        owner: "learning",
        goes: "when it is neither active nor kept",
    },
    Row {
        holds: "that a replica lives",
        pattern: "<ns>:replica:<replica>",
        value: "string: its address",
        owner: "coherence",
        goes: "after 10 s without a sign of life",
    },
    Row {
        holds: "how far writes of a replica got, to notice lost ones",
        pattern: "<ns>:fence:<replica>",
        value: "string: a count",
        owner: "failover",
        goes: "after 7 days without a write",
    },
];

/// A key that never is: reading it tells whether a server of a cluster answers.
pub const PROBE: &str = "rapport:probe";
/// How long a replica counts as living without a sign, milliseconds.
pub const REPLICA_TTL_MS: u64 = 10_000;
/// How long the fence of a replica stays without a write, milliseconds.
pub const FENCE_TTL_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// A namespace that cannot stand in keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "reading the namespace of the store: `{0}` may hold letters, digits, `-`, `_` and `.` only, from 1 to {NAMESPACE_BYTES_MAX} of them"
)]
pub struct NamespaceError(pub String);

/// Builds keys of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    namespace: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self { namespace: DEFAULT_NAMESPACE.to_owned() }
    }
}

/// 128 bits in 22 characters.
struct Id(u128);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

impl Keys {
    /// Keys of a namespace.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters than letters, digits, `-`,
    /// `_` and `.`.
    pub fn new(namespace: &str) -> Result<Self, NamespaceError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match (1..=NAMESPACE_BYTES_MAX).contains(&namespace.len()) && namespace.bytes().all(fits) {
            true => Ok(Self { namespace: namespace.to_owned() }),
            false => Err(NamespaceError(namespace.to_owned())),
        }
    }

    fn key(&self, rest: fmt::Arguments<'_>) -> Vec<u8> {
        let mut key = String::with_capacity(self.namespace.len() + 32);
        key.push_str(&self.namespace);
        key.push(':');
        // INVARIANT: writing to a string cannot fail
        key.write_fmt(rest).ok();
        key.into_bytes()
    }

    /// The profile of a customer.
    pub fn profile(&self, customer: CustomerKey) -> Vec<u8> {
        self.key(format_args!("{{{}}}:p", Id(customer.0)))
    }

    /// The key that seals a customer's data.
    pub fn data_key(&self, customer: CustomerKey) -> Vec<u8> {
        self.key(format_args!("{{{}}}:k", Id(customer.0)))
    }

    /// Into whom a customer was merged.
    pub fn redirect(&self, customer: CustomerKey) -> Vec<u8> {
        self.key(format_args!("{{{}}}:r", Id(customer.0)))
    }

    /// Claims on a cap of a customer: by the stable hash of the cap and the
    /// number of the window, 0 for a rolling one.
    pub fn cap(&self, customer: CustomerKey, cap: u64, window: u64) -> Vec<u8> {
        self.key(format_args!("{{{}}}:c:{cap:x}:{window:x}", Id(customer.0)))
    }

    /// Open reservations of a customer.
    pub fn reservations(&self, customer: CustomerKey) -> Vec<u8> {
        self.key(format_args!("{{{}}}:c:open", Id(customer.0)))
    }

    /// To whom an identity leads.
    pub fn alias(&self, identity: IdentityHash) -> Vec<u8> {
        self.key(format_args!("{{i{}}}:a", Id(identity.0)))
    }

    /// That an identity was erased.
    pub fn tombstone(&self, identity: IdentityHash) -> Vec<u8> {
        self.key(format_args!("{{i{}}}:t", Id(identity.0)))
    }

    /// What of a budget was granted: by the stable hash of the budget and the
    /// number of the window, 0 for a rolling one.
    pub fn budget(&self, budget: u64, window: u64) -> Vec<u8> {
        self.key(format_args!("{{b{budget:x}}}:g:{window:x}"))
    }

    /// Leases of a budget.
    pub fn leases(&self, budget: u64, window: u64) -> Vec<u8> {
        self.key(format_args!("{{b{budget:x}}}:l:{window:x}"))
    }

    /// Whose profile changed.
    pub fn invalidations(&self) -> Vec<u8> {
        self.key(format_args!("inv"))
    }

    /// Which ruleset is active.
    pub fn active_ruleset(&self) -> Vec<u8> {
        self.key(format_args!("{{rules}}:active"))
    }

    /// A revision of the rules.
    pub fn revision(&self, hash: RulesetHash) -> Vec<u8> {
        self.key(format_args!("{{rules}}:r:{:x}", hash.0))
    }

    /// Which models are active.
    pub fn active_models(&self) -> Vec<u8> {
        self.key(format_args!("{{models}}:active"))
    }

    /// A model, by the hash of what it is.
    pub fn model(&self, hash: u64) -> Vec<u8> {
        self.key(format_args!("{{models}}:m:{hash:x}"))
    }

    /// That a replica lives.
    pub fn replica(&self, replica: u64) -> Vec<u8> {
        self.key(format_args!("replica:{replica:x}"))
    }

    /// How far writes of a replica got.
    pub fn fence(&self, replica: u64) -> Vec<u8> {
        self.key(format_args!("fence:{replica:x}"))
    }
}
