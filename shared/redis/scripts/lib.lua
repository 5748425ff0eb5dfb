-- Prepended to every script. P (key prefix) and RQ (prefix of RQ's queue keys) are set by the loader from
-- shared/redis/keys.py, where every key is described. Scripts build key names, so they need one Redis, no cluster.

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

-- Calls a command of many operands (one key first) in pieces: Lua's stack bounds how many it passes at once.
local function call_many(command, key, operands)
  for i = 1, #operands, 1000 do
    redis.call(command, key, unpack(operands, i, math.min(i + 999, #operands)))
  end
end

-- Adds to a counter of a hash; one that is no number, whoever wrote it, begins anew. Returns the new value.
local function bump(key, field, by)
  local readable, count = pcall(redis.call, 'HINCRBY', key, field, by)
  if readable then return count end
  redis.call('HSET', key, field, by)
  return by
end

-- What waits for stored events: entries of queues, dead letters, a hold. An event counts them, and has no end while there
-- is one, because its retention starts at its last outcome. Gathered here, by event, and written by end_of_references.
local references = {}
local function refer(event, by) references[event] = (references[event] or 0) + by end

-- The event of a queue's entry.
local function event_of(entry) return string.sub(entry, 1, 32) end

-- ttl: the life of an event for which nothing waits any more.
local function end_of_references(ttl)
  for event, by in pairs(references) do
    local key = P .. 'event:' .. event
    if redis.call('EXISTS', key) == 1 then
      if bump(key, 'open', by) > 0 then
        redis.call('PERSIST', key)
      else
        redis.call('EXPIRE', key, ttl)
      end
    end
  end
end

-- Marks units of work as ready unless they are leased (the holder looks again when it finishes) or wait for a
-- retry (the head of line decides when the unit goes on).
local function mark_all_ready(lane, units, now)
  local ready = {}
  for i = 1, #units, 1000 do
    local last = math.min(i + 999, #units)
    local leased = redis.call('ZMSCORE', lane_key(lane, 'leased'), unpack(units, i, last))
    local waiting = redis.call('ZMSCORE', lane_key(lane, 'waiting'), unpack(units, i, last))
    for j = i, last do
      if not leased[j - i + 1] and not waiting[j - i + 1] then
        ready[#ready + 1] = now
        ready[#ready + 1] = units[j]
      end
    end
  end
  for i = 1, #ready, 1000 do
    redis.call('ZADD', lane_key(lane, 'ready'), 'NX', unpack(ready, i, math.min(i + 999, #ready)))
  end
end

local function mark_ready(lane, unit, now) mark_all_ready(lane, { unit }, now) end

-- Takes units off `ready` and leases them. Returns their tokens, which fence: a holder whose lease was swept
-- cannot commit any more. A token names the drainer, because a failover can set the counter back: the same number
-- would then be given twice.
local function lease_all(lane, units, drainer, ends_at)
  -- First a write that a full Redis refuses: then nothing of it is written.
  local last = redis.call('INCRBY', P .. 'fence', #units)
  local tokens, leased, fenced = {}, {}, {}
  for i, unit in ipairs(units) do
    tokens[i] = string.format('%.0f', last - #units + i) .. ':' .. drainer
    leased[2 * i - 1], leased[2 * i] = ends_at, unit
    fenced[2 * i - 1], fenced[2 * i] = unit, tokens[i]
  end
  call_many('ZREM', lane_key(lane, 'ready'), units)
  redis.call('ZREM', lane_key(lane, 'idle'), drainer)
  call_many('ZADD', lane_key(lane, 'leased'), leased)
  call_many('HSET', lane_key(lane, 'tokens'), fenced)
  return tokens
end

-- A drainer found nothing: it counts as idle, waiting for the bell, until then.
local function idle(lane, drainer, until_at) redis.call('ZADD', lane_key(lane, 'idle'), until_at, drainer) end

-- Leases the unit that has been ready for longest. Returns unit and token; or nothing, and then the drainer is idle.
local function lease(lane, drainer, now, lease_s, idle_until)
  local unit = redis.call('ZRANGE', lane_key(lane, 'ready'), 0, 0)[1]
  if not unit then
    idle(lane, drainer, idle_until)
    return nil
  end
  return unit, lease_all(lane, { unit }, drainer, now + lease_s)[1]
end

-- Adds one entry to the end of a unit's queue. The depth is counted, because a lane may have 100,000 queues.
local function enqueue(lane, unit, entry, now)
  redis.call('RPUSH', P .. 'queue:' .. unit, entry)
  refer(event_of(entry), 1)
  redis.call('INCR', lane_key(lane, 'depth'))
  mark_ready(lane, unit, now)
end

-- For scripts that add many: gather, and write once at the end. gathered: lane -> {units, in order; entries of each;
-- depth: how much deeper the lane becomes}.
local function gather(gathered, lane)
  local into = gathered[lane]
  if not into then
    into = { units = {}, entries = {}, depth = 0 }
    gathered[lane] = into
  end
  return into
end

local function gather_unit(into, unit)
  if not into.entries[unit] then
    into.entries[unit] = {}
    into.units[#into.units + 1] = unit
  end
  return into.entries[unit]
end

-- The entries are ARGV[from..to].
local function gather_entries(gathered, lane, unit, from, to)
  local into = gather(gathered, lane)
  local entries = gather_unit(into, unit)
  for i = from, to do
    entries[#entries + 1] = ARGV[i]
    refer(event_of(ARGV[i]), 1)
  end
  into.depth = into.depth + to - from + 1
end

-- Writes what was gathered. A unit without an entry is only marked as ready.
local function enqueue_all(gathered, now)
  for lane, into in pairs(gathered) do
    for _, unit in ipairs(into.units) do call_many('RPUSH', P .. 'queue:' .. unit, into.entries[unit]) end
    if into.depth ~= 0 then redis.call('INCRBY', lane_key(lane, 'depth'), into.depth) end
    mark_all_ready(lane, into.units, now)
  end
end

-- Adds counts that were tallied over a batch.
local function count_all(tally)
  for name, count in pairs(tally) do bump(P .. 'counters', name, count) end
end

local function holds(lane, unit, token)
  return redis.call('HGET', lane_key(lane, 'tokens'), unit) == token
end

local function drop_leases(lane, units)
  call_many('ZREM', lane_key(lane, 'leased'), units)
  call_many('HDEL', lane_key(lane, 'tokens'), units)
end

local function drop_lease(lane, unit) drop_leases(lane, { unit }) end

-- Leases the units of a lane that have been ready for longest and reads the heads of their queues with the events.
-- Returns: {} if nothing is ready, and then the drainer is idle; else {ring, now, {unit, token, entry, {event fields}},
--          ...}.
--          One entry of a unit at a time: a crash that loses uncommitted outcomes repeats the last call of a key
--          only, and never an earlier event after a later one.
--          A unit whose queue is empty (its entries were discarded) is let go and not returned.
local function claim_units(lane, now, drainer, lease_s, idle_s, at_most, bytes_left)
  local oldest = redis.call('ZRANGE', lane_key(lane, 'ready'), 0, at_most - 1)
  if #oldest == 0 then
    idle(lane, drainer, now + idle_s)
    return {}
  end
  local units, leased, empty = {}, {}, {}
  for _, unit in ipairs(oldest) do
    if bytes_left <= 0 then break end
    local entry = redis.call('LINDEX', P .. 'queue:' .. unit, 0)
    if entry then
      local event = redis.call('HGETALL', P .. 'event:' .. event_of(entry))
      for _, value in ipairs(event) do bytes_left = bytes_left - #value end
      units[#units + 1] = { unit, '', entry, event }
      leased[#leased + 1] = unit
    else
      empty[#empty + 1] = unit
    end
  end
  for n, token in ipairs(lease_all(lane, leased, drainer, now + lease_s)) do units[n][2] = token end
  call_many('ZREM', lane_key(lane, 'ready'), empty)
  local ring = 0
  if redis.call('ZCARD', lane_key(lane, 'ready')) > 0 then ring = wake(lane, now) end
  return { ring, string.format('%.6f', now), unpack(units) }
end

-- Leases a shard of the inbox for the sequencer and reads its oldest entries, without removing them. ARGV[from..]:
-- drainer, lease in s, idle until (s from now), entries at most, bytes at most.
-- Returns: {} if nothing is ready; else {unit, token, ring, now, {entries}, {streams whose hold is over},
--          entries that stay in the shard behind these}.
local function claim_inbox(now, from)
  local unit, token = lease('sequencer', ARGV[from], now, tonumber(ARGV[from + 1]), now + tonumber(ARGV[from + 2]))
  if not unit then return {} end
  local ring = 0
  if redis.call('ZCARD', lane_key('sequencer', 'ready')) > 0 then ring = wake('sequencer', now) end
  local inbox, limit, room, entries = P .. 'inbox:' .. unit, tonumber(ARGV[from + 3]), tonumber(ARGV[from + 4]), {}
  while #entries < limit and room > 0 do
    local piece = redis.call('LRANGE', inbox, #entries, math.min(#entries + 49, limit - 1))
    if #piece == 0 then break end
    for _, entry in ipairs(piece) do
      if room <= 0 then break end
      entries[#entries + 1] = entry
      room = room - #entry
    end
  end
  return {
    unit, token, ring, string.format('%.6f', now),
    entries,
    redis.call('ZRANGEBYSCORE', P .. 'wake:' .. unit, '-inf', now, 'LIMIT', 0, limit),
    redis.call('LLEN', inbox) - #entries,
  }
end

-- Adds an event to the clean stream and cuts it to about `keep` entries. ARGV[from..]: keep, fingerprint, type,
-- event time, related signature id, late (0 or 1). n counts without gaps: a reader sees what was cut before it came.
-- published: the count, written once by end_of_publishing.
local published
local function publish(stream, from)
  published = (published or tonumber(redis.call('GET', P .. 'events:seq') or '0')) + 1
  local n = published
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', ARGV[from], '*', 'n', n, 'stream', stream, 'event', ARGV[from + 1],
    'type', ARGV[from + 2], 'time', ARGV[from + 3], 'signature', ARGV[from + 4], 'late', ARGV[from + 5])
end

local function end_of_publishing()
  if published then redis.call('SET', P .. 'events:seq', string.format('%.0f', published)) end
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

-- Adds lines to a stream's timeline, and bounds its length and life.
local function add_lines(stream, lines, keep, ttl)
  if #lines == 0 then return end
  local timeline, length = P .. 'timeline:' .. stream, 0
  for i = 1, #lines, 1000 do
    length = redis.call('RPUSH', timeline, unpack(lines, i, math.min(i + 999, #lines)))
  end
  if length > keep then redis.call('LTRIM', timeline, -keep, -1) end
  redis.call('EXPIRE', timeline, ttl)
end

-- Drops of a bridge's claimed list what that bridge has read, its oldest. A command whose connection broke may take
-- effect late: a late move has added callbacks that nobody has appended, and a late append meets another claim.
local function drop_claimed(list, count, newest)
  if redis.call('LINDEX', list, -count) == newest then redis.call('LTRIM', list, 0, -count - 1) end
end

-- Files a dead letter from field, value, ... Returns its id. Its event stays as long as a letter about it does,
-- because a person may come back to it later than events live.
local function file_letter(now, values)
  local id = tostring(redis.call('INCR', P .. 'dead:seq'))
  redis.call('HSET', P .. 'dead:' .. id, 'id', id, 'at', string.format('%.6f', now), unpack(values))
  redis.call('ZADD', P .. 'dead', now, id)
  for i = 1, #values, 2 do
    if values[i] == 'event' then refer(values[i + 1], 1) end
    if values[i] == 'reason' then redis.call('HINCRBY', P .. 'counters', 'dead_' .. values[i + 1], 1) end
  end
  return id
end

-- The same for what the caller passed: ARGV[from..to] are field, value, ...
local function bury(now, from, to) return file_letter(now, { unpack(ARGV, from, to) }) end

-- Removes a dead letter. Returns false if it is gone (another operator was faster).
local function unbury(id)
  if redis.call('ZREM', P .. 'dead', id) == 0 then return false end
  local event = redis.call('HGET', P .. 'dead:' .. id, 'event')
  redis.call('DEL', P .. 'dead:' .. id)
  if event then refer(event, -1) end
  return true
end
