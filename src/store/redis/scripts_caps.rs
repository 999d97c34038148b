//! The scripts of exact caps and budgets. All of them read the clock of Redis:
//! `TIME` decides what a window holds and what has lapsed. Times are milliseconds
//! since 1970, durations milliseconds. Each may run twice with the same arguments
//! and does no more than once.

use super::scripts::Script;

/// Claims places under caps of one customer, all or nothing.
///
/// - `KEYS[1]`: the index of the customer's caps; then two for each cap: its
///   claims and its open reservations.
/// - `ARGV[1]`: `claim`, or `force`: then what does not fit is claimed all the same.
/// - `ARGV[2]`: how many caps; then six for each: its field in the index, the most
///   claims, the length of a rolling window or `0`, where a calendar window begins
///   and ends, how long to keep what is claimed.
/// - then how many claims; then for each: its member, how long ago it was made, how
///   long it holds without being confirmed (`0` for ever, below 0 when it is over),
///   under how many caps it falls and their numbers from 1.
///
/// Answers `{1, now, over}` when all were claimed, `over` counting those beyond a
/// cap; `{0, now, ...}` with the numbers from 0 of the claims that do not fit;
/// `{2, now}` when a calendar window does not hold `now`: nothing was changed.
pub static CLAIM_CAPS: Script = Script::new(
    "claim_caps",
    r"local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local forced = ARGV[1] == 'force'
local at, caps = 3, {}
for c = 1, tonumber(ARGV[2]) do
  local rolling = tonumber(ARGV[at + 2])
  local from = tonumber(ARGV[at + 3])
  if rolling > 0 then
    from = now - rolling + 1
  elseif now < from or now >= tonumber(ARGV[at + 4]) then
    return {2, now}
  end
  caps[c] = {field = ARGV[at], max = tonumber(ARGV[at + 1]), from = from, keep = tonumber(ARGV[at + 5]),
    claims = KEYS[2 * c], open = KEYS[2 * c + 1]}
  at = at + 6
end
for _, cap in ipairs(caps) do
  repeat
    local gone = redis.call('ZRANGEBYSCORE', cap.open, '-inf', now, 'LIMIT', 0, 1000)
    if #gone > 0 then
      redis.call('ZREM', cap.claims, unpack(gone))
      redis.call('ZREM', cap.open, unpack(gone))
    end
  until #gone < 1000
  redis.call('ZREMRANGEBYSCORE', cap.claims, '-inf', '(' .. string.format('%.0f', cap.from))
  cap.count = redis.call('ZCARD', cap.claims)
end
local total = tonumber(ARGV[at])
at = at + 1
local refused, new, over = {}, {}, 0
for i = 1, total do
  local member, age, hold, under = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local missing, fits = {}, true
  for j = 1, under do
    local cap = caps[tonumber(ARGV[at + 3 + j])]
    if now - age >= cap.from and hold >= 0 and not redis.call('ZSCORE', cap.claims, member) then
      missing[#missing + 1] = cap
      fits = fits and cap.count < cap.max
    end
  end
  if fits or forced then
    for _, cap in ipairs(missing) do
      cap.count = cap.count + 1
      if cap.count > cap.max then over = over + 1 end
      new[#new + 1] = {cap, member, now - age, hold}
    end
  else
    refused[#refused + 1] = i - 1
  end
  at = at + 4 + under
end
if #refused > 0 then
  return {0, now, unpack(refused)}
end
local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
for _, one in ipairs(new) do
  local cap = one[1]
  redis.call('ZADD', cap.claims, one[3], one[2])
  if one[4] > 0 then redis.call('ZADD', cap.open, now + one[4], one[2]) end
  redis.call('HSET', KEYS[1], cap.field, '1')
  keep(cap.claims, cap.keep)
  keep(cap.open, cap.keep)
  keep(KEYS[1], cap.keep)
end
return {1, now, over}",
);

/// Confirms a claim under each of its caps: it counts for as long as their windows
/// hold it. One that lapsed is counted all the same.
///
/// - `KEYS`, `ARGV[3]` on: as of [`CLAIM_CAPS`], up to the caps; `ARGV[1]` is the
///   member, `ARGV[2]` when it was seen: one that the window of a cap does not hold
///   any more is not counted under it.
///
/// Answers `{1, now, late, beyond}`: under how many caps it had lapsed, and how
/// many of them it exceeds; `{2, now}` as of [`CLAIM_CAPS`].
pub static CONFIRM_CAPS: Script = Script::new(
    "confirm_caps",
    r"local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen = math.min(now, tonumber(ARGV[2]))
local at, late, beyond = 4, 0, 0
local caps = {}
for c = 1, tonumber(ARGV[3]) do
  local rolling, from = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if rolling > 0 then
    from = now - rolling + 1
  elseif now < from or now >= tonumber(ARGV[at + 4]) then
    return {2, now}
  end
  caps[c] = {field = ARGV[at], max = tonumber(ARGV[at + 1]), from = from, keep = tonumber(ARGV[at + 5])}
  at = at + 6
end
local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
for c, cap in ipairs(caps) do
  local claims, open = KEYS[2 * c], KEYS[2 * c + 1]
  if redis.call('ZREM', open, ARGV[1]) == 1 then
    redis.call('ZADD', claims, seen, ARGV[1])
    keep(claims, cap.keep)
  elseif seen >= cap.from and not redis.call('ZSCORE', claims, ARGV[1]) then
    redis.call('ZADD', claims, seen, ARGV[1])
    redis.call('HSET', KEYS[1], cap.field, '1')
    keep(claims, cap.keep)
    keep(KEYS[1], cap.keep)
    late = late + 1
    if redis.call('ZCOUNT', claims, cap.from, '+inf') > cap.max then beyond = beyond + 1 end
  end
end
return {1, now, late, beyond}",
);

/// Gives places back.
///
/// - `KEYS`: two for each cap: its claims and its open reservations.
/// - `ARGV[1]`: `open` to give back only what was not confirmed, `any` else.
/// - `ARGV[2]` on: the members.
///
/// Answers how many places were given back.
pub static RELEASE_CAPS: Script = Script::new(
    "release_caps",
    r"local released = 0
for c = 1, #KEYS, 2 do
  for m = 2, #ARGV do
    if redis.call('ZREM', KEYS[c + 1], ARGV[m]) == 1 or ARGV[1] == 'any' then
      released = released + redis.call('ZREM', KEYS[c], ARGV[m])
    end
  end
end
return released",
);

/// Takes over claims of another customer under one cap.
///
/// - `KEYS[1]`: the index of the customer's caps, `KEYS[2]`: claims of the cap,
///   `KEYS[3]`: its open reservations.
/// - `ARGV[1]`: the field of the cap in the index, `ARGV[2]`: how long to keep.
/// - `ARGV[3]` on: for each its member, when it was made, and when it lapses or
///   nothing: then it was confirmed, whatever stands here.
///
/// Answers how many it had not.
pub static ADOPT_CAPS: Script = Script::new(
    "adopt_caps",
    r"local new = 0
for at = 3, #ARGV, 3 do
  if redis.call('ZADD', KEYS[2], 'NX', ARGV[at + 1], ARGV[at]) == 1 then
    new = new + 1
    if ARGV[at + 2] ~= '' then redis.call('ZADD', KEYS[3], ARGV[at + 2], ARGV[at]) end
  elseif ARGV[at + 2] == '' then
    redis.call('ZREM', KEYS[3], ARGV[at])
  end
end
redis.call('HSET', KEYS[1], ARGV[1], '1')
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('PEXPIRE', key, ARGV[2]) end
end
return new",
);

/// Takes away claims that another customer has taken over under one cap.
///
/// - `KEYS[1]`: claims of the cap, `KEYS[2]`: its open reservations.
/// - `ARGV`: for each its member, and when it lapsed as it was taken over, or
///   nothing.
///
/// Answers how many were left: they were confirmed or made again since.
pub static LEAVE_CAPS: Script = Script::new(
    "leave_caps",
    r"local left = 0
for at = 1, #ARGV, 2 do
  local lapses = redis.call('ZSCORE', KEYS[2], ARGV[at])
  if tonumber(lapses or 0) == tonumber(ARGV[at + 1] == '' and 0 or ARGV[at + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[at])
    redis.call('ZREM', KEYS[2], ARGV[at])
  else
    left = left + 1
  end
end
return left",
);

/// Tells the ledger of a budget what a replica granted and takes units for it.
///
/// - `KEYS[1]`: counts: `total` and one for each minute; `KEYS[2]`: those minutes;
///   `KEYS[3]`: open units by when they lapse; `KEYS[4]`: confirmed units by when
///   they need not be told apart any more, `d` before the decision of one that
///   counts by being decided, `s` before one that was seen; `KEYS[5]`: leases.
/// - `ARGV`: the lessee; the number of this call, rising; the most units; the length
///   of a rolling window or `0`; where a calendar window begins and ends; how long
///   a lease runs; how long after its end a unit granted from it may be open; how
///   long to keep everything; the living replicas; the units that the lessee has
///   and has not reported; `1` when it wants more; then for each of what happened,
///   in order: `g` granted, `c` confirmed, `r` released; the decision; its minute;
///   how long it is held, or below 0 how long one is to be told apart that counts at
///   once; of a confirmed one how long it is to be told apart.
///
/// A lease that ran out without a word may have been granted in full: its units
/// count until whatever was granted from it has lapsed too.
///
/// Answers `{1, now, new, drop, free, over}`: units taken, units to give back, what
/// is left, units granted beyond the budget; `{2, now}` as of [`CLAIM_CAPS`]; `{3, now}`
/// when a later call of the lessee came first.
pub static LEASE_BUDGET: Script = Script::new(
    "lease_budget",
    r"local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local counts, minutes, open, confirmed, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lessee, seq, max, rolling, from = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local lease_ms, hold_ms, keep_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local replicas, have = tonumber(ARGV[10]), tonumber(ARGV[11])
if rolling > 0 then
  from = now - rolling + 1
elseif now < from or now >= tonumber(ARGV[6]) then
  return {2, now}
end
local function read(row)
  local s, u, e, g = string.match(row, '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(s), tonumber(u), tonumber(e), tonumber(g)
end
local own = redis.call('HGET', leases, lessee)
if own and read(own) > seq then
  return {3, now}
end
local function count(minute, by)
  redis.call('HINCRBY', counts, 'total', by)
  local left = redis.call('HINCRBY', counts, minute, by)
  if left > 0 then redis.call('ZADD', minutes, minute, minute)
  else
    redis.call('HDEL', counts, minute)
    redis.call('ZREM', minutes, minute)
  end
end
for at = 13, #ARGV, 4 do
  local kind, unit, minute, ms = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local seen = redis.call('ZSCORE', confirmed, 's' .. unit)
  local decided = redis.call('ZSCORE', confirmed, 'd' .. unit)
  if kind == 'g' then
    if not seen and not decided then
      if ms > 0 then redis.call('ZADD', open, 'NX', now + ms, unit)
      elseif ms < 0 then
        count(minute, 1)
        redis.call('ZADD', confirmed, now - ms, 'd' .. unit)
      end
    end
  elseif kind == 'c' then
    if not seen then
      if decided then redis.call('ZREM', confirmed, 'd' .. unit) else count(minute, 1) end
      redis.call('ZREM', open, unit)
      redis.call('ZADD', confirmed, now + ms, 's' .. unit)
    end
  elseif redis.call('ZREM', open, unit) == 0 and decided then
    redis.call('ZREM', confirmed, 'd' .. unit)
    count(minute, -1)
  end
end
redis.call('ZREMRANGEBYSCORE', open, '-inf', now)
redis.call('ZREMRANGEBYSCORE', confirmed, '-inf', now)
local first = string.format('%.0f', math.floor(from / 60000))
repeat
  local gone = redis.call('ZRANGEBYSCORE', minutes, '-inf', '(' .. first, 'LIMIT', 0, 500)
  for _, minute in ipairs(gone) do
    redis.call('HINCRBY', counts, 'total', -(redis.call('HGET', counts, minute) or 0))
    redis.call('HDEL', counts, minute)
    redis.call('ZREM', minutes, minute)
  end
until #gone < 500
local others, lessees = 0, 1
local rows = redis.call('HGETALL', leases)
for at = 1, #rows, 2 do
  if rows[at] ~= lessee then
    local _, units, ends, gone = read(rows[at + 1])
    if gone <= now then redis.call('HDEL', leases, rows[at])
    else
      others = others + units
      if ends > now and units > 0 then lessees = lessees + 1 end
    end
  end
end
if lessees > replicas then replicas = lessees end
local total = tonumber(redis.call('HGET', counts, 'total') or 0)
local granted = total + redis.call('ZCARD', open)
local free = max - granted - others - have
local new, drop = 0, 0
local share = math.max(1, math.floor((free + have) / (4 * replicas)))
if free < 0 then
  drop = math.min(have, -free)
elseif have > share then
  drop = have - share
elseif ARGV[12] == '1' then
  new = math.min(free, share - have)
end
local units = have + new
redis.call('HSET', leases, lessee, string.format('%.0f %.0f %.0f %.0f', seq, units, now + lease_ms, now + lease_ms + hold_ms))
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, keep_ms) end
return {1, now, new, drop, math.max(0, free - new), math.max(0, granted - max)}",
);
