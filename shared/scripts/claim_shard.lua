-- Leases a shard of the inbox for the sequencer and reads its oldest entries, without removing them.
-- ARGV: now ('' = server), drainer, lease in s, idle until (s from now), entries at most, bytes at most
-- Returns: {} if nothing is ready; else {unit, token, ring, now, {entries}, {streams whose hold is over},
--          entries that stay in the shard behind these}.
local now = clock(ARGV[1])
local unit, token = lease('sequencer', ARGV[2], now, tonumber(ARGV[3]), now + tonumber(ARGV[4]))
if not unit then return {} end
local ring = 0
if redis.call('ZCARD', lane_key('sequencer', 'ready')) > 0 then ring = wake('sequencer', now) end
local limit, bytes, entries = tonumber(ARGV[5]), 0, {}
local full = false
while #entries < limit and not full do
  local piece = redis.call('LRANGE', P .. 'inbox:' .. unit, #entries, math.min(#entries + 49, limit - 1))
  if #piece == 0 then break end
  for _, entry in ipairs(piece) do
    entries[#entries + 1] = entry
    bytes = bytes + #entry
    full = bytes >= tonumber(ARGV[6])
    if full then break end
  end
end
return {
  unit, tostring(token), ring, string.format('%.6f', now),
  entries,
  redis.call('ZRANGEBYSCORE', P .. 'wake:' .. unit, '-inf', now, 'LIMIT', 0, limit),
  redis.call('LLEN', P .. 'inbox:' .. unit) - #entries,
}
