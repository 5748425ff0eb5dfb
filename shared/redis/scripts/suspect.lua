-- Ends looks for gaps: each stream leaves the index, and what was suspected becomes one internal event for one action.
-- ARGV: now ('' = server), order TTL in s, event TTL in s, lane of the action; then per stream:
--   stream, due ('' = not in the index, asked for by an operator; else its score when it was read),
--   n (0 = nothing is missing), and if n > 0: unit, entry, fingerprint, n values (field, value, ...)
-- Several sweepers may have read the same stream: the first finds the score that it has read, the others do not.
-- A stream that got a new look meanwhile has another score and stays. Of an erased one nothing is written.
-- Returns: {events filed, 1 if the lane must be rung}.
local now = clock(ARGV[1])
local order_ttl, event_ttl, lane = ARGV[2], ARGV[3], ARGV[4]
local filed = 0
local i = 5
while ARGV[i] do
  local stream, due, n = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local mine = due == ''
  if not mine then
    local score = redis.call('ZSCORE', P .. 'gaps:due', stream)
    mine = score and tonumber(score) == tonumber(due)
    if mine then redis.call('ZREM', P .. 'gaps:due', stream) end
  end
  i = i + 3
  if n > 0 then
    local unit, entry, fingerprint = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    -- A repeat of a call whose reply was lost finds the fingerprint, and adds nothing.
    if mine and not is_erased(stream) and redis.call('ZADD', P .. 'seen:' .. stream, 'NX', now, fingerprint) == 1 then
      redis.call('EXPIRE', P .. 'seen:' .. stream, order_ttl)
      note_stream(stream, now)
      write_event(fingerprint, in_pieces(i + 3, i + 2 + n))
      enqueue(unit, entry, now)
      redis.call('HINCRBY', P .. 'counters', 'gap_suspected', 1)
      filed = filed + 1
    end
    i = i + 3 + n
  end
end
end_of_references(event_ttl)
if filed == 0 then return { 0, 0 } end
return { filed, wake(lane, now) }
