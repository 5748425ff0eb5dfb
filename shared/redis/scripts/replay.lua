-- Appends a piece of a replay, some events of one stream, to the ends of the chosen actions' queues, in one call.
-- The hash of what is done keeps each stream's last appended event, so that a replay that was interrupted, or is
-- resumed by two operators at once, appends nothing twice.
-- ARGV: now ('' = server), number of the replay, order TTL in s, event TTL in s (of what is done, too), stream, what is
--       done of it according to the caller ('' = nothing), what is done after this; then per event: fingerprint, n, and
--       n times: lane, unit, entry
-- Returns: {-1} if more of the stream is done by now, {-2} if the whole replay is over, {-3} if the stream was erased, {-4} if
--          it was archived again: nothing was written; else {events that are gone, lane to ring, ...}.
local now = clock(ARGV[1])
local done, event_ttl, stream = P .. 'replay:' .. ARGV[2] .. ':done', ARGV[4], ARGV[5]
if is_erased(stream) then return { -3 } end
if redis.call('EXISTS', P .. 'replay:' .. ARGV[2]) == 0 then return { -2 } end
if (redis.call('HGET', done, stream) or '') ~= ARGV[6] then return { -1 } end
if redis.call('EXISTS', P .. 'archive:' .. stream) == 1 then return { -4 } end
redis.call('HSET', done, stream, ARGV[7])
redis.call('EXPIRE', done, event_ttl)
-- The stream's memory lives as long as its events: an erasure finds them there.
redis.call('EXPIRE', P .. 'seen:' .. stream, ARGV[3])
local gone, appended, lanes = 0, 0, {}
local i = 8
while ARGV[i] do
  local event, n = P .. 'event:' .. ARGV[i], tonumber(ARGV[i + 1])
  i = i + 2
  if redis.call('EXISTS', event) == 0 then
    gone = gone + 1
  else
    for j = i, i + 3 * n - 3, 3 do
      enqueue(ARGV[j + 1], ARGV[j + 2], now)
      lanes[ARGV[j]] = true
      appended = appended + 1
    end
  end
  i = i + 3 * n
end
if appended > 0 then redis.call('HINCRBY', P .. 'counters', 'action_replayed', appended) end
end_of_references(event_ttl)
local reply = { gone }
for lane, _ in pairs(lanes) do
  if wake(lane, now) == 1 then reply[#reply + 1] = lane end
end
return reply
