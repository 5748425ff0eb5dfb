-- Pauses an action, a lane, a source or a request: from the next claim on, no call of it begins.
-- ARGV: now ('' = server), what it is about (kind|name), who, why ('' = not said), pauses at most, stream ('' = of no request)
-- Returns: {1} if it is paused now, {0} if it was before: its pause stays as it was; {-1} if there are so many pauses,
--          {-2} if the stream was erased: nothing was written.
local now, key = clock(ARGV[1]), P .. 'paused'
if redis.call('HEXISTS', key, ARGV[2]) == 1 then return { 0 } end
if redis.call('HLEN', key) >= tonumber(ARGV[5]) then return { -1 } end
if ARGV[6] ~= '' and is_erased(ARGV[6]) then return { -2 } end
local n = next_number(P .. 'pause:seq', 1, now)
redis.call('HSET', key, ARGV[2], cjson.encode({ n = n, at = now, by = ARGV[3], why = ARGV[4] }))
return { 1 }
