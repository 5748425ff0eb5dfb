-- Keeps what an action knows about a stream (read model, document record), unless the stream was erased meanwhile.
-- ARGV: now ('' = server), stream, kind of key, value, TTL in s; of a read model also: the value that was read before
--       ('' = none), length of a look-up, the term of its state, and at most how many further terms a stream
--       has, then these terms (shared/core/request_snapshot.py)
-- Returns: 1; 0 if the stream was erased; 2 if the key holds another value than the one that was read.
if is_erased(ARGV[2]) then return 0 end
local key = P .. ARGV[3] .. ':' .. ARGV[2]
if not ARGV[6] then
  redis.call('SET', key, ARGV[4], 'EX', ARGV[5])
  return 1
end
local now = clock(ARGV[1])
if (surely(now, 'GET', key) or '') ~= ARGV[6] then return 2 end
keep_request(ARGV[2], now, ARGV[5], ARGV[4], ARGV[8], tonumber(ARGV[9]), 10, #ARGV)
end_of_requests(now, tonumber(ARGV[5]), tonumber(ARGV[7]))
return 1
