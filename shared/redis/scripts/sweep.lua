-- Finds what is due in one lane: abandoned leases, retries, and (lane sequencer) holds that are over.
-- ARGV: now ('' = server), lane, shards of the inbox (0 for action lanes), at most per kind, and for entries that take
--       their process down: times until it is a dead letter, life of that count in s, lines per timeline, order TTL in s,
--       event TTL in s
-- Returns: {leases taken back, retries due, 1 if the lane must be rung, entries that became dead letters}.
local now = clock(ARGV[1])
local lane, shards, limit = ARGV[2], tonumber(ARGV[3]), ARGV[4]

-- Counts a lease that nobody finished. No outcome is ever committed for a call that ends its process (out of memory, a
-- crash in native code), so no attempt is counted there: without this it would be called for ever, and take along
-- whatever else its process had claimed. An entry that had only been claimed too counts, but is done the next time.
local function count_loss(unit)
  local head = redis.call('LINDEX', P .. 'queue:' .. unit, 0)
  if not head then return 0 end
  local erased = is_erased_unit(unit)
  if erased and not erases(unit) then
    -- Nothing is counted or filed about it, and nothing waits for its outcome.
    redis.call('LPOP', P .. 'queue:' .. unit)
    refer(event_of(head), -1)
    redis.call('DECR', lane_key(lane, 'depth'))
    return 0
  end
  local event, losses = event_of(head), lane_key(lane, 'losses')
  local known = redis.call('HGET', losses, unit)
  local count = 1
  if known and string.sub(known, 1, 32) == event then count = tonumber(string.sub(known, 33)) + 1 end
  if count < tonumber(ARGV[5]) then
    redis.call('HSET', losses, unit, event .. count)
    redis.call('EXPIRE', losses, ARGV[6])
    return 0
  end
  redis.call('HDEL', losses, unit)
  redis.call('LPOP', P .. 'queue:' .. unit)
  refer(event, -1)
  redis.call('DECR', lane_key(lane, 'depth'))
  local action = string.match(unit, '^[^|]*')
  local detail = count .. ' times in a row the process that ran it ended without an outcome'
  local letter = { 'reason', 'worker_lost', 'detail', detail, 'action', action, 'lane', lane, 'unit', unit,
    'entry', head, 'event', event }
  local stored = redis.call('HGET', P .. 'event:' .. event, 'head')
  local readable, fields = pcall(cjson.decode, stored or '')
  if readable and type(fields) == 'table' and fields.source and fields.key then
    for name, field in pairs({ source = 'source', key = 'key', type = 'type', trace_id = 'trace_id' }) do
      letter[#letter + 1], letter[#letter + 2] = name, fields[field]
    end
    local stream = fields.source .. ':' .. fields.key
    if not erased then
      local line = cjson.encode({ at = now, kind = 'dead', type = fields.type, event = event, action = action,
        reason = 'worker_lost', detail = detail })
      add_lines(stream, { line }, tonumber(ARGV[7]), ARGV[8])
    end
  end
  file_letter(now, letter)
  redis.call('HINCRBY', P .. 'counters', 'action_dead', 1)
  return 1
end

local dead = 0
local abandoned = redis.call('ZRANGEBYSCORE', lane_key(lane, 'leased'), '-inf', now, 'LIMIT', 0, limit)
for _, unit in ipairs(abandoned) do
  drop_lease(lane, unit)
  if lane ~= 'sequencer' then dead = dead + count_loss(unit) end
  -- A unit whose queue is gone would stay there by name until somebody claims it, also one of an erased stream.
  if lane == 'sequencer' or redis.call('EXISTS', P .. 'queue:' .. unit) == 1 then mark_ready(lane, unit, now) end
end
local due = redis.call('ZRANGEBYSCORE', lane_key(lane, 'waiting'), '-inf', now, 'LIMIT', 0, limit)
for _, unit in ipairs(due) do
  redis.call('ZREM', lane_key(lane, 'waiting'), unit)
  mark_ready(lane, unit, now)
end
for shard = 0, shards - 1 do
  if redis.call('ZCOUNT', P .. 'wake:' .. shard, '-inf', now) > 0 then
    mark_ready('sequencer', tostring(shard), now)
  end
end
end_of_references(ARGV[9])
local ring = 0
if redis.call('ZCARD', lane_key(lane, 'ready')) > 0 then ring = wake(lane, now) end
return { #abandoned, #due, ring, dead }
