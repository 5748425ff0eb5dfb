-- Reads the streams that have been quiet for longest. Changes nothing.
-- ARGV: now ('' = server), for how long at least (s), at most. Returns: {now, {stream, ...}}.
local now = clock(ARGV[1])
return { string.format('%.6f', now), redis.call('ZRANGEBYSCORE', P .. 'quiet', '-inf', now - tonumber(ARGV[2]), 'LIMIT', 0, ARGV[3]) }
