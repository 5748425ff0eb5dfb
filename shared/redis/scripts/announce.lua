-- Announces what is subscribed: the actions that a process declares.
-- Which declaration counts: one that was never seen before, at once (a deployment). One that was seen before the present
-- one does not come back while a process of the present one lives (in a rolling deployment, processes of the old version
-- still start); after that it does (a deployment that was rolled back). Each change is a new generation.
-- ARGV: now ('' = server), digest of the declaration, its actions (JSON), silence in s after which a process lives no more,
--       1 if it counts only where there is none (a process that runs no action)
-- Returns: {generation, 1 if this call changed it}.
local function write_limits()
  redis.call('DEL', P .. 'limits')
  for _, action in ipairs(cjson.decode(ARGV[3])) do
    local calls, window = 0, 0
    if action.rate then calls, window = action.rate[1], action.rate[2] end
    if action.rate or action.concurrency then
      redis.call('HSET', P .. 'limits', action.name, string.format('%.0f %.0f %.0f', action.concurrency or 0, calls, window))
    end
  end
end

local now, digest = clock(ARGV[1]), ARGV[2]
local key, seen = P .. 'subscriptions', P .. 'declarations'
local present, generation = unpack(redis.call('HMGET', key, 'digest', 'generation'))
generation = tonumber(generation or '') or 0
if present and ARGV[5] == '1' then return { generation, 0 } end
local known = redis.call('ZSCORE', seen, digest)
redis.call('ZADD', seen, now, digest)
redis.call('ZREMRANGEBYRANK', seen, 0, -101)
if digest == present then
  redis.call('HSET', key, 'actions', ARGV[3])  -- it may have been damaged
  write_limits()
  return { generation, 0 }
end
local lives = present and tonumber(redis.call('ZSCORE', seen, present) or '0') > now - tonumber(ARGV[4])
if known and lives then return { generation, 0 } end
redis.call('HSET', key, 'generation', generation + 1, 'digest', digest, 'actions', ARGV[3], 'at', string.format('%.3f', now))
write_limits()
return { generation + 1, 1 }
