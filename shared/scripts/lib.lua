-- Prepended to every script. P (key prefix) and RQ (prefix of RQ's queue keys) are set by the loader from
-- shared/keys.py, where every key is described. Scripts build key names, so they need one Redis, no cluster.

-- Seconds by the server's clock, unless the caller passes a time (tests and simulation do).
local function clock(argument)
  if argument ~= '' then return tonumber(argument) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function lane_key(lane, part) return P .. 'lane:' .. lane .. ':' .. part end

-- Wakes one drainer of the lane. Returns 1 if none is idle and no doorbell waits in RQ: the caller must ring.
-- Closes the race "work came while the last drainer was leaving": idle drainers leave by leave.lua only,
-- which refuses while anything is ready.
local function wake(lane, now)
  redis.call('ZREMRANGEBYSCORE', lane_key(lane, 'idle'), '-inf', now)
  local idle = redis.call('ZCARD', lane_key(lane, 'idle'))
  if idle > 0 then
    if redis.call('LLEN', lane_key(lane, 'bell')) < idle then
      redis.call('RPUSH', lane_key(lane, 'bell'), '1')
    end
    return 0
  end
  if redis.call('LLEN', RQ .. lane) > 0 then return 0 end
  return 1
end

-- Marks a unit of work as ready unless it is leased (its holder looks again when it finishes) or waits for a
-- retry (its head of line decides when the unit goes on).
local function mark_ready(lane, unit, now)
  if redis.call('ZSCORE', lane_key(lane, 'leased'), unit) then return end
  if redis.call('ZSCORE', lane_key(lane, 'waiting'), unit) then return end
  redis.call('ZADD', lane_key(lane, 'ready'), 'NX', now, unit)
end

-- Leases the unit that has been ready for longest. Returns unit and token; or nothing, and then the drainer
-- counts as idle until idle_until. The token fences: a holder whose lease was swept cannot commit any more. It
-- names the drainer, because a failover can set the counter back: the same number would then be given twice.
local function lease(lane, drainer, now, lease_s, idle_until)
  local first = redis.call('ZRANGE', lane_key(lane, 'ready'), 0, 0)
  if not first[1] then
    redis.call('ZADD', lane_key(lane, 'idle'), idle_until, drainer)
    return nil
  end
  local unit = first[1]
  local token = redis.call('INCR', P .. 'fence') .. ':' .. drainer
  redis.call('ZREM', lane_key(lane, 'ready'), unit)
  redis.call('ZREM', lane_key(lane, 'idle'), drainer)
  redis.call('ZADD', lane_key(lane, 'leased'), now + lease_s, unit)
  redis.call('HSET', lane_key(lane, 'tokens'), unit, token)
  return unit, token
end

-- Adds one entry to the end of a unit's queue. The depth is counted, because a lane may have 100,000 queues; whoever
-- adds many gives a table (lane -> count) and calls deepen with it before it ends.
local function enqueue(lane, unit, entry, now, deeper)
  redis.call('RPUSH', P .. 'queue:' .. unit, entry)
  if deeper then
    deeper[lane] = (deeper[lane] or 0) + 1
  else
    redis.call('INCR', lane_key(lane, 'depth'))
  end
  mark_ready(lane, unit, now)
end

local function deepen(deeper)
  for lane, count in pairs(deeper) do redis.call('INCRBY', lane_key(lane, 'depth'), count) end
end

-- Adds counts that were tallied over a batch.
local function count_all(tally)
  for name, count in pairs(tally) do redis.call('HINCRBY', P .. 'counters', name, count) end
end

local function holds(lane, unit, token)
  return redis.call('HGET', lane_key(lane, 'tokens'), unit) == token
end

local function drop_lease(lane, unit)
  redis.call('ZREM', lane_key(lane, 'leased'), unit)
  redis.call('HDEL', lane_key(lane, 'tokens'), unit)
end

-- Adds an event to the clean stream and cuts it to about `keep` entries. ARGV[from..]: keep, fingerprint, type,
-- event time, related signature id, late (0 or 1). n counts without gaps: a reader sees what was cut before it came.
local function publish(stream, from)
  local n = redis.call('INCR', P .. 'events:seq')
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', ARGV[from], '*', 'n', n, 'stream', stream, 'event', ARGV[from + 1],
    'type', ARGV[from + 2], 'time', ARGV[from + 3], 'signature', ARGV[from + 4], 'late', ARGV[from + 5])
end

-- Tells whether a stream was erased: a tombstone stands for it. Every script that writes about a stream asks this in
-- the same call, so that an erasure in between its caller's look and its commit is not undone.
local function is_erased(stream) return redis.call('EXISTS', P .. 'erased:' .. stream) == 1 end

-- The same for the stream of an action's unit: action|stream or action|stream|fingerprint. No other part holds a |.
local function is_erased_unit(unit)
  return is_erased(string.match(unit, '^[^|]*|([^|]*)') or '')
end

-- Tells whether a unit is one of the action that erases. It may give up between its tombstone and its end: a person
-- must learn that, and be able to send it back.
local function erases(unit) return string.sub(unit, 1, 16) == 'erase_destroyed|' end

-- Bounds a stream's timeline in length and life, after lines were added.
local function bound_timeline(stream, keep, ttl)
  if stream == '' then return end
  redis.call('LTRIM', P .. 'timeline:' .. stream, -keep, -1)
  redis.call('EXPIRE', P .. 'timeline:' .. stream, ttl)
end

-- Drops a bridge's claimed list, if it is still what that bridge has read. A command whose connection broke may
-- take effect late: a late move has added callbacks that nobody has appended, a late append meets another claim.
local function drop_claimed(list, count, newest)
  if redis.call('LLEN', list) == count and redis.call('LINDEX', list, 0) == newest then redis.call('DEL', list) end
end

-- Files a dead letter from field, value, ... Returns its id. Its event stays as long as a letter about
-- it does, because a person may come back to it later than events live; the event counts its letters for that.
local function file_letter(now, values)
  local id = tostring(redis.call('INCR', P .. 'dead:seq'))
  redis.call('HSET', P .. 'dead:' .. id, 'id', id, 'at', string.format('%.6f', now), unpack(values))
  redis.call('ZADD', P .. 'dead', now, id)
  for i = 1, #values, 2 do
    local event = values[i] == 'event' and P .. 'event:' .. values[i + 1]
    if event and redis.call('EXISTS', event) == 1 then
      redis.call('PERSIST', event)
      redis.call('HINCRBY', event, 'letters', 1)
    end
    if values[i] == 'reason' then redis.call('HINCRBY', P .. 'counters', 'dead_' .. values[i + 1], 1) end
  end
  return id
end

-- The same for what the caller passed: ARGV[from..to] are field, value, ...
local function bury(now, from, to) return file_letter(now, { unpack(ARGV, from, to) }) end

-- Removes a dead letter. Returns false if it is gone (another operator was faster). With its last letter an event
-- gets the life of a new one.
local function unbury(id, event_ttl)
  if redis.call('ZREM', P .. 'dead', id) == 0 then return false end
  local event = redis.call('HGET', P .. 'dead:' .. id, 'event')
  redis.call('DEL', P .. 'dead:' .. id)
  if event and redis.call('EXISTS', P .. 'event:' .. event) == 1 then
    if redis.call('HINCRBY', P .. 'event:' .. event, 'letters', -1) <= 0 then
      redis.call('HDEL', P .. 'event:' .. event, 'letters')
      redis.call('EXPIRE', P .. 'event:' .. event, event_ttl)
    end
  end
  return true
end
