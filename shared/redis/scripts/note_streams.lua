-- Adds streams to their index that have a dedupe memory, an archive or a data key and are not in it, because the index was lost.
-- ARGV: now ('' = server), then streams. Returns: how many were added.
local now, added = clock(ARGV[1]), 0
for i = 2, #ARGV do
  if redis.call('EXISTS', P .. 'seen:' .. ARGV[i], P .. 'archive:' .. ARGV[i], P .. 'key:' .. ARGV[i]) > 0 then
    added = added + redis.call('ZADD', P .. 'streams', 'NX', now, ARGV[i])
  end
end
return added
