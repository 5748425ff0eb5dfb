-- Leases the units of a lane that have been ready for longest and reads the heads of their queues with the events.
-- ARGV: now ('' = server), lane, drainer, lease in s, idle until (s from now), entries at most, bytes at most
-- Returns: {} if nothing is ready; else {ring, now, {unit, token, entry, {event fields}}, ...}.
--          One entry of a unit at a time: a crash that loses uncommitted outcomes repeats the last call of a key
--          only, and never an earlier event after a later one.
--          A unit whose queue is empty (its entries were discarded) is let go and not returned.
local now = clock(ARGV[1])
local lane, room = ARGV[2], tonumber(ARGV[6])
local units, ring, found, bytes = {}, 0, false, 0
while room > 0 and bytes < tonumber(ARGV[7]) do
  -- Only the first look may count this drainer as idle: after it, it has work.
  if found and redis.call('ZCARD', lane_key(lane, 'ready')) == 0 then break end
  local unit, token = lease(lane, ARGV[3], now, tonumber(ARGV[4]), now + tonumber(ARGV[5]))
  if not unit then break end
  found = true
  local entry = redis.call('LINDEX', P .. 'queue:' .. unit, 0)
  if not entry then
    drop_lease(lane, unit)
  else
    local event = redis.call('HGETALL', P .. 'event:' .. string.sub(entry, 1, 32))
    for _, value in ipairs(event) do bytes = bytes + #value end
    units[#units + 1] = { unit, tostring(token), entry, event }
    room = room - 1
  end
end
if not found then return {} end
if redis.call('ZCARD', lane_key(lane, 'ready')) > 0 then ring = wake(lane, now) end
return { ring, string.format('%.6f', now), unpack(units) }
