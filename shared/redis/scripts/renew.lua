-- Extends a lease while its call runs. ARGV: now ('' = server), unit, token, lease in s. Returns 1 or 0 (lost).
local now = clock(ARGV[1])
if not holds(ARGV[2], ARGV[3]) then return 0 end
redis.call('ZADD', pool_of(ARGV[2]) .. 'leased', now + tonumber(ARGV[4]), ARGV[2])
return 1
