-- Records one operation of a person in the audit, the newest first.
-- ARGV: now ('' = server), lines that are kept, what is recorded (JSON; the time is put before it)
local now, key = clock(ARGV[1]), P .. 'audit'
-- First, because this takes away: an operation that gives space back is recorded in a full Redis, too.
redis.call('LTRIM', key, 0, ARGV[2] - 2)
redis.call('LPUSH', key, string.format('%.3f ', now) .. ARGV[3])
return 1
