-- Keeps what an action knows about a stream (read model, document record), unless the stream was erased meanwhile.
-- ARGV: now ('' = server), stream, kind of key, value, TTL in s; optional: the value that was read before
--       ('' = none); optional: length of the index of requests, which the stream then joins; the term of its state, and
--       at most how many further terms a stream has, then these terms (shared/core/request_snapshot.py)
-- Returns: 1; 0 if the stream was erased; 2 if the key holds another value than the one that was read.
if is_erased(ARGV[2]) then return 0 end
local key = P .. ARGV[3] .. ':' .. ARGV[2]
if ARGV[6] and (redis.call('GET', key) or '') ~= ARGV[6] then return 2 end
redis.call('SET', key, ARGV[4], 'EX', ARGV[5])
if ARGV[7] then
  local now = clock(ARGV[1])
  redis.call('ZADD', P .. 'requests', now, ARGV[2])
  redis.call('ZREMRANGEBYRANK', P .. 'requests', 0, -ARGV[7] - 1)
  forget_until(P .. 'requests', now - ARGV[5], FORGET_MAX)
  local finds, known = P .. 'finds:' .. ARGV[2], {}
  local rows = redis.call('HGETALL', finds)
  for i = 1, #rows, 2 do
    if rows[i + 1] == 'state' and rows[i] ~= ARGV[8] then
      redis.call('HDEL', finds, rows[i])
      redis.call('ZREM', P .. 'find:' .. rows[i], key_of(ARGV[2]))
    else
      known[rows[i]] = true
    end
  end
  redis.call('HSET', finds, ARGV[8], 'state')
  known[ARGV[8]] = true
  for i = 10, #ARGV do
    if not known[ARGV[i]] and redis.call('HLEN', finds) <= tonumber(ARGV[9]) then
      redis.call('HSET', finds, ARGV[i], '')
      known[ARGV[i]] = true
    end
  end
  redis.call('EXPIRE', finds, ARGV[5])
  for term, _ in pairs(known) do
    local find = P .. 'find:' .. term
    redis.call('ZADD', find, now, key_of(ARGV[2]))
    redis.call('ZREMRANGEBYRANK', find, 0, -ARGV[7] - 1)
    forget_until(find, now - ARGV[5], FORGET_MAX)
    redis.call('EXPIRE', find, ARGV[5])
  end
end
return 1
