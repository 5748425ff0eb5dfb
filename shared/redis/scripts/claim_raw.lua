-- Claims the oldest raw callbacks of kombu's list into this bridge's own list (runs on the broker's Redis).
-- kombu's own consumer pops first and records second, and loses what it held when killed in between.
-- ARGV: now ('' = server), raw list, bridge id, lease in s, at most, bytes at most
-- Returns: the claimed messages, oldest first; what an earlier, interrupted round left comes first.
local now = clock(ARGV[1])
local claimed = P .. 'bridge:claimed:' .. ARGV[3]
-- Renewed at half its life: a write for every look would cost the others an fsync each.
local lease_s = tonumber(ARGV[4])
local ends = tonumber(redis.call('ZSCORE', P .. 'bridge:leases', ARGV[3]) or '0')
if ends < now + lease_s / 2 then redis.call('ZADD', P .. 'bridge:leases', now + lease_s, ARGV[3]) end
local room = tonumber(ARGV[5]) - redis.call('LLEN', claimed)
local bytes = 0
for _ = 1, room do
  local message = redis.call('LMOVE', ARGV[2], claimed, 'RIGHT', 'LEFT')
  if not message then break end
  bytes = bytes + #message
  if bytes >= tonumber(ARGV[6]) then break end
end
local messages = redis.call('LRANGE', claimed, 0, -1)
local oldest_first = {}
for i = #messages, 1, -1 do oldest_first[#oldest_first + 1] = messages[i] end
return oldest_first
