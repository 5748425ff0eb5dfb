-- Finds what is due in the actions of one lane: abandoned leases, retries, and (lane sequencer) holds that are over.
-- ARGV: now ('' = server), lane, shards of the inbox (0 for action lanes), at most per kind of all actions together (each
--       gets an equal share), and for entries that take
--       their process down: losses in a row until it is a dead letter, lines per timeline, order TTL in s,
--       event TTL in s, lost calls kept; then names of the lane's actions. Lane '': actions that are in no lane; nothing
--       is rung.
-- Returns: {leases taken back, retries due, 1 if the lane must be rung, entries that became dead letters,
--           {{unit, event, process, losses in a row, pieces of its facts}, ...}: what was lost,
--           1 if there may be more of it}.
local now = clock(ARGV[1])
local lane, shards = ARGV[2], tonumber(ARGV[3])
local pools = pools_of(lane, 10, #ARGV)
local limit, more = math.max(1, math.floor(tonumber(ARGV[4]) / math.max(1, #pools))), false

-- Returns the first members of an index up to a score, and notes whether there may be more.
local function first_of(index, from, to)
  local found = redis.call('ZRANGEBYSCORE', index, from, to, 'LIMIT', 0, limit)
  more = more or #found == limit
  return found
end
local losses_max, lines_kept, order_ttl = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

-- Returns the entry with its number of losses in a row. The count is part of the entry, so that it lives as long as the
-- entry; an outcome writes an entry without one. Edited as text: cjson would round the entry's times.
local function with_losses(entry, count)
  local text = string.gsub(entry, ',"losses":%d+', '')
  return (string.gsub(text, '}$', ',"losses":' .. count .. '}'))
end

-- Counts a lease that ended without an outcome: its process was killed, crashed in native code or ended itself. No attempt
-- is counted for such a call: without this it would be called for ever, and take along whatever else its process had
-- claimed. An entry that had only been claimed counts too, but ends with its next call.
local dead, lost = 0, {}
local function count_loss(unit, process)
  local head = redis.call('LINDEX', P .. 'queue:' .. unit, 0)
  if not head then return end
  local erased = is_erased_unit(unit)
  if erased and not erases(unit) then
    -- Nothing is counted or filed about it, and nothing waits for its outcome.
    dequeue(unit, head)
    return
  end
  local event, action = event_of(head), action_of(unit)
  local count = tonumber(string.match(head, '"losses":(%d+)') or '0') + 1
  lost[#lost + 1] = { unit, event, process, count, redis.call('HMGET', P .. 'event:' .. event, unpack(HEAD)) }
  local detail = 'the process that had it (' .. process .. ') ended without an outcome, ' .. count .. ' in a row'
  local line = { at = now, kind = 'retry', outcome = 'lost', event = event, action = action, detail = detail }
  if count < losses_max then
    redis.call('LSET', P .. 'queue:' .. unit, 0, with_losses(head, count))
  else
    dequeue(unit, head)
    file_call(now, unit, { 'reason', 'worker_lost', 'detail', detail, 'action', action, 'lane', lane, 'entry', head,
      'event', event })
    redis.call('HINCRBY', P .. 'counters', 'action_dead', 1)
    line.kind, line.outcome, line.reason = 'dead', nil, 'worker_lost'
    dead = dead + 1
  end
  redis.call('HINCRBY', P .. 'counters', 'action_lost', 1)
  redis.call('LPUSH', P .. 'lost', cjson.encode({ at = now, lane = lane, action = action, event = event,
    process = process, losses = count }))
  redis.call('LTRIM', P .. 'lost', 0, tonumber(ARGV[9]) - 1)
  if not erased then
    add_lines(stream_of(unit), { cjson.encode(line) }, lines_kept, order_ttl, now)
  end
end

-- Makes units ready again that no pause keeps any more. Those of one pause have its number as their score.
local function unpark(pool)
  local numbers, from, room = {}, '-inf', limit
  for _, number in pairs(paused()) do numbers[number] = true end
  while true do
    if room == 0 then
      more = true
      return
    end
    local first = redis.call('ZRANGEBYSCORE', pool .. 'parked', from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if #first == 0 then return end
    from = '(' .. first[2]
    if not numbers[tonumber(first[2])] then
      local units = redis.call('ZRANGEBYSCORE', pool .. 'parked', first[2], first[2], 'LIMIT', 0, room)
      call_many('ZREM', pool .. 'parked', units)
      for _, unit in ipairs(units) do
        if redis.call('EXISTS', P .. 'queue:' .. unit) == 1 then mark_ready(unit, now) end
      end
      room = room - #units
    end
  end
end

-- Takes streams out of their index whose dedupe memory, archive and data key are gone. What outlives the retention, because something
-- waits for an event, is looked at again after another one.
local function forget_streams()
  for _, stream in ipairs(first_of(P .. 'streams', '-inf', '(' .. now - tonumber(order_ttl))) do
    if redis.call('EXISTS', P .. 'seen:' .. stream, P .. 'archive:' .. stream, P .. 'key:' .. stream) > 0 then
      note_stream(stream, now)
    else
      redis.call('ZREM', P .. 'streams', stream)
    end
  end
end

local abandoned, due = 0, 0
for _, pool in ipairs(pools) do
  for _, unit in ipairs(first_of(pool .. 'leased', '-inf', now)) do
    local process = string.match(redis.call('HGET', pool .. 'tokens', unit) or '', ':(.*)$') or 'unknown'
    redis.call('ZREM', pool .. 'leased', unit)
    redis.call('HDEL', pool .. 'tokens', unit)
    if lane ~= 'sequencer' then count_loss(unit, process) end
    -- A unit whose queue is gone would stay there by name until somebody claims it, also one of an erased stream.
    if lane == 'sequencer' or redis.call('EXISTS', P .. 'queue:' .. unit) == 1 then mark_ready(unit, now) end
    abandoned = abandoned + 1
  end
  for _, unit in ipairs(first_of(pool .. 'waiting', '-inf', now)) do
    redis.call('ZREM', pool .. 'waiting', unit)
    if redis.call('EXISTS', P .. 'queue:' .. unit) == 1 then mark_ready(unit, now) end
    due = due + 1
  end
  if lane ~= 'sequencer' then unpark(pool) end
end
if lane == 'sequencer' then forget_streams() end
for shard = 0, shards - 1 do
  if redis.call('ZCOUNT', P .. 'wake:' .. shard, '-inf', now) > 0 then
    mark_ready(tostring(shard), now)
  end
end
end_of_references(ARGV[8])
local ring = 0
if lane ~= '' and any_ready(lane, pools, now) then ring = wake(lane, now) end
return { abandoned, due, ring, dead, lost, more and 1 or 0 }
