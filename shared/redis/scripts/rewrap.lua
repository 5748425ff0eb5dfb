-- Replaces wrapped data keys by the same under another ring key, each unless it changed meanwhile.
-- ARGV: now ('' = server), id of the ring key that wrapped them now; then per stream: stream, wrapped as it was read, wrapped
--       anew
-- Returns: how many were replaced.
local now, replaced = clock(ARGV[1]), 0
for i = 3, #ARGV, 3 do
  local key = P .. 'key:' .. ARGV[i]
  if redis.call('HGET', key, 'wrapped') == ARGV[i + 1] then
    redis.call('HSET', key, 'wrapped', ARGV[i + 2])
    replaced = replaced + 1
  end
end
if replaced > 0 then redis.call('HSET', P .. 'ring_keys', ARGV[2], string.format('%.0f', now)) end
return replaced
