-- Returns the data keys of streams, each wrapped; makes those that there are not, and makes sure that each lives on.
-- ARGV: now ('' = server), life in s, id of the ring key that wrapped the new ones; then per stream: stream, id of a new
--       key, the new key wrapped
-- Returns: a wrapped key per stream; false if the stream was erased: its key was destroyed, and is not made again.
local now, life, found = clock(ARGV[1]), tonumber(ARGV[2]), {}
for i = 4, #ARGV, 3 do
  local stream, key = ARGV[i], P .. 'key:' .. ARGV[i]
  local wrapped = redis.call('HGET', key, 'wrapped')
  -- Between its tombstone and its end an erasure may have to read what the key seals.
  if not wrapped and not is_erased(stream) then
    wrapped = ARGV[i + 2]
    redis.call('HSET', key, 'id', ARGV[i + 1], 'wrapped', wrapped, 'life', life)
    redis.call('HSET', P .. 'ring_keys', ARGV[3], string.format('%.0f', now))
    redis.call('EXPIRE', key, life)
    note_stream(stream, now)
  elseif wrapped then
    redis.call('HSET', key, 'life', life)
    local left = redis.call('TTL', key)
    if left >= 0 and left < life then redis.call('EXPIRE', key, life) end
  end
  found[#found + 1] = wrapped or false
end
return found
