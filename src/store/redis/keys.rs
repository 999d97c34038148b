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
pub const TABLE: [Row; 19] = [
    Row {
        holds: "the profile of a customer",
        pattern: "<ns>:{<customer>}:p",
        value: "string: version and blob",
        owner: "profiles",
        goes: "at erasure or merge",
    },
    Row {
        holds: "the ids of the events that a profile holds",
        pattern: "<ns>:{<customer>}:e",
        value: "sorted set: ids by time",
        owner: "profiles",
        goes: "at erasure, or 7 days after the last event",
    },
    Row {
        holds: "a customer as before merges",
        pattern: "<ns>:{<customer>}:m",
        value: "hash: blobs by merge",
        owner: "merges",
        goes: "at erasure, or 31 days after the last merge",
    },
    Row {
        holds: "the caps that a customer has claims on",
        pattern: "<ns>:{<customer>}:c",
        value: "hash: caps",
        owner: "cap ledger",
        goes: "at erasure, or with the last window: the claim sets the time",
    },
    Row {
        holds: "claims on a cap of a customer",
        pattern: "<ns>:{<customer>}:c:<cap>",
        value: "sorted set: presentations by when they were claimed or seen",
        owner: "cap ledger",
        goes: "at erasure, or with the window: the claim sets the time",
    },
    Row {
        holds: "those of them that nobody has seen yet",
        pattern: "<ns>:{<customer>}:o:<cap>",
        value: "sorted set: presentations by expiry",
        owner: "cap ledger",
        goes: "at erasure, or with the window: the claim sets the time",
    },
    Row {
        holds: "to whom an identity leads",
        pattern: "<ns>:{i<identity>}:a",
        value: "string: a customer",
        owner: "identities",
        goes: "at erasure",
    },
    Row {
        holds: "units of a budget that were seen",
        pattern: "<ns>:{b<budget>}:g",
        value: "hash: their number, and that of each minute",
        owner: "budget ledger",
        goes: "with the window: the lease sets the time",
    },
    Row {
        holds: "the minutes in which any was",
        pattern: "<ns>:{b<budget>}:m",
        value: "sorted set: minutes",
        owner: "budget ledger",
        goes: "with the window: the lease sets the time",
    },
    Row {
        holds: "units that nobody has seen yet",
        pattern: "<ns>:{b<budget>}:o",
        value: "sorted set: decisions by expiry",
        owner: "budget ledger",
        goes: "with the window: the lease sets the time",
    },
    Row {
        holds: "units that were seen, as long as one could come twice",
        pattern: "<ns>:{b<budget>}:c",
        value: "sorted set: decisions by when they are forgotten",
        owner: "budget ledger",
        goes: "with the window: the lease sets the time",
    },
    Row {
        holds: "leases of a budget",
        pattern: "<ns>:{b<budget>}:l",
        value: "hash: calls, units and ends by replica",
        owner: "budget ledger",
        goes: "with the window: the lease sets the time",
    },
    Row {
        holds: "what replicas wrote",
        pattern: "<ns>:log",
        value: "stream: entries, and how far each replica is",
        owner: "replicas",
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
        goes: "90 days after another took its place",
    },
    Row {
        holds: "which replicas live",
        pattern: "<ns>:replicas",
        value: "sorted set: replicas by their last sign of life",
        owner: "members",
        goes: "after 10 s without a sign of life",
    },
    Row {
        holds: "how far writes of a replica got, to notice lost ones",
        pattern: "<ns>:fence:<replica>",
        value: "string: a count",
        owner: "failover",
        goes: "after 7 days without a write",
    },
    Row {
        holds: "a secret that every replica needs",
        pattern: "<ns>:{secrets}:<purpose>",
        value: "string: a key ring, sealed if `--store-secret` is given",
        owner: "joining",
        goes: "never",
    },
    Row {
        holds: "what is paused",
        pattern: "<ns>:{rules}:pauses",
        value: "string: version and blob",
        owner: "publishing",
        goes: "never",
    },
];

/// A key that never is: reading it tells whether a server of a cluster answers.
pub const PROBE: &str = "rapport:probe";
/// How long a replica counts as living without a sign, milliseconds.
pub const REPLICA_TTL_MS: u64 = 10_000;
/// How long the fence of a replica stays without a write, milliseconds.
pub const FENCE_TTL_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// How long a revision stays after another took its place, milliseconds.
pub const REVISION_TTL_MS: u64 = 90 * 24 * 3_600 * 1_000;

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

    /// The ids of the events that a profile holds.
    pub fn held_events(&self, customer: CustomerKey) -> Vec<u8> {
        self.key(format_args!("{{{}}}:e", Id(customer.0)))
    }

    /// A customer as before merges.
    pub fn before_merges(&self, customer: CustomerKey) -> Vec<u8> {
        self.key(format_args!("{{{}}}:m", Id(customer.0)))
    }

    /// The caps that a customer has claims on.
    pub fn caps(&self, customer: CustomerKey) -> Vec<u8> {
        self.key(format_args!("{{{}}}:c", Id(customer.0)))
    }

    /// Claims on a cap of a customer, by the stable hash of the cap.
    pub fn cap(&self, customer: CustomerKey, cap: u64) -> Vec<u8> {
        self.key(format_args!("{{{}}}:c:{cap:x}", Id(customer.0)))
    }

    /// Those of them that nobody has seen yet.
    pub fn open_claims(&self, customer: CustomerKey, cap: u64) -> Vec<u8> {
        self.key(format_args!("{{{}}}:o:{cap:x}", Id(customer.0)))
    }

    /// To whom an identity leads.
    pub fn alias(&self, identity: IdentityHash) -> Vec<u8> {
        self.key(format_args!("{{i{}}}:a", Id(identity.0)))
    }

    /// Units of a budget that were seen, by the stable hash of the budget.
    pub fn budget(&self, budget: u64) -> Vec<u8> {
        self.key(format_args!("{{b{budget:x}}}:g"))
    }

    /// The minutes in which any was seen.
    pub fn budget_minutes(&self, budget: u64) -> Vec<u8> {
        self.key(format_args!("{{b{budget:x}}}:m"))
    }

    /// Units of a budget that nobody has seen yet.
    pub fn open_units(&self, budget: u64) -> Vec<u8> {
        self.key(format_args!("{{b{budget:x}}}:o"))
    }

    /// Units that were seen, as long as one could come twice.
    pub fn seen_units(&self, budget: u64) -> Vec<u8> {
        self.key(format_args!("{{b{budget:x}}}:c"))
    }

    /// Leases of a budget.
    pub fn leases(&self, budget: u64) -> Vec<u8> {
        self.key(format_args!("{{b{budget:x}}}:l"))
    }

    /// What replicas wrote.
    pub fn log(&self) -> Vec<u8> {
        self.key(format_args!("log"))
    }

    /// The beginning and the end of every key of a profile, to look for them.
    pub fn profiles(&self) -> String {
        format!("{}:{{*}}:p", self.namespace)
    }

    /// Whose profile a key holds; `None` when it is another kind of key.
    pub fn customer_of(&self, key: &[u8]) -> Option<CustomerKey> {
        let text = std::str::from_utf8(key).ok()?.strip_prefix(&self.namespace)?;
        let id = URL_SAFE_NO_PAD.decode(text.strip_prefix(":{")?.strip_suffix("}:p")?).ok()?;
        Some(CustomerKey(u128::from_be_bytes(id.try_into().ok()?)))
    }

    /// Which ruleset is active.
    pub fn active_ruleset(&self) -> Vec<u8> {
        self.key(format_args!("{{rules}}:active"))
    }

    /// A revision of the rules.
    pub fn revision(&self, hash: RulesetHash) -> Vec<u8> {
        self.key(format_args!("{{rules}}:r:{:x}", hash.0))
    }

    /// Which replicas live.
    pub fn replicas(&self) -> Vec<u8> {
        self.key(format_args!("replicas"))
    }

    /// How far writes of a replica got.
    pub fn fence(&self, replica: u64) -> Vec<u8> {
        self.key(format_args!("fence:{replica:x}"))
    }

    /// A secret that every replica needs.
    pub fn secret(&self, purpose: &str) -> Vec<u8> {
        self.key(format_args!("{{secrets}}:{purpose}"))
    }

    /// What is paused.
    pub fn pauses(&self) -> Vec<u8> {
        self.key(format_args!("{{rules}}:pauses"))
    }

    /// What the keys begin with.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}
