-- Gives back what dead bridges had claimed (runs on the broker's Redis). ARGV: now ('' = server), raw list
-- An id stays known for a day after its lease, because a bridge that was stopped for longer than its lease may
-- claim once more before it is killed.
-- Returns: callbacks given back. A bridge that was only slow appends them too; the fingerprint absorbs that.
local now = clock(ARGV[1])
local given = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'bridge:leases', '-inf', now)) do
  local claimed = P .. 'bridge:claimed:' .. id
  while redis.call('LMOVE', claimed, ARGV[2], 'LEFT', 'RIGHT') do given = given + 1 end
end
redis.call('ZREMRANGEBYSCORE', P .. 'bridge:leases', '-inf', now - 86400)
return given
