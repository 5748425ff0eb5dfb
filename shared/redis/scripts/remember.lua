-- Keeps what an action knows about a stream (read model, document record), unless the stream was erased meanwhile.
-- ARGV: now ('' = server), stream, kind of key, value, TTL in s; optional: the value that was read before
--       ('' = none); optional: length of the index of requests, which the stream then joins
-- Returns: 1; 0 if the stream was erased; 2 if the key holds another value than the one that was read.
if is_erased(ARGV[2]) then return 0 end
local key = P .. ARGV[3] .. ':' .. ARGV[2]
if ARGV[6] and (redis.call('GET', key) or '') ~= ARGV[6] then return 2 end
redis.call('SET', key, ARGV[4], 'EX', ARGV[5])
if ARGV[7] then
  local now = clock(ARGV[1])
  redis.call('ZADD', P .. 'requests', now, ARGV[2])
  redis.call('ZREMRANGEBYRANK', P .. 'requests', 0, -ARGV[7] - 1)
  redis.call('ZREMRANGEBYSCORE', P .. 'requests', '-inf', now - ARGV[5])
end
return 1
