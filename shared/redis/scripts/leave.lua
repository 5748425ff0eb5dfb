-- A drainer wants to end its RQ job. ARGV: now ('' = server), lane, drainer, names of its actions.
-- Returns: 1 if it may go; 2 if work is ready and it must ring a successor before it goes.
-- Without this check, work that arrived after the last look and saw an idle drainer would wait for the sweeper.
local now = clock(ARGV[1])
redis.call('ZREM', lane_key(ARGV[2], 'idle'), ARGV[3])
if any_ready(ARGV[2], pools_of(ARGV[2], 4, #ARGV), now) and wake(ARGV[2], now) == 1 then return 2 end
return 1
