-- Claims the oldest raw callbacks of kombu's list into this bridge's own list (runs on the broker's Redis).
-- kombu's own consumer pops first and records second, and loses what it held when killed in between.
-- ARGV: now ('' = server), raw list, bridge id, lease in s, at most, bytes at most
-- Returns: the claimed messages, oldest first; what an earlier, interrupted round left comes first, and alone.
local now = clock(ARGV[1])
local claimed = P .. 'bridge:claimed:' .. ARGV[3]
-- Renewed at half its life: a write for every look would cost the others an fsync each.
local lease_s = tonumber(ARGV[4])
local ends = tonumber(redis.call('ZSCORE', P .. 'bridge:leases', ARGV[3]) or '0')
if ends < now + lease_s / 2 then redis.call('ZADD', P .. 'bridge:leases', now + lease_s, ARGV[3]) end
-- Nothing while a claim is held: what could not be appended yet would grow without a bound.
local oldest_first, bytes = {}, 0
local held = redis.call('LLEN', claimed)
for i = 1, tonumber(ARGV[5]) do
  local message
  if held == 0 then
    message = redis.call('LMOVE', ARGV[2], claimed, 'RIGHT', 'LEFT')
  else
    message = redis.call('LINDEX', claimed, -i)
  end
  if not message then break end
  oldest_first[i] = message
  bytes = bytes + #message
  if bytes >= tonumber(ARGV[6]) then break end
end
return oldest_first
