-- Leases the units of a lane that have been ready for longest and reads the heads of their queues with the events.
-- ARGV: now ('' = server), lane, drainer, lease in s, idle until (s from now), entries at most, bytes at most
-- Returns: {} if nothing is ready; else {ring, now, {unit, token, entry, {event fields}, entry, ...}, ...}.
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
  local entries = redis.call('LRANGE', P .. 'queue:' .. unit, 0, room - 1)
  if #entries == 0 then
    drop_lease(lane, unit)
  else
    local row = { unit, tostring(token) }
    for _, entry in ipairs(entries) do
      local event = redis.call('HGETALL', P .. 'event:' .. string.sub(entry, 1, 32))
      for _, value in ipairs(event) do bytes = bytes + #value end
      row[#row + 1] = entry
      row[#row + 1] = event
      room = room - 1
      if bytes >= tonumber(ARGV[7]) then break end
    end
    units[#units + 1] = row
  end
end
if not found then return {} end
if redis.call('ZCARD', lane_key(lane, 'ready')) > 0 then ring = wake(lane, now) end
return { ring, string.format('%.6f', now), unpack(units) }
