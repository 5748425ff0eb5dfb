-- A worker says that it lives, or that it ends. ARGV: now ('' = server), its name, life of what it says in s (0 = it
-- ends), what it does (JSON, deedbox.shared.records.presence).
-- By the server's clock, so that hosts whose clocks differ agree. Those that ended without a word are forgotten.
-- Returns: 1.
local now, name, life = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local gone = redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now - 60, 'LIMIT', 0, 100)
if life == 0 then gone[#gone + 1] = name end
for _, each in ipairs(gone) do
  redis.call('ZREM', P .. 'workers', each)
  redis.call('HDEL', P .. 'workers:doing', each)
end
if life > 0 then
  redis.call('ZADD', P .. 'workers', now + life, name)
  redis.call('HSET', P .. 'workers:doing', name, ARGV[4])
end
return 1
