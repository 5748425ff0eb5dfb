-- Puts a dead (event, action) back at the end of its queue and removes the dead letter, in one call.
-- ARGV: now ('' = server), dead letter id, lane, unit, entry
-- Returns: {1, 1 if the lane must be rung}; {0} if the letter is gone (another operator was faster).
local now = clock(ARGV[1])
if redis.call('ZREM', P .. 'dead', ARGV[2]) == 0 then return { 0 } end
redis.call('DEL', P .. 'dead:' .. ARGV[2])
enqueue(ARGV[3], ARGV[4], ARGV[5], now)
return { 1, wake(ARGV[3], now) }
