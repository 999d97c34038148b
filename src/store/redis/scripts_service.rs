//! The scripts that make replicas one service: their secrets, their members,
//! their fences, the rules they share.

use super::scripts::Script;

/// Takes what is there, or puts what is missing.
///
/// - `KEYS`: values.
/// - `ARGV`: as many: what each is to be when there is none.
///
/// Answers the values as they are now. Reads no clock.
pub static ADOPT: Script = Script::new(
    "adopt",
    r"local found = {}
for at, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if not value then
    value = ARGV[at]
    redis.call('SET', key, value)
  end
  found[at] = value
end
return found",
);

/// Notes that a replica lives, and forgets those that gave no sign for too long.
///
/// - `KEYS[1]`: the sorted set of replicas.
/// - `ARGV[1]`: the replica.
/// - `ARGV[2]`: milliseconds without a sign after which a replica is gone.
///
/// Answers the replicas that live. Reads the clock of Redis.
pub static BEAT: Script = Script::new(
    "beat",
    r"local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)",
);

/// Writes a fence and answers what stood there.
///
/// - `KEYS[1]`: the fence.
/// - `ARGV[1]`: the count to write.
/// - `ARGV[2]`: milliseconds after which it is forgotten.
///
/// Answers an array: the count before, nil when there was none; the time in
/// seconds; the microseconds of it. Reads the clock of Redis.
pub static FENCE: Script = Script::new(
    "fence",
    r"local before = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {before, time[1], time[2]}",
);

/// Makes a revision of the rules the active one.
///
/// - `KEYS[1]`: what is active: 8 bytes of version, then the blob.
/// - `KEYS[2]`: the revision.
/// - `KEYS[3]`: the revision whose place it takes; may be the same.
/// - `ARGV[1]`: the expected version, 8 bytes; empty when nothing must be active.
/// - `ARGV[2]`: what is active now, version and blob.
/// - `ARGV[3]`: the revision.
/// - `ARGV[4]`: milliseconds after which the one that was active is forgotten.
///
/// Answers as `COMPARE_AND_SET`. Reads no clock.
pub static PUBLISH: Script = Script::new(
    "publish",
    r"local current = redis.call('GETRANGE', KEYS[1], 0, 7)
if current ~= ARGV[1] then
  return {redis.call('GET', KEYS[1])}
end
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('SET', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
return 1",
);
