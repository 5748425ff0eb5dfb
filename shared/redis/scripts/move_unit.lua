-- Moves a unit that waits in one lane to the lane that its action has now.
-- ARGV: now ('' = server), unit, lane that it waits in, lane of its action
-- Returns: 1 if it was moved and the new lane must be rung, 0 otherwise. A leased unit stays: it is being worked on.
local now = clock(ARGV[1])
local unit, from, to = ARGV[2], ARGV[3], ARGV[4]
local ready = redis.call('ZREM', lane_key(from, 'ready'), unit)
local due = redis.call('ZSCORE', lane_key(from, 'waiting'), unit)
if ready == 0 and not due then return 0 end
local entries = redis.call('LLEN', P .. 'queue:' .. unit)
redis.call('DECRBY', lane_key(from, 'depth'), entries)
redis.call('INCRBY', lane_key(to, 'depth'), entries)
if due then
  redis.call('ZREM', lane_key(from, 'waiting'), unit)
  redis.call('ZADD', lane_key(to, 'waiting'), due, unit)
  return 0
end
mark_ready(to, unit, now)
return wake(to, now)
