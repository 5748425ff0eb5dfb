-- Reads streams whose look for gaps is due, and those that an application wants confirmed. Changes nothing: suspect.lua
-- ends the looks.
-- ARGV: now ('' = server), at most. Returns: {now, {stream, score, ...}, {stream, score, ...}}, the longest overdue first.
local now = clock(ARGV[1])
local due = redis.call('ZRANGEBYSCORE', P .. 'gaps:due', '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local asked = redis.call('ZRANGE', P .. 'confirm:due', 0, ARGV[2] - 1, 'WITHSCORES')
return { string.format('%.6f', now), due, asked }
