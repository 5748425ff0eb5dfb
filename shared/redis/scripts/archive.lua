-- Replaces the keys of a quiet stream by one value, if nothing is open about it and nothing changed since it was read.
-- The sequencer reads a stream under its shard's lease and writes it in one call: so no shard may be leased now.
-- ARGV: now ('' = server), stream, shard, archive as it was read ('' = none), lines of the timeline, last of them, names in the
--       dedupe memory, terms by which it is found, order state, read model, document record as they were read ('' = none), the
--       new archive ('' = nothing is left), until when it is kept (unix s), since when the stream then counts as quiet ('' = it
--       is not looked at again), then names of its events
-- Returns: 1; 0 if it stays as it is, and then it counts as quiet since now.
local now, stream = clock(ARGV[1]), ARGV[2]
local key, timeline, seen = P .. 'archive:' .. stream, P .. 'timeline:' .. stream, P .. 'seen:' .. stream

local function is_open()
  if is_erased(stream) or redis.call('ZSCORE', P .. 'shards:leased', ARGV[3]) then return true end
  if redis.call('ZSCORE', P .. 'gaps:due', stream) or redis.call('ZSCORE', P .. 'confirm:due', stream) then return true end
  for i = 15, #ARGV do
    if (tonumber(redis.call('HGET', P .. 'event:' .. ARGV[i], 'open') or '') or 0) > 0 then return true end
  end
  return false
end

local function has_changed()
  local values = { 'archive:', 'order:', 'request:', 'document:' }
  local read = { ARGV[4], ARGV[9], ARGV[10], ARGV[11] }
  for i, kind in ipairs(values) do
    if (redis.call('GET', P .. kind .. stream) or '') ~= read[i] then return true end
  end
  return redis.call('LLEN', timeline) ~= tonumber(ARGV[5]) or (redis.call('LINDEX', timeline, -1) or '') ~= ARGV[6]
    or redis.call('ZCARD', seen) ~= tonumber(ARGV[7]) or redis.call('HLEN', P .. 'finds:' .. stream) ~= tonumber(ARGV[8])
end

if is_open() or has_changed() then
  redis.call('ZADD', P .. 'quiet', 'XX', now, stream)
  return 0
end
if ARGV[12] == '' then
  redis.call('DEL', key)
else
  redis.call('SET', key, ARGV[12], 'EX', math.max(1, math.ceil(tonumber(ARGV[13]) - now)))
end
for _, kind in ipairs({ 'seen:', 'order:', 'timeline:', 'request:', 'document:', 'finds:' }) do redis.call('DEL', P .. kind .. stream) end
for i = 15, #ARGV do redis.call('DEL', P .. 'event:' .. ARGV[i]) end
if ARGV[14] == '' then
  redis.call('ZREM', P .. 'quiet', stream)
else
  redis.call('ZADD', P .. 'quiet', ARGV[14], stream)
end
return 1
