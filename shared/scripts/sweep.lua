-- Finds what is due in one lane: abandoned leases, retries, and (lane sequencer) holds that are over.
-- ARGV: now ('' = server), lane, shards of the inbox (0 for action lanes), at most per kind
-- Returns: {leases taken back, retries due, 1 if the lane must be rung}.
local now = clock(ARGV[1])
local lane, shards, limit = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local abandoned = redis.call('ZRANGEBYSCORE', lane_key(lane, 'leased'), '-inf', now, 'LIMIT', 0, limit)
for _, unit in ipairs(abandoned) do
  drop_lease(lane, unit)
  mark_ready(lane, unit, now)
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
local ring = 0
if redis.call('ZCARD', lane_key(lane, 'ready')) > 0 then ring = wake(lane, now) end
return { #abandoned, #due, ring }
