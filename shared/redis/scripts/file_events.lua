-- Files internal events, each for one action, together with the key that decided on them: all of it or nothing.
-- ARGV: now ('' = server), key, the value that was read before ('' = none), new value, its TTL in s ('' = for good),
--   event TTL in s; then per event: lane, unit, entry, fingerprint, n, n values (field, value, ...)
-- Returns: {1, lane to ring, ...}; {0} if the key holds another value: another process was faster.
local now = clock(ARGV[1])
local key, before, value, ttl, event_ttl = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if (redis.call('GET', key) or '') ~= before then return { 0 } end
if ttl == '' then redis.call('SET', key, value) else redis.call('SET', key, value, 'EX', ttl) end
local lanes, i = {}, 7
while ARGV[i] do
  local n = tonumber(ARGV[i + 4])
  write_event(ARGV[i + 3], in_pieces(i + 5, i + 4 + n))
  enqueue(ARGV[i + 1], ARGV[i + 2], now)
  -- Before all that is ready: a message must not wait behind the storm that it reports, nor a check behind documents.
  local ready = pool_of(ARGV[i + 1]) .. 'ready'
  local first = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
  redis.call('ZADD', ready, 'XX', string.format('%.6f', tonumber(first[2]) - 0.001), ARGV[i + 1])
  lanes[ARGV[i]] = true
  i = i + 5 + n
end
end_of_references(event_ttl)
local reply = { 1 }
for lane, _ in pairs(lanes) do
  if wake(lane, now) == 1 then reply[#reply + 1] = lane end
end
return reply
