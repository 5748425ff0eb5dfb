-- Reads streams whose look for gaps is due, and changes nothing: suspect.lua ends the looks.
-- ARGV: now ('' = server), at most. Returns: {now, stream, score, ...}, the longest overdue first.
local now = clock(ARGV[1])
local due = redis.call('ZRANGEBYSCORE', P .. 'gaps:due', '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
return { string.format('%.6f', now), unpack(due) }
