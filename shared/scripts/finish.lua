-- Commits outcomes of entries at the heads of their queues, each if and only if its unit's lease still holds.
-- ARGV: now ('' = server), lane, order TTL in s, event TTL in s, lines kept per timeline, then sections:
--   U unit, token, verb, wait in s, entry ('' for back), and the operations of this outcome. Verbs:
--     done   the head leaves the queue, the lease ends
--     wait   the head stays for `wait` seconds (its new text, if any, is operation E), the lease ends
--     back   nothing was started: the lease ends, the unit is ready at once
--   Operations: S stream / T line / C counter increment / E entry / Q lane unit entry /
--     M action outcome bucket us (one call: how it ended, how long it took) /
--     F fingerprint arrived-at n values (an internal event) / D n values (dead letter) /
--     X keep fingerprint type event-time related-signature-id late (the internal event into the clean stream)
-- The entry is named so that nothing but what was run can leave the queue.
-- A stream that was erased while its action ran: the lease ends, and nothing is written or counted.
-- Returns: {sections refused because their lease was lost, lane to ring, ...}.
local now = clock(ARGV[1])
local lane = ARGV[2]
local order_ttl, event_ttl, keep = ARGV[3], ARGV[4], tonumber(ARGV[5])
local stream, unit, lanes, lost, held, is_head = '', '', {}, 0, false, false
local gone = false
-- Counted here and written once: a batch has many outcomes and few names.
local counters, calls = {}, {}
local function count(tally, name, by) tally[name] = (tally[name] or 0) + by end
local i = 6
-- Every operation is parsed; those of a section whose lease was lost are skipped.
while ARGV[i] do
  local op = ARGV[i]
  if op == 'U' then
    unit, held = ARGV[i + 1], holds(lane, ARGV[i + 1], ARGV[i + 2])
    local verb = ARGV[i + 3]
    if not held then
      lost = lost + 1
    else
      is_head = redis.call('LINDEX', P .. 'queue:' .. unit, 0) == ARGV[i + 5]
      drop_lease(lane, unit)
      if is_head and verb == 'done' then
        redis.call('LPOP', P .. 'queue:' .. unit)
        redis.call('DECR', lane_key(lane, 'depth'))
      end
      if verb == 'wait' and is_head then
        redis.call('ZADD', lane_key(lane, 'waiting'), now + tonumber(ARGV[i + 4]), unit)
      elseif redis.call('EXISTS', P .. 'queue:' .. unit) == 1 then
        mark_ready(lane, unit, now)
        lanes[lane] = true
      end
      gone = is_erased_unit(unit)
    end
    i = i + 6
  elseif op == 'T' then
    if held and not gone then redis.call('RPUSH', P .. 'timeline:' .. stream, ARGV[i + 1]) end
    i = i + 2
  elseif op == 'S' then
    if held and not gone then
      bound_timeline(stream, keep, order_ttl)
      stream = ARGV[i + 1]
    end
    i = i + 2
  elseif op == 'C' then
    if held and not gone then count(counters, ARGV[i + 1], tonumber(ARGV[i + 2])) end
    i = i + 3
  elseif op == 'M' then
    if held then
      local name = lane .. '|' .. ARGV[i + 1]
      count(calls, name .. '|' .. ARGV[i + 2], 1)
      count(calls, name .. '|le|' .. ARGV[i + 3], 1)
      count(calls, name .. '|us', tonumber(ARGV[i + 4]))
    end
    i = i + 5
  elseif op == 'E' then
    if held and is_head then redis.call('LSET', P .. 'queue:' .. unit, 0, ARGV[i + 1]) end
    i = i + 2
  elseif op == 'Q' then
    if held and not gone then
      enqueue(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], now)
      lanes[ARGV[i + 1]] = true
    end
    i = i + 4
  elseif op == 'F' then
    -- An internal event happens once: a repeat after a crash finds its fingerprint and adds nothing.
    local n = tonumber(ARGV[i + 3])
    local fresh = 0
    if held and not gone then
      fresh = redis.call('ZADD', P .. 'seen:' .. stream, 'NX', ARGV[i + 2], ARGV[i + 1])
      redis.call('EXPIRE', P .. 'seen:' .. stream, order_ttl)
      if fresh == 1 then  -- a known one may be a dead letter's, and then it has no end
        redis.call('HSET', P .. 'event:' .. ARGV[i + 1], unpack(ARGV, i + 4, i + 3 + n))
        redis.call('EXPIRE', P .. 'event:' .. ARGV[i + 1], event_ttl)
      end
    end
    i = i + 4 + n
    while fresh == 0 and (ARGV[i] == 'Q' or ARGV[i] == 'X') do i = i + (ARGV[i] == 'Q' and 4 or 7) end
  elseif op == 'X' then
    if held and not gone then publish(stream, i + 1) end
    i = i + 7
  elseif op == 'D' then
    local n = tonumber(ARGV[i + 1])
    if held and (not gone or (is_head and erases(unit))) then bury(now, i + 2, i + 1 + n) end
    i = i + 2 + n
  else
    return redis.error_reply('ERR unknown opcode in finish')
  end
end
bound_timeline(stream, keep, order_ttl)
for name, by in pairs(counters) do redis.call('HINCRBY', P .. 'counters', name, by) end
for name, by in pairs(calls) do redis.call('HINCRBY', P .. 'calls', name, by) end
local reply = { lost }
for name, _ in pairs(lanes) do
  if wake(name, now) == 1 then reply[#reply + 1] = name end
end
return reply
