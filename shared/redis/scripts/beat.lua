-- A bridge of another broker than Redis says that it lives, in the state's Redis; a RedisBridge does so by claiming.
-- Its write is also how the bridge finds out whether this Redis takes writes, before it takes anything off the broker.
-- ARGV: now ('' = server), bridge id, lease in s. Returns: 1.
local now = clock(ARGV[1])
redis.call('ZADD', P .. 'bridge:leases', now + tonumber(ARGV[3]), ARGV[2])
redis.call('ZREMRANGEBYSCORE', P .. 'bridge:leases', '-inf', now - 86400)
return 1
