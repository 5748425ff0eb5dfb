-- Commits outcomes of entries at the heads of their queues, each if and only if its unit's lease still holds.
-- The same call claims what is ready next: under load that is half of a lane's round trips, and of one busy key, whose
-- next entry is ready only now, nearly all.
-- ARGV: now ('' = server), lane, order TTL in s, event TTL in s, lines kept per timeline; drainer ('' = it claims
--   nothing), lease in s, idle until (s from now), entries at most, bytes at most, n, n actions that it claims
--   for; then sections:
--   U unit, token, verb, wait in s, entry ('' for back), and the operations of this outcome. Verbs:
--     done   the head leaves the queue, the lease ends
--     next   the head leaves the queue, the lease stays: the holder has claimed the entry behind it, too
--     wait   the head stays for `wait` seconds (its new text, if any, is operation E), the lease ends
--     back   nothing was started: the lease ends, the unit is ready at once
--   Operations, on the stream of the unit: T n elements of the timeline / C counter increment / E entry /
--     A fingerprint type entry (an internal event to all actions that want it) /
--     M outcome bucket us (one call: how it ended, which counts it, and how long it took) /
--     F fingerprint arrived-at n values (an internal event) / D n values (dead letter) /
--     X keep fingerprint entry (the internal event into the clean stream)
--   Behind all sections, at most one for each unit: K unit, read model as it was read ('' = none), the model to which the
--     unit's outcomes lead, length of a look-up, term of its state, terms at most, n, n terms.
-- Where the model is another one by now, or two units would change it, nothing of the unit is written or counted: its lease
-- ends, it is ready at once, and what was called is called again.
-- The entry is named so that nothing but what was run can leave the queue.
-- A stream that was erased while its action ran: the lease ends, and nothing is written or counted.
-- Returns: {outcomes refused because their lease was lost, {lane to ring, ...}, what claim_units returns, or {},
--           {unit of which nothing more may begin, ...}}.
local now = clock(ARGV[1])
local lane = ARGV[2]
local order_ttl, event_ttl, keep = ARGV[3], ARGV[4], tonumber(ARGV[5])
local stream, unit, lost, held, is_head = '', '', 0, false, false
local over = {}
local gone = false
-- Gathered here and written once: a batch has many outcomes and few names.
local counters, calls, ended, lines = {}, {}, {}, {}
local function count(tally, name, by) tally[name] = (tally[name] or 0) + by end
local function end_of_stream()
  add_lines(stream, lines, keep, order_ttl, now)
  lines = {}
end
-- How many operands follow each opcode; and of which of them the value is the number of those that follow it.
local operands = { U = 5, K = 7, T = 1, C = 2, M = 3, E = 1, A = 3, F = 3, X = 3, D = 1 }
local counter_of = { done = 'action_done', dead = 'action_dead' }
local has_list = { T = 1, F = 3, D = 1, K = 7 }
-- One look at all leases and at all tombstones, of which there are seldom any.
local units, tombstones, presented, tokens, held_by, some_erased = {}, {}, {}, {}, {}, false
local last_verb, changes, changed, models = {}, {}, {}, {}
local first_section = 12 + tonumber(ARGV[11])
local i = first_section
while ARGV[i] do
  local op = ARGV[i]
  local n = operands[op]
  if not n then return redis.error_reply('ERR unknown opcode in finish') end
  if op == 'A' and not knows_subscribers() then return redis.error_reply('ERR nothing is announced') end
  if op == 'U' then
    units[#units + 1], presented[#presented + 1] = ARGV[i + 1], ARGV[i + 2]
    last_verb[ARGV[i + 1]] = ARGV[i + 3]
    tombstones[#tombstones + 1] = P .. 'erased:' .. (string.match(ARGV[i + 1], '^[^|]*|([^|]*)') or '')
  elseif op == 'K' then
    changes[#changes + 1] = i
  end
  if has_list[op] then
    n = n + tonumber(ARGV[i + has_list[op]])
  end
  i = i + 1 + n
end
for pool, mine in pairs(by_pool(units)) do
  for first = 1, #mine, 1000 do
    local last = math.min(first + 999, #mine)
    for n, token in ipairs(redis.call('HMGET', pool .. 'tokens', unpack(mine, first, last))) do
      held_by[mine[first + n - 1]] = token
    end
  end
end
for first = 1, #units, 1000 do
  some_erased = some_erased or redis.call('EXISTS', unpack(tombstones, first, math.min(first + 999, #units))) > 0
end
for n, unit in ipairs(units) do
  if held_by[unit] ~= presented[n] then
    over[#over + 1] = unit
  elseif not tokens[unit] then
    tokens[unit] = presented[n]
    local erased = some_erased and is_erased_unit(unit)
    if last_verb[unit] ~= 'next' or erased then ended[#ended + 1] = unit end
    if erased then over[#over + 1] = unit end
  end
end
for _, at in ipairs(changes) do
  local of, stream_changed = ARGV[at + 1], stream_of(ARGV[at + 1])
  if tokens[of] and not (some_erased and is_erased(stream_changed)) then
    if models[stream_changed] or (surely(now, 'GET', P .. 'request:' .. stream_changed) or '') ~= ARGV[at + 2] then
      tokens[of], changed[of] = nil, true
      over[#over + 1] = of
      if last_verb[of] == 'next' then ended[#ended + 1] = of end
    else
      models[stream_changed] = of
    end
  end
end
-- First, because this takes away: what has run is committed even to a full Redis.
drop_leases(ended)
i = first_section
-- Every operation is parsed; those of a section whose lease was lost are skipped.
while ARGV[i] do
  local op = ARGV[i]
  if op == 'U' then
    unit, held = ARGV[i + 1], tokens[ARGV[i + 1]] == ARGV[i + 2]
    local verb = ARGV[i + 3]
    if changed[unit] then
      gather_unit(lane, unit)
    elseif not held then
      if verb ~= 'back' then lost = lost + 1 end
    else
      if verb ~= 'next' then tokens[unit] = nil end
      gone = some_erased and is_erased_unit(unit)
      if stream ~= stream_of(unit) then
        end_of_stream()
        stream = stream_of(unit)
      end
      local first = redis.call('LRANGE', P .. 'queue:' .. unit, 0, 1)
      local left = first[1]
      is_head = left == ARGV[i + 5]
      -- A commit that is sent again finds the lease still there, and the entry gone: all of it is written.
      if verb == 'next' and not is_head then held = false end
      if is_head and (verb == 'done' or verb == 'next') then
        redis.call('LPOP', P .. 'queue:' .. unit)
        refer(event_of(left), -1)
        gather_depth(unit, -1)
        left = first[2]
      end
      if verb == 'wait' and is_head then
        redis.call('ZADD', pool_of(unit) .. 'waiting', now + tonumber(ARGV[i + 4]), unit)
      elseif left and (verb ~= 'next' or gone) then
        gather_unit(lane, unit)
      end
    end
    i = i + 6
  elseif op == 'T' then
    local n = tonumber(ARGV[i + 1])
    if held and not gone then
      for j = i + 2, i + 1 + n do lines[#lines + 1] = ARGV[j] end
    end
    i = i + 2 + n
  elseif op == 'C' then
    if held and not gone then count(counters, ARGV[i + 1], tonumber(ARGV[i + 2])) end
    i = i + 3
  elseif op == 'M' then
    if held then
      local name = lane .. '|' .. action_of(unit)
      count(calls, name .. '|' .. ARGV[i + 1], 1)
      count(calls, name .. '|le|' .. ARGV[i + 2], 1)
      count(calls, name .. '|us', tonumber(ARGV[i + 3]))
      if not gone then count(counters, counter_of[ARGV[i + 1]] or 'action_retry', 1) end
    end
    i = i + 4
  elseif op == 'E' then
    if held and is_head then redis.call('LSET', P .. 'queue:' .. unit, 0, ARGV[i + 1]) end
    i = i + 2
  elseif op == 'A' then
    if held and not gone then dispatch(stream, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
    i = i + 4
  elseif op == 'F' then
    -- An internal event happens once: a repeat after a crash finds its fingerprint and adds nothing.
    local n = tonumber(ARGV[i + 3])
    local fresh = 0
    if held and not gone then
      fresh = redis.call('ZADD', P .. 'seen:' .. stream, 'NX', ARGV[i + 2], ARGV[i + 1])
      redis.call('EXPIRE', P .. 'seen:' .. stream, order_ttl)
      if fresh == 1 then
        write_event(ARGV[i + 1], in_pieces(i + 4, i + 3 + n))
        note_stream(stream, now)
      end
    end
    i = i + 4 + n
    while fresh == 0 and (ARGV[i] == 'A' or ARGV[i] == 'X') do i = i + 1 + operands[ARGV[i]] end
  elseif op == 'X' then
    if held and not gone then publish(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
    i = i + 4
  elseif op == 'D' then
    local n = tonumber(ARGV[i + 1])
    if held and (not gone or (is_head and erases(unit))) then bury(now, i + 2, i + 1 + n) end
    i = i + 2 + n
  elseif op == 'K' then
    local n = tonumber(ARGV[i + 7])
    if models[stream_of(ARGV[i + 1])] == ARGV[i + 1] then
      keep_request(stream_of(ARGV[i + 1]), now, order_ttl, ARGV[i + 3], ARGV[i + 5], tonumber(ARGV[i + 6]), i + 8, i + 7 + n)
    end
    i = i + 8 + n
  end
end
end_of_stream()
if #changes > 0 then end_of_requests(now, tonumber(order_ttl), tonumber(ARGV[changes[1] + 4])) end
for name, by in pairs(counters) do bump(P .. 'counters', name, by) end
for name, by in pairs(calls) do bump(P .. 'calls', name, by) end
end_of_publishing()
enqueue_all(now)
end_of_references(event_ttl)
-- The drainer first: a bell is rung for what it leaves.
local claims, claimed, rung = ARGV[6] ~= '', {}, {}
if claims then
  claimed = claim_units(lane, pools_of(lane, 12, first_section - 1), now, ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]),
    tonumber(ARGV[9]), tonumber(ARGV[10]))
end
for name, _ in pairs(gathered.lanes) do
  if not (claims and name == lane) and wake(name, now) == 1 then rung[#rung + 1] = name end
end
return { lost, rung, claimed, over }
