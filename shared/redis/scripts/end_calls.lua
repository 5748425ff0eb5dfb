-- Ends calls of an action that no process declares any more: each becomes a dead letter, and its event stays with it.
-- A unit that a process of an old version still runs is left; ask again.
-- ARGV: now ('' = server), action, entries at most, event TTL in s, lines kept per timeline, order TTL in s
-- Returns: {entries ended, entries left}; {-1, 0} if the action is declared, {-3, 0} if no declaration can be read:
--          nothing was changed.
local now, action, at_most = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if not knows_subscribers() then return { -3, 0 } end
if declared(action) then return { -1, 0 } end
local detail = 'no module in DEEDBOX_ACTIONS declares the action any more, and an operator ended its calls'

local function set_aside(unit, entry)
  dequeue(unit, entry)
  if is_erased_unit(unit) then return end
  local event = event_of(entry)
  local letter = { 'reason', 'action_gone', 'detail', detail, 'action', action, 'unit', unit, 'entry', entry, 'event', event }
  local readable, facts = pcall(cjson.decode, redis.call('HGET', P .. 'event:' .. event, 'head') or '')
  if readable and type(facts) == 'table' and facts.source and facts.key then
    for _, name in ipairs({ 'source', 'key', 'type', 'trace_id' }) do
      if facts[name] then letter[#letter + 1], letter[#letter + 2] = name, facts[name] end
    end
    local line = cjson.encode({ at = now, kind = 'dead', type = facts.type, event = event, action = action,
      reason = 'action_gone', detail = detail })
    add_lines(facts.source .. ':' .. facts.key, { line }, tonumber(ARGV[5]), ARGV[6], now)
  end
  file_letter(now, letter)
  bump(P .. 'counters', 'action_dead', 1)
end

local ended, pool = 0, P .. 'action:' .. action .. ':'
for _, part in ipairs({ 'ready', 'waiting', 'parked' }) do
  for _, unit in ipairs(redis.call('ZRANGE', pool .. part, 0, at_most - 1)) do
    local entry = redis.call('LINDEX', P .. 'queue:' .. unit, 0)
    while entry and ended < at_most do
      set_aside(unit, entry)
      ended = ended + 1
      entry = redis.call('LINDEX', P .. 'queue:' .. unit, 0)
    end
    if not entry then redis.call('ZREM', pool .. part, unit) end
  end
end
end_of_references(ARGV[4])
return { ended, tonumber(redis.call('HGET', P .. 'depths', action) or '0') }
