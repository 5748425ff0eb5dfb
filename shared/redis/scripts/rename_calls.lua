-- Gives the calls of an action that no process declares any more to another action, before what waits for that already:
-- they are of earlier events. A unit that runs, of either action, is left: ask again. Queues move whole, or not.
-- ARGV: now ('' = server), action, the other action, entries after which no further queue is moved
-- Returns: {entries moved, entries left, 1 if the lane must be rung, lane}; {-1, 0, 0, ''} if the action is declared,
--          {-2, 0, 0, ''} if the other is not, {-3, 0, 0, ''} if no declaration can be read: nothing was changed.
local now, action, at_most = clock(ARGV[1]), ARGV[2], tonumber(ARGV[4])
if not knows_subscribers() then return { -3, 0, 0, '' } end
local target = declared(ARGV[3])
if declared(action) then return { -1, 0, 0, '' } end
if not target then return { -2, 0, 0, '' } end

local function move(unit)
  local stream = stream_of(unit)
  local entries, units = redis.call('LRANGE', P .. 'queue:' .. unit, 0, -1), {}
  for i, entry in ipairs(entries) do
    units[i] = unit_of(target, stream, event_of(entry))
    if redis.call('HEXISTS', pool_of(units[i]) .. 'tokens', units[i]) == 1 then return nil end
  end
  redis.call('DEL', P .. 'queue:' .. unit)
  for i = #entries, 1, -1 do redis.call('LPUSH', P .. 'queue:' .. units[i], entries[i]) end
  count_entries(unit, -#entries)
  for _, each in ipairs(units) do count_entries(each, 1) end
  mark_all_ready(units, now)
  return #entries
end

local moved, pool = 0, P .. 'action:' .. action .. ':'
for _, part in ipairs({ 'ready', 'waiting', 'parked' }) do
  for _, unit in ipairs(redis.call('ZRANGE', pool .. part, 0, at_most - 1)) do
    local entries = moved < at_most and move(unit)
    if entries then
      redis.call('ZREM', pool .. part, unit)
      moved = moved + entries
    end
  end
end
local ring = moved > 0 and wake(target.lane, now) or 0
return { moved, tonumber(redis.call('HGET', P .. 'depths', action) or '0'), ring, target.lane }
