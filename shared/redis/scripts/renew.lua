-- Extends a lease while its call runs. ARGV: now ('' = server), lane, unit, token, lease in s. Returns 1 or 0 (lost).
local now = clock(ARGV[1])
if not holds(ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('ZADD', lane_key(ARGV[2], 'leased'), now + tonumber(ARGV[5]), ARGV[3])
return 1
