-- Keeps what an action knows about a stream (read model, document record), unless the stream was erased meanwhile.
-- ARGV: now ('' = server; unused), stream, kind of key, value, TTL in s. Returns: 1; 0 if the stream was erased.
if is_erased(ARGV[2]) then return 0 end
redis.call('SET', P .. ARGV[3] .. ':' .. ARGV[2], ARGV[4], 'EX', ARGV[5])
return 1
