-- Gives the calls of an action that no process declares any more to another action, before what waits for that already:
-- they are of earlier events. A unit that runs, of either action, is left: ask again. A queue with an order moves whole, or not.
-- ARGV: now ('' = server), action, the other action, entries after which no further queue is moved
-- Returns: {entries moved, entries left, 1 if the lane must be rung, lane}; {-1, 0, 0, ''} if the action is declared,
--          {-2, 0, 0, ''} if the other is not, {-3, 0, 0, ''} if no declaration can be read: nothing was changed.
local now, action, at_most = clock(ARGV[1]), ARGV[2], tonumber(ARGV[4])
if not knows_subscribers() then return { -3, 0, 0, '' } end
local target = declared(ARGV[3])
if declared(action) then return { -1, 0, 0, '' } end
if not target then return { -2, 0, 0, '' } end

local function count_moved(unit, to, entries)
  count_entries(unit, -entries)
  count_entries(to, entries)
end

-- Moves a whole queue to the one unit that takes its place. The shorter of the two queues is copied. Returns how many entries;
-- nothing if both are long: the other action works its queue off meanwhile.
local function move_whole(unit, to)
  local queue, other = P .. 'queue:' .. unit, P .. 'queue:' .. to
  local mine, theirs = redis.call('LLEN', queue), redis.call('LLEN', other)
  if math.min(mine, theirs) > at_most then return nil end
  if theirs <= mine then
    for _, entry in ipairs(redis.call('LRANGE', other, 0, -1)) do redis.call('RPUSH', queue, entry) end
    redis.call('RENAME', queue, other)
  else
    local entries = redis.call('LRANGE', queue, 0, -1)
    for i = #entries, 1, -1 do redis.call('LPUSH', other, entries[i]) end
    redis.call('DEL', queue)
  end
  count_moved(unit, to, mine)
  return mine
end

local function is_leased(unit) return redis.call('HEXISTS', pool_of(unit) .. 'tokens', unit) == 1 end

-- Moves what it may of a queue. Returns how many entries.
local function move(unit, room)
  local stream, queue = stream_of(unit), P .. 'queue:' .. unit
  local first, units, entries = redis.call('LINDEX', queue, 0), {}, 0
  if not first then return 0 end
  local to = unit_of(target, stream, event_of(first))
  if to == target.name .. '|' .. stream then
    if is_leased(to) then return 0 end
    units[1], entries = to, move_whole(unit, to) or 0
  else
    -- Each event gets a unit, and none has an order to keep.
    for _, entry in ipairs(redis.call('LRANGE', queue, 0, room - 1)) do
      to = unit_of(target, stream, event_of(entry))
      if is_leased(to) then break end
      redis.call('LPOP', queue)
      redis.call('LPUSH', P .. 'queue:' .. to, entry)
      count_moved(unit, to, 1)
      units[#units + 1], entries = to, entries + 1
    end
  end
  mark_all_ready(units, now)
  return entries
end

local moved, pool = 0, P .. 'action:' .. action .. ':'
for _, part in ipairs({ 'ready', 'waiting', 'parked' }) do
  for _, unit in ipairs(redis.call('ZRANGE', pool .. part, 0, at_most - 1)) do
    if moved < at_most then
      moved = moved + move(unit, at_most - moved)
      if redis.call('EXISTS', P .. 'queue:' .. unit) == 0 then redis.call('ZREM', pool .. part, unit) end
    end
  end
end
local ring = moved > 0 and wake(target.lane, now) or 0
return { moved, tonumber(redis.call('HGET', P .. 'depths', action) or '0'), ring, target.lane }
