-- Erases one stream, in pieces: each call removes so many items at most, and the caller goes on until nothing is left.
-- From the first call on there is a tombstone, and no script writes about the stream any more: so pieces are safe, and an
-- erasure that was interrupted is finished by erasing again.
-- ARGV: now ('' = server), stream, shard, life of the tombstone in s, who (kept in it), items at most (0: only the
--       tombstone is set), n, n ids of dead letters of this stream, k, k times: number of an interrupted replay, 1 if it
--       is of this stream alone, then names of events that only their waiting calls still name,
--       no more of them than items
-- Returns: {1 if nothing is left, stored events, entries of queues, dead letters, held events} that were removed; at the
--          end also the id of the data key that was destroyed, if there was one. It goes last: an erasure that was
--          interrupted may have to read an event to go on.
-- A unit that is leased stays so: its holder's commit finds no entry and the tombstone, and ends the lease.
local now = clock(ARGV[1])
local stream = ARGV[2]
local mark = string.format('{"at":%.3f,"by":"%s"}', now, ARGV[5])
redis.call('SET', P .. 'erased:' .. stream, mark, 'NX')
redis.call('EXPIRE', P .. 'erased:' .. stream, ARGV[4])
local room = tonumber(ARGV[6])
if room == 0 then return { 0, 0, 0, 0, 0 } end

local events, entries, letters, held = 0, 0, 0, 0
local function erase_event(name)
  local key = P .. 'event:' .. name
  local entry = redis.call('HGET', key, 'clean')
  if entry then
    -- Readers of the clean stream find a number missing, and look here whether it was erased.
    local id, n = string.match(entry, '^(%S+) (%d+)$')
    if id then
      redis.call('XDEL', P .. 'events', id)
      redis.call('ZADD', P .. 'events:erased', n, n)
    end
  end
  events = events + redis.call('DEL', key)
  held = held + redis.call('ZREM', P .. 'held', name)
  room = room - 1
end

local i = 8 + tonumber(ARGV[7])
for j = 8, i - 1 do
  -- A letter makes its event outlive the dedupe memory, which is where a stream's other events are found.
  local event = redis.call('HGET', P .. 'dead:' .. ARGV[j], 'event')
  if event then erase_event(event) end
  if drop_letter(ARGV[j]) then letters = letters + 1 end
end

-- Interrupted replays remember streams by name, to go on where they stopped.
local replays = tonumber(ARGV[i])
for j = i + 1, i + 2 * replays, 2 do
  local replay = P .. 'replay:' .. ARGV[j]
  redis.call('HDEL', replay .. ':done', stream)
  if ARGV[j + 1] == '1' then redis.call('UNLINK', replay, replay .. ':done') end
end

-- Into the dedupe memory, where the stream's other events are found: an erasure may be interrupted.
local strays, seen = {}, P .. 'seen:' .. stream
for j = i + 2 * replays + 1, #ARGV do strays[#strays + 1], strays[#strays + 2] = 0, ARGV[j] end
if #strays > 0 then
  redis.call('ZADD', seen, 'NX', unpack(strays))
  redis.call('EXPIRE', seen, ARGV[4])
end

local actions = redis.call('HKEYS', P .. 'queued:' .. stream)
local function drop_queue(unit, whole)
  local queue = P .. 'queue:' .. unit
  while whole or room > 0 do
    local piece = redis.call('LRANGE', queue, 0, 9)
    if #piece == 0 then break end
    redis.call('LTRIM', queue, #piece, -1)
    -- An entry keeps its event for longer than the dedupe memory lasts, in which the stream's other events are found.
    for _, entry in ipairs(piece) do erase_event(event_of(entry)) end
    entries = entries + #piece
    count_entries(unit, -#piece)
  end
  if redis.call('EXISTS', queue) == 0 then forget_unit(unit) end
end
for _, action in ipairs(actions) do drop_queue(action .. '|' .. stream) end
while room > 0 do
  local members = redis.call('ZRANGE', seen, 0, 9)
  if #members == 0 then break end
  for _, member in ipairs(members) do
    erase_event(member)
    for _, action in ipairs(actions) do
      local unit = action .. '|' .. stream .. '|' .. member
      room = room - 1
      -- Of one event: as many entries as it was replayed.
      if redis.call('EXISTS', P .. 'queue:' .. unit) == 1 then drop_queue(unit, true) end
    end
  end
  redis.call('ZREM', seen, unpack(members))
end
if held > 0 then bump(P .. 'counters', 'erased', held) end
-- Entries that were cut off from the clean stream meanwhile are not asked for.
local oldest = redis.call('XRANGE', P .. 'events', '-', '+', 'COUNT', 1)[1]
if oldest then forget_until(P .. 'events:erased', '(' .. (tonumber(oldest[2][2]) or 0), FORGET_MAX) end
if room <= 0 then return { 0, events, entries, letters, held } end
redis.call('ZREM', P .. 'wake:' .. ARGV[3], stream)
redis.call('ZREM', P .. 'gaps:due', stream)
redis.call('ZREM', P .. 'confirm:due', stream)
redis.call('ZREM', P .. 'quiet', stream)
redis.call('ZREM', P .. 'streams', stream)
redis.call('HDEL', P .. 'paused', 'request|' .. stream)
for _, term in ipairs(redis.call('HKEYS', P .. 'finds:' .. stream)) do redis.call('ZREM', P .. 'find:' .. term, id_of(stream)) end
local data_key = redis.call('HGET', P .. 'key:' .. stream, 'id') or nil
for _, kind in ipairs({ 'seen:', 'order:', 'timeline:', 'request:', 'document:', 'queued:', 'finds:', 'archive:', 'key:' }) do
  redis.call('DEL', P .. kind .. stream)
end
return { 1, events, entries, letters, held, data_key }
