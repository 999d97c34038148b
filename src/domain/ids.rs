//! Identifiers. Names at rest are stable hashes (XXH3) of the name; in memory
//! they map to dense slots of one ruleset.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// The stable 64-bit hash of a name.
pub fn stable_hash64(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// The stable 32-bit hash of a name: the low half of [`stable_hash64`].
pub fn stable_hash32(name: &str) -> u32 {
    (stable_hash64(name) & 0xffff_ffff) as u32
}

/// Internal name of a customer: 128 bits, a keyed hash of the first identity
/// seen. Never shown outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CustomerKey(pub u128);

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(..)")
    }
}

/// Keyed hash of one identity (type and normalised value).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct IdentityHash(pub u128);

/// What sticky experiment arms hash: the surviving customer's first key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ArmKey(pub u128);

/// A browser that comes back, known by nothing but a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct VisitorId(pub u128);

impl VisitorId {
    /// From its 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for VisitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names a merge of two customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MergeId(pub u128);

impl MergeId {
    /// From its 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        VisitorId::parse(text).map(|id| Self(id.0))
    }
}

impl fmt::Display for MergeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// UUIDv7 of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DecisionId(pub u128);

impl DecisionId {
    /// A UUIDv7 (RFC 9562) of a moment and 74 random bits.
    pub fn new(unix_ms: u64, random: u128) -> Self {
        let time = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
        let rand_a = (random >> 62) & 0xfff;
        let rand_b = random & 0x3fff_ffff_ffff_ffff;
        Self(time | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b)
    }

    /// Milliseconds since 1970 of the moment in it.
    pub fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// Parses the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|u| Self(u.as_u128()))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $hash:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id of a name.
            pub fn of(name: &str) -> Self {
                Self($hash(name))
            }
        }
    };
}

name_id!(
    /// An offer at rest.
    OfferId, u64, stable_hash64
);
name_id!(
    /// An item at rest.
    ItemId, u64, stable_hash64
);
name_id!(
    /// An attribute at rest.
    AttrId, u32, stable_hash32
);
name_id!(
    /// A channel at rest.
    ChannelId, u32, stable_hash32
);
name_id!(
    /// A placement at rest.
    PlacementId, u32, stable_hash32
);
name_id!(
    /// An event type at rest.
    EventTypeId, u32, stable_hash32
);
name_id!(
    /// A decline reason code at rest; 0 is none.
    ReasonCode, u32, stable_hash32
);
name_id!(
    /// An identity type at rest.
    IdentityTypeId, u32, stable_hash32
);

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The slot as an index.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

slot!(
    /// Dense number of an offer in one ruleset, in order of the offers' ids.
    OfferSlot, u32
);
slot!(
    /// Dense number of a channel in one ruleset.
    ChannelSlot, u16
);
slot!(
    /// Dense number of a placement in one ruleset.
    PlacementSlot, u16
);
slot!(
    /// Dense number of an attribute (stored, context or trait) in one ruleset.
    AttrSlot, u16
);
slot!(
    /// Dense number of a group in one ruleset.
    GroupSlot, u16
);
slot!(
    /// Dense number of an issue in one ruleset.
    IssueSlot, u16
);
slot!(
    /// Dense number of a contact limit in one ruleset.
    LimitSlot, u16
);

/// Content hash of a ruleset: the first 64 bits of SHA-256 over its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RulesetHash(pub u64);

impl RulesetHash {
    /// From its 16 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for RulesetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The event's id at rest: 128-bit hash of (source, event id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventId(pub u128);

/// Names one record of a list, for what is said per record; [`RecordRef::NONE`]
/// where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RecordRef(pub u64);

impl RecordRef {
    /// No record.
    pub const NONE: RecordRef = RecordRef(0);

    /// The record of a list with a key; never [`RecordRef::NONE`].
    pub fn of(list: AttrId, key: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), u64::from(list.0)).max(1))
    }

    /// Whether it names a record.
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }
}
