//! The scripts by which replicas share customers.

use redis::Value;

use super::{
    outage::Failure,
    scripts::{Script, Versioned},
};

/// Writes a customer if nobody else did, remembers what it holds now, and tells
/// the others, all at once.
///
/// - `KEYS[1]`: the value: 8 bytes of version, then the blob.
/// - `KEYS[2]`: the ids of what it holds, scored by milliseconds.
/// - `KEYS[3]`, may be left out: the stream that replicas read. Leave it out in a
///   cluster, where it lies in another slot, and add the entries after winning.
/// - `ARGV[1]`: the expected version, 8 bytes; empty when there must be no value.
/// - `ARGV[2]`: the new value, version and blob.
/// - `ARGV[3]`: milliseconds after which an id is forgotten.
/// - `ARGV[4]`: about how many entries the stream keeps.
/// - `ARGV[5]`: who writes, 8 bytes.
/// - `ARGV[6]`: whose it is, 16 bytes.
/// - then three for each thing it holds more: its id, its sequence (8 bytes), the
///   entry to tell; without an entry it may be known and is not told.
///
/// Answers `1` when it won; else an array: the value as it is, or nil, and the
/// places (from 1) of what it holds already. Nothing is changed then. Ids
/// are remembered by the clock of Redis.
pub static SHIP: Script = Script::new(
    "ship",
    r"local known = {}
local many = (#ARGV - 6) / 3
for i = 1, many do
  if ARGV[6 + 3 * i] ~= '' and redis.call('ZSCORE', KEYS[2], ARGV[4 + 3 * i]) then
    known[#known + 1] = i
  end
end
local current = redis.call('GETRANGE', KEYS[1], 0, 7)
if #known > 0 or current ~= ARGV[1] then
  return {redis.call('GET', KEYS[1]), known}
end
redis.call('SET', KEYS[1], ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, many do
  redis.call('ZADD', KEYS[2], now, ARGV[4 + 3 * i])
end
if many > 0 then
  if redis.call('ZCARD', KEYS[2]) > 64 then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
if KEYS[3] then
  for i = 1, many do
    if ARGV[6 + 3 * i] ~= '' then
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*',
        'o', ARGV[5], 's', ARGV[5 + 3 * i], 'c', ARGV[6], 'e', ARGV[6 + 3 * i])
    end
  end
end
return 1",
);

/// Reads a customer with the ids of what it holds.
///
/// - `KEYS[1]`: the value.
/// - `KEYS[2]`: the ids.
///
/// Answers an array: the value, or nil, and the ids with their scores in turn.
pub static READ_CUSTOMER: Script =
    Script::new("read_customer", r"return {redis.call('GET', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1)}");

/// Removes what the stream has of a customer, piece by piece.
///
/// - `KEYS[1]`: the stream.
/// - `ARGV[1]`: the entry to begin behind; `-` at first.
/// - `ARGV[2]`: whose entries, 16 bytes.
/// - `ARGV[3]`: most entries to look at.
///
/// Answers the last entry that was looked at, or nil at the end.
pub static FORGET_ENTRIES: Script = Script::new(
    "forget_entries",
    r"local from = ARGV[1]
if from ~= '-' then from = '(' .. from end
local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[3])
local last = false
for _, entry in ipairs(entries) do
  last = entry[1]
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'c' and entry[2][i + 1] == ARGV[2] then
      redis.call('XDEL', KEYS[1], entry[1])
    end
  end
end
return last",
);

/// How [`SHIP`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// Everything is there.
    Won,
    /// Nothing was changed.
    Lost {
        /// The value as it is.
        value: Option<Versioned>,
        /// Places, from 0, of what it holds already.
        known: Vec<usize>,
    },
}

impl Shipped {
    /// Reads the answer of [`SHIP`].
    ///
    /// # Errors
    /// It has another shape.
    pub fn read(answer: Value) -> Result<Self, Failure> {
        let parts = match answer {
            Value::Int(1) => return Ok(Shipped::Won),
            Value::Array(parts) => parts,
            _ => return Err(Failure::shape("shipped or not")),
        };
        let [value, Value::Array(known)] = parts.as_slice() else {
            return Err(Failure::shape("a value and what is known"));
        };
        let place = |place: &Value| match place {
            Value::Int(place) => usize::try_from(place - 1).map_err(|_| Failure::shape("a place from 1")),
            _ => Err(Failure::shape("a place")),
        };
        Ok(Shipped::Lost { value: versioned(value)?, known: known.iter().map(place).collect::<Result<_, _>>()? })
    }
}

/// Reads the answer of [`READ_CUSTOMER`]: the value and the ids.
///
/// # Errors
/// It has another shape.
pub fn read_customer(answer: &Value) -> Result<(Option<Versioned>, Vec<Vec<u8>>), Failure> {
    let Value::Array(parts) = answer else { return Err(Failure::shape("a customer")) };
    let [value, Value::Array(ids)] = parts.as_slice() else { return Err(Failure::shape("a value and ids")) };
    let id = |id: &Value| match id {
        Value::BulkString(id) => Ok(id.clone()),
        _ => Err(Failure::shape("an id")),
    };
    Ok((versioned(value)?, ids.iter().map(id).collect::<Result<_, _>>()?))
}

fn versioned(value: &Value) -> Result<Option<Versioned>, Failure> {
    match value {
        Value::Nil | Value::Boolean(false) => Ok(None),
        Value::BulkString(bytes) => Versioned::decode(bytes).map(Some),
        _ => Err(Failure::shape("a versioned value")),
    }
}
