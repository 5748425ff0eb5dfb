-- Puts a dead (event, action) back at the end of its queue and removes the dead letter, in one call.
-- ARGV: now ('' = server), dead letter id, event TTL in s, lane, unit, entry
-- Returns: {1, 1 if the lane must be rung}; {0} if the letter is gone (another operator was faster).
local now = clock(ARGV[1])
if not unbury(ARGV[2], ARGV[3]) then return { 0 } end
enqueue(ARGV[4], ARGV[5], ARGV[6], now)
return { 1, wake(ARGV[4], now) }
