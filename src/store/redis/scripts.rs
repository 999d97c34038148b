//! The scripts that run inside Redis. Each is a constant with its keys, its
//! arguments and its answer; all keys of one call lie in one slot. Numbers that
//! may exceed 2^53 pass as bytes, for Lua has doubles only. No script reads the
//! clock of Redis unless it says so.

use std::sync::OnceLock;

use redis::Value;

use super::{
    outage::Failure,
    scripts_caps::{ADOPT_CAPS, CLAIM_CAPS, CONFIRM_CAPS, LEASE_BUDGET, LEAVE_CAPS, RELEASE_CAPS},
    scripts_replicas,
    scripts_service::{ADOPT, BEAT, FENCE, PUBLISH},
};

/// A script and its hash.
#[derive(Debug)]
pub struct Script {
    /// What it is called in messages.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    /// A script that was not hashed yet.
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, hash: OnceLock::new() }
    }

    /// The SHA-1 by which Redis knows it, in hex.
    pub fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}

/// Compares and sets a versioned value.
///
/// - `KEYS[1]`: the value: 8 bytes of version, then the blob.
/// - `KEYS[2]`, may be left out: the stream of invalidations. Leave it out in a
///   cluster, where it lies in another slot, and add the entry after winning.
/// - `ARGV[1]`: the expected version, 8 bytes; empty when there must be no value.
/// - `ARGV[2]`: the new value, version and blob.
/// - `ARGV[3]`: what to say in the stream, the field `i` of the entry.
/// - `ARGV[4]`: milliseconds after which the value is forgotten; `0` for never.
/// - `ARGV[5]`: about how many entries the stream keeps.
///
/// Answers `1` when it won; when it lost an array of one: the value as it is, or
/// nil when there is none. Reads no clock, but the id of the entry of the stream
/// comes from the clock of Redis.
pub static COMPARE_AND_SET: Script = Script::new(
    "compare_and_set",
    r"local current = redis.call('GETRANGE', KEYS[1], 0, 7)
if current ~= ARGV[1] then
  return {redis.call('GET', KEYS[1])}
end
if ARGV[4] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
end
if KEYS[2] then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'i', ARGV[3])
end
return 1",
);

/// Every script, so that a test can run each.
pub static ALL: [&Script; 14] = [
    &COMPARE_AND_SET,
    &ADOPT,
    &BEAT,
    &FENCE,
    &PUBLISH,
    &scripts_replicas::SHIP,
    &scripts_replicas::READ_CUSTOMER,
    &scripts_replicas::FORGET_ENTRIES,
    &CLAIM_CAPS,
    &CONFIRM_CAPS,
    &RELEASE_CAPS,
    &ADOPT_CAPS,
    &LEAVE_CAPS,
    &LEASE_BUDGET,
];

/// Bytes before the blob: the version, big-endian.
const VERSION_BYTES: usize = 8;

/// The number of times a value was written; 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// `ARGV[1]` of [`COMPARE_AND_SET`].
    pub fn expected(self) -> Vec<u8> {
        match self.0 {
            0 => Vec::new(),
            version => version.to_be_bytes().to_vec(),
        }
    }

    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A blob and its version, as they lie in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Its version, at least 1.
    pub version: Version,
    /// What it is.
    pub blob: Vec<u8>,
}

impl Versioned {
    /// The value of its key.
    pub fn encode(&self) -> Vec<u8> {
        [&self.version.0.to_be_bytes()[..], &self.blob].concat()
    }

    /// From the value of its key.
    ///
    /// # Errors
    /// It is too short to hold a version.
    pub fn decode(value: &[u8]) -> Result<Self, Failure> {
        let (version, blob) = value.split_first_chunk::<VERSION_BYTES>().ok_or_else(|| Failure::shape("versioned"))?;
        Ok(Self { version: Version(u64::from_be_bytes(*version)), blob: blob.to_vec() })
    }
}

/// How [`COMPARE_AND_SET`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The value is ours.
    Won,
    /// Somebody else was first; the value as it is, none when there is none.
    Lost(Option<Versioned>),
}

impl Swapped {
    /// Reads the answer of [`COMPARE_AND_SET`].
    ///
    /// # Errors
    /// It has another shape.
    pub fn read(answer: Value) -> Result<Self, Failure> {
        let lost = match answer {
            Value::Int(1) => return Ok(Swapped::Won),
            Value::Array(parts) => parts,
            _ => return Err(Failure::shape("won or lost")),
        };
        match lost.first() {
            None | Some(Value::Nil | Value::Boolean(false)) => Ok(Swapped::Lost(None)),
            Some(Value::BulkString(value)) => Ok(Swapped::Lost(Some(Versioned::decode(value)?))),
            Some(_) => Err(Failure::shape("a versioned value")),
        }
    }
}
