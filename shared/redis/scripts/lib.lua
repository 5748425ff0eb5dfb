-- Prepended to every script. P (key prefix) and RQ (prefix of RQ's queue keys) are set by the loader from
-- shared/redis/keys.py, where every key is described. Scripts build key names, so they need one Redis, no cluster.

-- Seconds by the server's clock, unless the caller passes a time (tests and simulation do).
local function clock(argument)
  if argument ~= '' then return tonumber(argument) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function lane_key(lane, part) return P .. 'lane:' .. lane .. ':' .. part end

-- Where a unit is ready, leased or waits: with its action, or (a shard of the inbox) with the sequencer. Never with a lane:
-- an action that moves to another lane takes nothing along, and of a unit there is one lease.
local pool_names = {}
local function pool_of(unit)
  local pool = pool_names[unit]
  if not pool then
    local action = string.match(unit, '^([^|]*)|')
    pool = action and P .. 'action:' .. action .. ':' or P .. 'shards:'
    pool_names[unit] = pool
  end
  return pool
end

-- The pools of what a drainer works off: its actions, or the shards. ARGV[from..to]: names of actions.
local function pools_of(lane, from, to)
  if lane == 'sequencer' then return { P .. 'shards:' } end
  local found = {}
  for i = from, to do found[#found + 1] = P .. 'action:' .. ARGV[i] .. ':' end
  return found
end

local function by_pool(units)
  local parted = {}
  for _, unit in ipairs(units) do
    local pool = pool_of(unit)
    if not parted[pool] then parted[pool] = {} end
    table.insert(parted[pool], unit)
  end
  return parted
end

-- What operators have paused: number of the pause, by what it is about. Read once per call, and whole only if there is one.
local pauses, some_streams_paused
local function paused()
  if pauses then return pauses end
  pauses, some_streams_paused = {}, false
  if redis.call('EXISTS', P .. 'paused') == 0 then return pauses end
  local rows = redis.call('HGETALL', P .. 'paused')
  for i = 1, #rows, 2 do
    pauses[rows[i]] = tonumber(string.match(rows[i + 1], '"n":%s*(%d+)') or '0')
    local kind = string.match(rows[i], '^[^|]*')
    some_streams_paused = some_streams_paused or kind == 'source' or kind == 'request'
  end
  return pauses
end

-- Returns the number of the pause that keeps a unit because of its stream; nothing if none does.
local function keeps(unit)
  if not (paused() and some_streams_paused) then return nil end
  local stream = string.match(unit, '^[^|]*|([^|]*)') or ''
  return pauses['source|' .. (string.match(stream, '^[^:]*'))] or pauses['request|' .. stream]
end

-- What the actions that have a limit may do, by pool: calls at a time (0: any number), calls per window (0: any), its
-- length in s.
local limits
local function limit_of(pool)
  if not limits then
    limits = {}
    if redis.call('EXISTS', P .. 'limits') == 1 then
      local rows = redis.call('HGETALL', P .. 'limits')
      for i = 1, #rows, 2 do
        local concurrency, calls, window = string.match(rows[i + 1], '^(%d+) (%d+) (%d+)$')
        if concurrency then
          limits[P .. 'action:' .. rows[i] .. ':'] = { tonumber(concurrency), tonumber(calls), tonumber(window) }
        end
      end
    end
  end
  return limits[pool]
end

-- Tells whether a call of a pool may begin now.
local function has_room(pool, now)
  local limit = limit_of(pool)
  if not limit then return true end
  if limit[1] > 0 and redis.call('ZCARD', pool .. 'leased') >= limit[1] then return false end
  local oldest = limit[2] > 0 and redis.call('LINDEX', pool .. 'calls', limit[2] - 1)
  return not (oldest and (tonumber(oldest) or 0) > now - limit[3])
end

-- Counts a call of an action that has a rate.
local function count_call(pool, limit, now)
  if limit[2] == 0 then return end
  redis.call('LPUSH', pool .. 'calls', string.format('%.6f', now))
  redis.call('LTRIM', pool .. 'calls', 0, limit[2] - 1)
  redis.call('EXPIRE', pool .. 'calls', limit[3] + 1)
end

-- Returns the pools from which a lane may take work now: neither paused, nor at their limit.
local function open_pools(lane, pools, now)
  if lane == 'sequencer' then return pools end
  if paused()['lane|' .. lane] then return {} end
  local found = {}
  for _, pool in ipairs(pools) do
    local action = string.match(pool, 'action:(.*):$') or ''
    if not pauses['action|' .. action] and has_room(pool, now) then found[#found + 1] = pool end
  end
  return found
end

-- Tells whether a lane could take work now. What is ready and may not begin rings no bell: else the lane would look for it
-- again and again.
local function any_ready(lane, pools, now)
  for _, pool in ipairs(open_pools(lane, pools, now)) do
    if redis.call('EXISTS', pool .. 'ready') == 1 then return true end
  end
  return false
end

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

-- Removes the members of a sorted set with the lowest scores, up to a bound as ZCOUNT takes it, and so many at most: a range
-- without a limit may be all that was stored in weeks. What is left goes with the next calls. Returns how many went.
local FORGET_MAX = 1000
local function forget_until(key, bound, at_most)
  local count = math.min(redis.call('ZCOUNT', key, '-inf', bound), at_most)
  if count > 0 then redis.call('ZREMRANGEBYRANK', key, 0, count - 1) end
  return count
end

-- Moves a key of another type than ours has out of the way, where a person can look at it.
local function set_aside(key, now)
  redis.call('RENAME', key, P .. 'foreign:' .. key)
  redis.call('EXPIRE', P .. 'foreign:' .. key, 604800)
  redis.call('ZADD', P .. 'foreign', now, key)
  redis.call('ZREMRANGEBYRANK', P .. 'foreign', 0, -101)
  redis.call('EXPIRE', P .. 'foreign', 604800)
end

-- Runs a command on a key. One of another type than ours is moved away first: a call that has begun to write goes on to its
-- end.
local function surely(now, command, key, ...)
  local done, reply = pcall(redis.call, command, key, ...)
  if done then return reply end
  if not string.find(type(reply) == 'table' and reply.err or tostring(reply), 'WRONGTYPE', 1, true) then error(reply, 0) end
  set_aside(key, now)
  return redis.call(command, key, ...)
end

-- Adds to a counter of a hash; one that is not a number starts again at 0. Returns the new value.
local function bump(key, field, by)
  local readable, count = pcall(redis.call, 'HINCRBY', key, field, by)
  if readable then return count end
  if redis.call('TYPE', key).ok ~= 'hash' then set_aside(key, clock('')) end
  redis.call('HSET', key, field, by)
  return by
end

-- Adds to a counter that gives numbers out. One that cannot be read goes on behind any number that it can have given.
local function next_number(key, by, now)
  local readable, last = pcall(redis.call, 'INCRBY', key, by)
  if readable then return last end
  if redis.call('TYPE', key).ok ~= 'string' then set_aside(key, now) end
  redis.call('SET', key, string.format('%.0f', math.floor(now) * 1000))
  return redis.call('INCRBY', key, by)
end

-- What waits for stored events: entries of queues, dead letters, a hold. An event counts them, and has no end while there
-- is one, because its retention starts at its last outcome. Gathered here, by event, and written by end_of_references.
local references = {}
local function refer(event, by) references[event] = (references[event] or 0) + by end

-- The event of a queue's entry.
local function event_of(entry) return string.sub(entry, 1, 32) end

-- The data key of a stream (deedbox.shared.redis.data_keys) lives while anything does that it seals: it counts the
-- references to the stream's events, and has no end while there is one.
local function keep_data_key(stream, by)
  local key = P .. 'key:' .. stream
  local life = redis.call('HGET', key, 'life')
  if not life then return end
  if bump(key, 'open', by) > 0 then redis.call('PERSIST', key) else redis.call('EXPIRE', key, life) end
end

-- Fields that hold the facts and the body of an event in pieces (deedbox.shared.records.stored_event). A caller names the first
-- of each, and gives the whole; what is longer than all pieces stays whole.
local PIECE_BYTES = 64
local PIECES = { '0', '1', '2', '3', '4', '5', '6', '7',
  'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p' }
local HEAD, BODY = { unpack(PIECES, 1, 8) }, { unpack(PIECES, 9) }
local CUT = { ['0'] = HEAD, a = BODY }

-- Adds a field to field, value, ... of an event as its hash has them.
local function cut(found, name, value)
  local n, names = #found, CUT[name]
  if names and #value <= PIECE_BYTES * #names then
    for k = 1, math.ceil(#value / PIECE_BYTES) do
      found[n + 1], found[n + 2] = names[k], string.sub(value, (k - 1) * PIECE_BYTES + 1, k * PIECE_BYTES)
      n = n + 2
    end
  else
    found[n + 1], found[n + 2] = name, value
  end
end

-- Returns field, value, ... of an event as its hash has them. ARGV[from..to]: the same, whole.
local function in_pieces(from, to)
  local found = {}
  for i = from, to, 2 do cut(found, ARGV[i], ARGV[i + 1]) end
  return found
end

-- Events that are new in this call and have nothing but facts and body, in pieces: each is written by end_of_references, with one
-- command, together with what refers to it.
local fresh = {}

-- Writes an event at once, if it was gathered: who looks at it, or changes it, must find it.
local function settle_event(event)
  if fresh[event] then redis.call('HSET', P .. 'event:' .. event, unpack(fresh[event])) end
  fresh[event] = nil
end

-- Writes an event: field, value, ... in pieces. No piece of an event that it replaces stays.
local function write_event(event, fields)
  local key = P .. 'event:' .. event
  refer(event, 0)
  settle_event(event)
  local added = redis.call('HSET', key, unpack(fields))
  if fields[1] ~= HEAD[1] or 2 * added == #fields then return end
  local written = {}
  for i = 1, #fields, 2 do written[fields[i]] = true end
  for _, piece in ipairs(PIECES) do
    if not written[piece] then redis.call('HDEL', key, piece) end
  end
end

-- The same for facts and body, each whole, of an event that is new as a rule.
local function write_new_event(event, facts, body)
  local fields = {}
  cut(fields, HEAD[1], facts)
  cut(fields, BODY[1], body)
  if fresh[event] or redis.call('EXISTS', P .. 'event:' .. event) == 1 then
    write_event(event, fields)
  else
    fresh[event] = fields
    refer(event, 0)
  end
end

-- Returns facts and body of an event, each whole; '' for what there is not.
local function read_event(fingerprint)
  local rows, fields = redis.call('HGETALL', P .. 'event:' .. fingerprint), {}
  for i = 1, #rows, 2 do fields[rows[i]] = rows[i + 1] end
  local function whole(names)
    local parts = {}
    for _, name in ipairs(names) do parts[#parts + 1] = fields[name] end
    return table.concat(parts)
  end
  return whole(HEAD), whole(BODY)
end

-- ttl: the life of an event for which nothing waits any more.
local function end_of_references(ttl)
  for event, by in pairs(references) do
    local key, fields = P .. 'event:' .. event, fresh[event]
    if fields then
      redis.call('HSET', key, 'open', by, unpack(fields))
      if by <= 0 then redis.call('EXPIRE', key, ttl) end
    elseif redis.call('EXISTS', key) == 1 then
      local sealed = redis.call('HMGET', key, 'source', 'sealed')
      if sealed[2] then keep_data_key(sealed[1] .. ':' .. sealed[2], by) end
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
local function mark_all_ready(units, now)
  for pool, mine in pairs(by_pool(units)) do
    local ready = {}
    for i = 1, #mine, 1000 do
      local last = math.min(i + 999, #mine)
      local leased = redis.call('ZMSCORE', pool .. 'leased', unpack(mine, i, last))
      local waiting = redis.call('ZMSCORE', pool .. 'waiting', unpack(mine, i, last))
      for j = i, last do
        if not leased[j - i + 1] and not waiting[j - i + 1] then
          ready[#ready + 1] = now
          ready[#ready + 1] = mine[j]
        end
      end
    end
    for i = 1, #ready, 1000 do
      redis.call('ZADD', pool .. 'ready', 'NX', unpack(ready, i, math.min(i + 999, #ready)))
    end
  end
end

local function mark_ready(unit, now) mark_all_ready({ unit }, now) end

-- Takes units off `ready` and leases them. Returns their tokens, which fence: a holder whose lease was swept
-- cannot commit any more. A token names the drainer, because a failover can set the counter back: the same number
-- would then be given twice.
local function lease_all(lane, units, drainer, now, lease_s)
  local ends_at = now + lease_s
  -- First a write that a full Redis refuses: then nothing of it is written.
  local last = next_number(P .. 'fence', #units, now)
  local tokens = {}
  for i, unit in ipairs(units) do tokens[unit] = string.format('%.0f', last - #units + i) .. ':' .. drainer end
  for pool, mine in pairs(by_pool(units)) do
    local leased, fenced = {}, {}
    for i, unit in ipairs(mine) do
      leased[2 * i - 1], leased[2 * i] = ends_at, unit
      fenced[2 * i - 1], fenced[2 * i] = unit, tokens[unit]
    end
    call_many('ZREM', pool .. 'ready', mine)
    call_many('ZADD', pool .. 'leased', leased)
    call_many('HSET', pool .. 'tokens', fenced)
  end
  redis.call('ZREM', lane_key(lane, 'idle'), drainer)
  return tokens
end

-- A drainer found nothing: it counts as idle, waiting for the bell, until then.
local function idle(lane, drainer, until_at) redis.call('ZADD', lane_key(lane, 'idle'), until_at, drainer) end

local function action_of(unit) return string.match(unit, '^[^|]*') end

-- Entries are counted by action, because an action may have 100,000 queues.
local function deepen(action, by) bump(P .. 'depths', action, by) end

-- The same by stream, for those that an erasure asks about.
local function count_queued(stream, action, by)
  local key = P .. 'queued:' .. stream
  if by ~= 0 and bump(key, action, by) <= 0 then redis.call('HDEL', key, action) end
end

local function stream_of(unit) return string.match(unit, '^[^|]*|([^|]*)') or '' end

local function count_entries(unit, by)
  deepen(action_of(unit), by)
  count_queued(stream_of(unit), action_of(unit), by)
end

-- A unit whose queue is empty waits for nothing.
local function forget_unit(unit)
  redis.call('ZREM', pool_of(unit) .. 'ready', unit)
  redis.call('ZREM', pool_of(unit) .. 'waiting', unit)
  redis.call('ZREM', pool_of(unit) .. 'parked', unit)
end

-- Adds one entry to the end of a unit's queue.
local function enqueue(unit, entry, now)
  redis.call('RPUSH', P .. 'queue:' .. unit, entry)
  refer(event_of(entry), 1)
  count_entries(unit, 1)
  mark_ready(unit, now)
end

-- Takes off the first entry of a unit's queue: it has its outcome.
local function dequeue(unit, entry)
  redis.call('LPOP', P .. 'queue:' .. unit)
  refer(event_of(entry), -1)
  count_entries(unit, -1)
end

-- For scripts that add many: gathered here, and written once by enqueue_all. lanes: those to ring; entries of each unit;
-- depths: how many more entries each action has.
local gathered = { lanes = {}, units = {}, entries = {}, depths = {}, queued = {} }
local function gather_unit(lane, unit)
  gathered.lanes[lane] = true
  if not gathered.entries[unit] then
    gathered.entries[unit] = {}
    table.insert(gathered.units, unit)
  end
  return gathered.entries[unit]
end

local function gather_depth(unit, by)
  local action = action_of(unit)
  gathered.depths[action] = (gathered.depths[action] or 0) + by
  local stream = stream_of(unit)
  local name = action .. '|' .. stream
  if not gathered.queued[name] then
    gathered.queued[name] = { stream, action, 0 }
    table.insert(gathered.queued, gathered.queued[name])
  end
  gathered.queued[name][3] = gathered.queued[name][3] + by
end

local function gather_entry(lane, unit, entry)
  table.insert(gather_unit(lane, unit), entry)
  refer(event_of(entry), 1)
end

-- What is subscribed, as the newest announcement says: read once per call, and only if something is dispatched.
local subscribed, generation
local subscribers = {}

-- The same as matches in shared/core/routing.py.
local function matches(pattern, event_type)
  if pattern == '*' then return string.sub(event_type, 1, 8) ~= 'deedbox.' end
  if string.sub(pattern, -1) == '*' then return string.sub(event_type, 1, #pattern - 1) == string.sub(pattern, 1, -2) end
  return event_type == pattern
end

-- Reads it. Returns false if nothing is announced, or nothing that can be read: then it is unknown where events go, until
-- a worker announces it again.
local function knows_subscribers()
  if subscribed then return true end
  local found = redis.call('HMGET', P .. 'subscriptions', 'actions', 'generation')
  local readable, actions = pcall(cjson.decode, found[1] or '')
  readable = readable and type(actions) == 'table' and pcall(function()
    for _, action in ipairs(actions) do
      assert(type(action.name .. action.lane) == 'string' and action.ordered ~= nil)
      for _, pattern in ipairs(action.types) do assert(type(pattern) == 'string') end
    end
  end)
  if readable then subscribed, generation = actions, tostring(tonumber(found[2] or '') or 0) end
  return readable
end

local function subscribers_of(event_type)
  if not subscribers[event_type] then
    subscribers[event_type] = {}
    for _, action in ipairs(subscribed) do
      local wanted = false
      for _, pattern in ipairs(action.types) do wanted = wanted or matches(pattern, event_type) end
      if wanted then table.insert(subscribers[event_type], action) end
    end
  end
  return subscribers[event_type]
end

-- Returns the declared action of that name; nothing if there is none.
local function declared(name)
  if not knows_subscribers() then return nil end
  for _, action in ipairs(subscribed) do
    if action.name == name then return action end
  end
end

-- Names the unit of work of an event. The same as unit_of in shared/core/routing.py.
local function unit_of(action, stream, fingerprint)
  local unit = action.name .. '|' .. stream
  if not action.ordered or string.match(stream, '^[^:]*:type/') then unit = unit .. '|' .. fingerprint end
  return unit
end

-- Adds an event to the queues of all actions that want it: one after the other per key, or (unordered, or of no subject
-- whose order could matter) one of its own. only: the name of the one action that gets it; nothing: all of them.
local function dispatch(stream, fingerprint, event_type, entry, only)
  for _, action in ipairs(subscribers_of(event_type)) do
    if not only or action.name == only then
      gather_entry(action.lane, unit_of(action, stream, fingerprint), entry)
    end
  end
end

-- Writes what was gathered. A unit without an entry is only marked as ready.
local function enqueue_all(now)
  for _, unit in ipairs(gathered.units) do
    local entries = gathered.entries[unit]
    if #entries > 0 then
      call_many('RPUSH', P .. 'queue:' .. unit, entries)
      gather_depth(unit, #entries)
    end
  end
  for action, by in pairs(gathered.depths) do
    if by ~= 0 then deepen(action, by) end
  end
  for _, each in ipairs(gathered.queued) do count_queued(unpack(each)) end
  mark_all_ready(gathered.units, now)
end

-- Adds counts that were tallied over a batch.
local function count_all(tally)
  for name, count in pairs(tally) do bump(P .. 'counters', name, count) end
end

local function holds(unit, token) return redis.call('HGET', pool_of(unit) .. 'tokens', unit) == token end

local function drop_leases(units)
  for pool, mine in pairs(by_pool(units)) do
    call_many('ZREM', pool .. 'leased', mine)
    call_many('HDEL', pool .. 'tokens', mine)
  end
end

local function drop_lease(unit) drop_leases({ unit }) end

-- Takes units off `ready` that a pause keeps: the sweeper puts them back when it is over.
local PARKED_MAX = 500
local function park(units)
  for pool, mine in pairs(by_pool(units)) do
    call_many('ZREM', pool .. 'ready', mine)
    for _, unit in ipairs(mine) do redis.call('ZADD', pool .. 'parked', keeps(unit), unit) end
  end
end

-- Returns the units of several pools that have been ready for longest, in this order, at most so many. What belongs into
-- another pool was never written by us, and goes. What a pause keeps is parked, at most PARKED_MAX in one call.
local function oldest_ready(pools, at_most)
  local sources, oldest, kept = {}, {}, {}
  local function read(source)
    source.rows = redis.call('ZRANGE', source.key, source.read, source.read + 31, 'WITHSCORES')
    source.read, source.at = source.read + 32, 1
    source.since = tonumber(source.rows[2])
  end
  for _, pool in ipairs(pools) do
    local source = { pool = pool, key = pool .. 'ready', read = 0 }
    read(source)
    if source.since then sources[#sources + 1] = source end
  end
  while #oldest < at_most and #kept < PARKED_MAX do
    local first
    for _, source in ipairs(sources) do
      if source.since and (not first or source.since < first.since) then first = source end
    end
    if not first then break end
    local unit = first.rows[first.at]
    if pool_of(unit) ~= first.pool then
      redis.call('ZREM', first.key, unit)
    elseif keeps(unit) then
      kept[#kept + 1] = unit
    else
      oldest[#oldest + 1] = unit
    end
    first.at = first.at + 2
    first.since = tonumber(first.rows[first.at + 1])
    if not first.since then read(first) end
  end
  park(kept)
  return oldest
end

-- Leases the units of some actions that have been ready for longest and reads the heads of their queues with the events.
-- Returns: {} if nothing is ready, and then the drainer is idle; else {ring, now, {unit, token, entry, facts, body, entry, facts,
--          body, ...}, ...}.
--          One entry of each unit; where that leaves room, what follows in the same queues, too. An entry begins after the
--          outcome of the one before it is committed: a crash repeats the last call of a key only, and never an earlier
--          event after a later one.
--          A unit whose queue is empty (its entries were discarded) is let go and not returned.
--          A unit of an action that has a limit is claimed alone: it begins at once, so that no call is counted that waits.
local RUN_MAX = 32
local function claim_units(lane, pools, now, drainer, lease_s, idle_s, at_most, bytes_left)
  local oldest = oldest_ready(open_pools(lane, pools, now), at_most)
  if #oldest == 0 then
    idle(lane, drainer, now + idle_s)
    -- Behind many units that were parked there may be others.
    if any_ready(lane, pools, now) then wake(lane, now) end
    return {}
  end
  local units, leased, empty, alone = {}, {}, {}, false
  local function add(claim, entry)
    local head, body = read_event(event_of(entry))
    bytes_left = bytes_left - #head - #body
    claim[#claim + 1], claim[#claim + 2], claim[#claim + 3] = entry, head, body
  end
  for _, unit in ipairs(oldest) do
    if bytes_left <= 0 or alone then break end
    local limit = limit_of(pool_of(unit))
    local entry = not (limit and #units > 0) and redis.call('LINDEX', P .. 'queue:' .. unit, 0)
    if entry then
      alone = limit ~= nil
      if limit then count_call(pool_of(unit), limit, now) end
      units[#units + 1] = { unit, '' }
      add(units[#units], entry)
      leased[#leased + 1] = unit
    elseif not limit or #units == 0 then
      empty[#empty + 1] = unit
    end
  end
  local run = math.min(RUN_MAX, math.floor(at_most / math.max(1, #units)))
  for _, claim in ipairs(units) do
    if alone or run < 2 then break end
    for _, entry in ipairs(redis.call('LRANGE', P .. 'queue:' .. claim[1], 1, run - 1)) do
      if bytes_left <= 0 then break end
      add(claim, entry)
    end
  end
  local tokens = lease_all(lane, leased, drainer, now, lease_s)
  for _, unit in ipairs(units) do unit[2] = tokens[unit[1]] end
  for pool, mine in pairs(by_pool(empty)) do call_many('ZREM', pool .. 'ready', mine) end
  local ring = 0
  if any_ready(lane, pools, now) then ring = wake(lane, now) end
  return { ring, string.format('%.6f', now), unpack(units) }
end

-- Leases a shard of the inbox for the sequencer and reads its oldest entries, without removing them. ARGV[from..]:
-- drainer, lease in s, idle until (s from now), entries at most, bytes at most.
-- Returns: {} if nothing is ready; else {unit, token, ring, now, {entries}, {streams whose hold is over},
--          entries that stay in the shard behind these}.
local function claim_inbox(now, from)
  local shards, drainer = pools_of('sequencer'), ARGV[from]
  local unit = oldest_ready(shards, 1)[1]
  if not (unit and knows_subscribers()) then
    idle('sequencer', drainer, now + tonumber(ARGV[from + 2]))
    return {}
  end
  local token = lease_all('sequencer', { unit }, drainer, now, tonumber(ARGV[from + 1]))[unit]
  local ring = any_ready('sequencer', shards, now) and wake('sequencer', now) or 0
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

-- Adds an event to the clean stream and cuts it to about `keep` entries. entry: what is said of it
-- (deedbox.shared.records.clean_entry). n counts without gaps: a reader sees what was cut before it came.
-- published: the count, written once by end_of_publishing.
local published
local cleaned = {}
local function publish(keep, event, entry)
  published = (published or tonumber(redis.call('GET', P .. 'events:seq') or '0') or 0) + 1
  local n = string.format('%.0f', published)
  local id = redis.call('XADD', P .. 'events', 'MAXLEN', '~', keep, '*', 'n', n, 'event', entry)
  table.insert(cleaned, { event, id .. ' ' .. n })
end

local function end_of_publishing()
  if published then redis.call('SET', P .. 'events:seq', string.format('%.0f', published)) end
  -- The event knows its entry, so that an erasure removes both.
  for _, each in ipairs(cleaned) do
    local fields, event = fresh[each[1]], P .. 'event:' .. each[1]
    if fields then
      fields[#fields + 1], fields[#fields + 2] = 'clean', each[2]
    elseif redis.call('EXISTS', event) == 1 then
      redis.call('HSET', event, 'clean', each[2])
    end
  end
end

-- Returns whether a stream was erased: there is a tombstone for it. Every script that writes about a stream asks this in
-- the same call, so that an erasure in between its caller's look and its commit is not undone.
local function is_erased(stream) return redis.call('EXISTS', P .. 'erased:' .. stream) == 1 end

-- The same for the stream of an action's unit: action|stream or action|stream|fingerprint. No other part holds a |.
local function is_erased_unit(unit)
  return is_erased(string.match(unit, '^[^|]*|([^|]*)') or '')
end

-- Tells whether a unit is one of the action that erases. It may give up between its tombstone and its end: a person
-- must learn that, and be able to send it back.
local function erases(unit) return string.sub(unit, 1, 16) == 'erase_destroyed|' end

-- Notes that something was stored about a stream, in the index of all streams. The sweeper removes what has expired.
local function note_stream(stream, now) redis.call('ZADD', P .. 'streams', now, stream) end

-- The id of a request: its name in the look-ups, each of which is of one source.
local function id_of(stream) return string.match(stream, '^[^/]*/(.*)$') or stream end

-- Keeps the read model of a request, and by what the request is found: the term of its state, which replaces that of an
-- earlier one, and further terms, at most so many: ARGV[from..to]. What many requests share is gathered here by name, and
-- written once by end_of_requests.
local indexed = { names = {}, finds = {} }
local function keep_request(stream, now, ttl, value, state, most, from, to)
  redis.call('SET', P .. 'request:' .. stream, value, 'EX', ttl)
  local finds, known, terms, added = P .. 'finds:' .. stream, {}, {}, {}
  local function find_by(term)
    known[term] = true
    terms[#terms + 1] = term
  end
  local rows = surely(now, 'HGETALL', finds)
  for i = 1, #rows, 2 do
    if rows[i + 1] == 'state' and rows[i] ~= state then
      redis.call('HDEL', finds, rows[i])
      surely(now, 'ZREM', P .. 'find:' .. rows[i], id_of(stream))
    else
      find_by(rows[i])
    end
  end
  if not known[state] then
    find_by(state)
    added = { state, 'state' }
  end
  for i = from, to do
    if not known[ARGV[i]] and #terms <= most then
      find_by(ARGV[i])
      added[#added + 1], added[#added + 2] = ARGV[i], ''
    end
  end
  if #added > 0 then redis.call('HSET', finds, unpack(added)) end
  redis.call('EXPIRE', finds, ttl)
  for _, term in ipairs(terms) do
    if not indexed.finds[term] then
      indexed.finds[term] = {}
      table.insert(indexed.names, term)
    end
    local find = indexed.finds[term]
    find[#find + 1], find[#find + 2] = now, id_of(stream)
  end
end

-- Where a look-up grows, it is cut to so many requests, and to those that are younger than ttl.
local function end_of_requests(now, ttl, keep)
  for _, term in ipairs(indexed.names) do
    local find, scored, grown = P .. 'find:' .. term, indexed.finds[term], 0
    for i = 1, #scored, 1000 do
      grown = grown + surely(now, 'ZADD', find, unpack(scored, i, math.min(i + 999, #scored)))
    end
    if grown > 0 then
      redis.call('ZREMRANGEBYRANK', find, 0, -keep - 1)
      forget_until(find, now - ttl, FORGET_MAX)
    end
    redis.call('EXPIRE', find, ttl)
  end
end

-- Adds lines to a stream's timeline, and bounds its length and life. Every change of what a stream holds has a line.
local function add_lines(stream, lines, keep, ttl, now)
  if #lines == 0 then return end
  redis.call('ZADD', P .. 'quiet', now, stream)
  local timeline, length = P .. 'timeline:' .. stream, 0
  for i = 1, #lines, 1000 do
    length = redis.call('RPUSH', timeline, unpack(lines, i, math.min(i + 999, #lines)))
  end
  if length > keep then redis.call('LTRIM', timeline, -keep, -1) end
  redis.call('EXPIRE', timeline, ttl)
end

-- Drops of a bridge's claimed list what that bridge has read, its oldest. A command whose connection broke may take
-- effect late: a late move has added callbacks that were not appended, and a late append meets another claim.
local function drop_claimed(list, count, newest)
  if redis.call('LINDEX', list, -count) == newest then redis.call('LTRIM', list, 0, -count - 1) end
end

-- What a dead letter is about, or may be about: ordering keys, by which an erasure finds it.
local function subjects_of(key, unit, mentions)
  local found = { key or (unit and string.match(unit, '^[^|]*|[^:|]*:([^|]*)')) or nil }
  for each in string.gmatch(mentions or '', '%S+') do found[#found + 1] = each end
  return found
end

-- Files a dead letter from field, value, ... Returns its id. Its event stays as long as a letter about it does,
-- because a person may come back to it later than events live.
local function file_letter(now, values)
  local id = string.format('%.0f', next_number(P .. 'dead:seq', 1, now))
  redis.call('HSET', P .. 'dead:' .. id, 'id', id, 'at', string.format('%.6f', now), unpack(values))
  redis.call('ZADD', P .. 'dead', now, id)
  local letter = {}
  for i = 1, #values, 2 do letter[values[i]] = values[i + 1] end
  if letter.event then refer(letter.event, 1) end
  if letter.reason then bump(P .. 'counters', 'dead_' .. letter.reason, 1) end
  for _, key in ipairs(subjects_of(letter.key, letter.unit, letter.mentions)) do
    redis.call('SADD', P .. 'letters:' .. key, id)
  end
  return id
end

-- The same for a call of a unit, with what its unit says. Type and trace id are packed in the event: readers take them from it.
local function file_call(now, unit, values)
  local source, key = string.match(stream_of(unit), '^([^:]*):(.*)$')
  if source then return file_letter(now, { 'source', source, 'key', key, 'unit', unit, unpack(values) }) end
  return file_letter(now, { 'unit', unit, unpack(values) })
end

-- The same for what the caller passed: ARGV[from..to] are field, value, ...
local function bury(now, from, to) return file_letter(now, { unpack(ARGV, from, to) }) end

-- Removes a dead letter. Returns whether it was there (another operator may be faster), and its event.
local function drop_letter(id)
  if redis.call('ZREM', P .. 'dead', id) == 0 then return false end
  local letter = redis.call('HMGET', P .. 'dead:' .. id, 'key', 'unit', 'mentions', 'event')
  for _, key in ipairs(subjects_of(letter[1], letter[2], letter[3])) do redis.call('SREM', P .. 'letters:' .. key, id) end
  redis.call('DEL', P .. 'dead:' .. id)
  return true, letter[4]
end

-- The same for a letter whose event stays for those who wait for it, if there are any.
local function unbury(id)
  local removed, event = drop_letter(id)
  if event then refer(event, -1) end
  return removed
end
