-- The sequencer's one commit: everything a drained batch decided, if and only if the shard's lease still holds.
-- ARGV: now ('' = server), shard, token, entries taken from the inbox, order TTL in s, event TTL in s,
--       lines kept per timeline, then operations, each an opcode and its operands:
--   S stream, order state ('' = no order), wake at ('' = nothing held)     the stream of the following operations
--   F fingerprint, arrived at, n, n values (field, value, ...)   a new fact: dedupe memory and stored event
--   B fingerprint, arrived at, n, n values                 another body of a known fact, kept for an operator
--   H fingerprint, since / R fingerprint                   held / no longer held
--   Q lane, unit, entry                                    one (event, action) into its queue
--   T line                                                 timeline
--   C counter, increment
--   D n, n values (field, value, ...)                      dead letter
--   G seconds                                              look for gaps in this stream after so long
-- Returns: {1, lane to ring, ...}; {0} if the lease was lost, and then nothing was written.
local now = clock(ARGV[1])
local shard = ARGV[2]
if not holds('sequencer', shard, ARGV[3]) then return { 0 } end
local order_ttl, event_ttl, keep = ARGV[5], ARGV[6], tonumber(ARGV[7])
local stream, lanes = '', {}
local i = 8
while ARGV[i] do
  local op = ARGV[i]
  if op == 'T' then
    redis.call('RPUSH', P .. 'timeline:' .. stream, ARGV[i + 1])
    i = i + 2
  elseif op == 'Q' then
    enqueue(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], now)
    lanes[ARGV[i + 1]] = true
    i = i + 4
  elseif op == 'F' then
    local n = tonumber(ARGV[i + 3])
    redis.call('ZADD', P .. 'seen:' .. stream, ARGV[i + 2], ARGV[i + 1])
    redis.call('EXPIRE', P .. 'seen:' .. stream, order_ttl)
    redis.call('HSET', P .. 'event:' .. ARGV[i + 1], unpack(ARGV, i + 4, i + 3 + n))
    redis.call('EXPIRE', P .. 'event:' .. ARGV[i + 1], event_ttl)
    i = i + 4 + n
  elseif op == 'B' then
    local n = tonumber(ARGV[i + 3])
    redis.call('HSET', P .. 'event:' .. ARGV[i + 1], unpack(ARGV, i + 4, i + 3 + n))
    redis.call('EXPIRE', P .. 'event:' .. ARGV[i + 1], event_ttl)
    i = i + 4 + n
  elseif op == 'S' then
    bound_timeline(stream, keep, order_ttl)
    stream = ARGV[i + 1]
    if ARGV[i + 2] ~= '' then redis.call('SET', P .. 'order:' .. stream, ARGV[i + 2], 'EX', order_ttl) end
    redis.call('EXPIRE', P .. 'seen:' .. stream, order_ttl)
    if ARGV[i + 2] == '' then
      -- A stream without an order has no end: its dedupe memory is bounded by age instead.
      redis.call('ZREMRANGEBYSCORE', P .. 'seen:' .. stream, '-inf', now - tonumber(order_ttl))
    end
    if ARGV[i + 3] ~= '' then
      redis.call('ZADD', P .. 'wake:' .. shard, ARGV[i + 3], stream)
    else
      redis.call('ZREM', P .. 'wake:' .. shard, stream)
    end
    i = i + 4
  elseif op == 'H' then
    redis.call('ZADD', P .. 'held', ARGV[i + 2], ARGV[i + 1])
    i = i + 3
  elseif op == 'R' then
    redis.call('ZREM', P .. 'held', ARGV[i + 1])
    i = i + 2
  elseif op == 'C' then
    redis.call('HINCRBY', P .. 'counters', ARGV[i + 1], ARGV[i + 2])
    i = i + 3
  elseif op == 'G' then
    redis.call('ZADD', P .. 'gaps:due', now + tonumber(ARGV[i + 1]), stream)
    i = i + 2
  elseif op == 'D' then
    local n = tonumber(ARGV[i + 1])
    bury(now, i + 2, i + 1 + n)
    i = i + 2 + n
  else
    return redis.error_reply('ERR unknown opcode in release')
  end
end
bound_timeline(stream, keep, order_ttl)
redis.call('LTRIM', P .. 'inbox:' .. shard, ARGV[4], -1)
drop_lease('sequencer', shard)
if redis.call('EXISTS', P .. 'inbox:' .. shard) == 1
  or redis.call('ZCOUNT', P .. 'wake:' .. shard, '-inf', now) > 0 then
  mark_ready('sequencer', shard, now)
  if wake('sequencer', now) == 1 then lanes['sequencer'] = true end
end
local reply = { 1 }
for lane, _ in pairs(lanes) do
  if lane == 'sequencer' or wake(lane, now) == 1 then reply[#reply + 1] = lane end
end
return reply
