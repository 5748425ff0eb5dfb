-- Erases one stream. From the first call on a tombstone stands, and no script writes about the stream any more.
-- ARGV: now ('' = server), stream, shard, life of the tombstone in s, who (kept in it), 1 to remove everything (0: only
--       the tombstone is set), n, n ids of dead letters of this stream, k, k times: number of an interrupted replay, 1 if
--       it is of this stream alone; then names of actions
-- Returns: {stored events, entries of queues, dead letters, held events} that were removed. A repeat finds nothing left.
-- A unit that is leased stays so: its holder's commit finds no entry and the tombstone, and ends the lease.
local now = clock(ARGV[1])
local stream = ARGV[2]
local mark = string.format('{"at":%.3f,"by":"%s"}', now, ARGV[5])
redis.call('SET', P .. 'erased:' .. stream, mark, 'NX')
redis.call('EXPIRE', P .. 'erased:' .. stream, ARGV[4])
if ARGV[6] ~= '1' then return { 0, 0, 0, 0 } end

local events, entries, letters, held = 0, 0, 0, 0
local i = 8 + tonumber(ARGV[7])
for j = 8, i - 1 do
  local letter = P .. 'dead:' .. ARGV[j]
  -- A letter makes its event outlive the dedupe memory, which is where a stream's other events are found.
  local event = redis.call('HGET', letter, 'event')
  if event then events = events + redis.call('DEL', P .. 'event:' .. event) end
  redis.call('DEL', letter)
  letters = letters + redis.call('ZREM', P .. 'dead', ARGV[j])
end

-- Interrupted replays remember streams by name, to go on where they stopped.
local replays = tonumber(ARGV[i])
for j = i + 1, i + 2 * replays, 2 do
  local replay = P .. 'replay:' .. ARGV[j]
  redis.call('HDEL', replay .. ':done', stream)
  if ARGV[j + 1] == '1' then redis.call('DEL', replay, replay .. ':done') end
end
i = i + 1 + 2 * replays

local function drop_queue(unit)
  local length = redis.call('LLEN', P .. 'queue:' .. unit)
  if length == 0 then return end
  -- An entry keeps its event for longer than the dedupe memory lasts, in which the stream's other events are found.
  for _, entry in ipairs(redis.call('LRANGE', P .. 'queue:' .. unit, 0, -1)) do
    events = events + redis.call('DEL', P .. 'event:' .. event_of(entry))
  end
  redis.call('DEL', P .. 'queue:' .. unit)
  entries = entries + length
  local pool = pool_of(unit)
  redis.call('ZREM', pool .. 'ready', unit)
  redis.call('ZREM', pool .. 'waiting', unit)
  deepen(action_of(unit), -length)
end

local members = redis.call('ZRANGE', P .. 'seen:' .. stream, 0, -1)
for _, member in ipairs(members) do
  events = events + redis.call('DEL', P .. 'event:' .. member)
  held = held + redis.call('ZREM', P .. 'held', member)
end
for a = i, #ARGV do
  drop_queue(ARGV[a] .. '|' .. stream)
  for _, member in ipairs(members) do drop_queue(ARGV[a] .. '|' .. stream .. '|' .. member) end
end
if held > 0 then redis.call('HINCRBY', P .. 'counters', 'erased', held) end
redis.call('ZREM', P .. 'wake:' .. ARGV[3], stream)
redis.call('ZREM', P .. 'gaps:due', stream)
redis.call('ZREM', P .. 'requests', stream)
for _, kind in ipairs({ 'seen:', 'order:', 'timeline:', 'request:', 'document:' }) do
  redis.call('DEL', P .. kind .. stream)
end
return { events, entries, letters, held }
