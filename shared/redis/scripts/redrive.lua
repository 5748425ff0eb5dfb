-- Puts a dead (event, action) back at the end of its queue and removes the dead letter, in one call.
-- ARGV: now ('' = server), dead letter id, event TTL in s, lane, unit, entry, stream, when the event arrived, order TTL
--       in s
-- Returns: {1, 1 if the lane must be rung}; {0} if the letter is gone (another operator was faster), {-1} if its event
--          is, {-2} if the stream was erased: then nothing was written.
local now = clock(ARGV[1])
local unit, entry, seen = ARGV[5], ARGV[6], P .. 'seen:' .. ARGV[7]
local event = event_of(entry)
if not redis.call('ZSCORE', P .. 'dead', ARGV[2]) then return { 0 } end
local erased = is_erased(ARGV[7])
if erased and not erases(unit) then return { -2 } end
if redis.call('EXISTS', P .. 'event:' .. event) == 0 then return { -1 } end
unbury(ARGV[2])
if not erased then
  -- The stream's memory may have expired long before: without it, an erasure would not find the event.
  redis.call('ZADD', seen, 'NX', ARGV[8], event)
  redis.call('EXPIRE', seen, ARGV[9])
  note_stream(ARGV[7], now)
end
enqueue(unit, entry, now)
end_of_references(ARGV[3])
return { 1, wake(ARGV[4], now) }
