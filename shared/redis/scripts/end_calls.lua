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
  local line = cjson.encode({ at = now, kind = 'dead', event = event, action = action, reason = 'action_gone', detail = detail })
  add_lines(stream_of(unit), { line }, tonumber(ARGV[5]), ARGV[6], now)
  file_call(now, unit, { 'reason', 'action_gone', 'detail', detail, 'action', action, 'entry', entry, 'event', event })
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
