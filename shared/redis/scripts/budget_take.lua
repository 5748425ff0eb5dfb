-- Takes one call of each of several budgets of an account, when it is the caller's turn. A budget is a moving window of
-- calls and a queue: who has had fewer fruitless tries goes first, then who has waited longer. Of a group, each one that
-- joins goes behind as many others as if it had had a try for each of the group before it. Who must wait is told when
-- its turn comes, by the calls of the window and its place, so that a wait costs one call of this script however many
-- wait. Who does not come back loses its place some time after its turn, and has it again when it comes.
-- ARGV: now ('' = server), account, window in s, slack in s (a turn is told so much late per window, else a small delay of
--   one would make all behind it come too early), grace in s, ticket, since (unix s, '' = now), fruitless tries, group ('' =
--   none); then per budget its kind and its rate per window. The second is asked for only when the first has room.
-- Returns: seconds to wait, as text; '0': the calls were taken.
local now = clock(ARGV[1])
local account, window, slack, grace = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local ticket, tries = ARGV[6], tonumber(ARGV[8])
local since = ARGV[7] ~= '' and tonumber(ARGV[7]) or now
local start = math.max(now, tonumber(redis.call('GET', P .. 'api:pause:' .. account) or '0'))
local group = ARGV[9]
local function key(kind, part) return P .. 'budget:' .. kind .. ':' .. account .. ':' .. part end

-- Takes away what is over: calls that have left the window, and places that were not taken up.
local function tidy(kind)
  local calls, oldest = key(kind, 'calls'), nil
  repeat
    oldest = redis.call('LINDEX', calls, -1)
    local over = oldest and tonumber(oldest) <= now - window
    if over then redis.call('RPOP', calls) end
  until not over
  local gone = redis.call('ZRANGEBYSCORE', key(kind, 'due'), '-inf', now, 'LIMIT', 0, 100)
  if #gone > 0 then
    redis.call('ZREM', key(kind, 'due'), unpack(gone))
    redis.call('ZREM', key(kind, 'queue'), unpack(gone))
  end
end

-- When the next call may be made by the one who has `ahead` others before it: each takes the place of the call that was
-- made `rate` calls before.
local function turn(kind, rate, ahead)
  local made = redis.call('LLEN', key(kind, 'calls'))
  local windows = math.floor(ahead / rate)
  local freed_by = made - rate + ahead % rate  -- the oldest call is number 0
  local at = start
  if freed_by >= 0 then
    at = math.max(start, tonumber(redis.call('LINDEX', key(kind, 'calls'), made - 1 - freed_by)) + window)
  end
  return at + windows * (window + slack)
end

-- Adds to the queue, unless the ticket has a place there. A group is remembered for ten minutes from its first member on.
local function join(kind)
  if redis.call('ZSCORE', key(kind, 'queue'), ticket) then return end
  local before = 0
  if group ~= '' then
    local groups = key(kind, 'groups')
    before = redis.call('HINCRBY', groups, group, 1) - 1
    if redis.call('TTL', groups) < 0 then redis.call('EXPIRE', groups, 600) end
  end
  -- The rank is bounded so that the score is exact.
  local rank = math.min(tries + before, 800)
  redis.call('ZADD', key(kind, 'queue'), string.format('%.0f', rank * 1e13 + since * 1000), ticket)
end

local queued, at = {}, now
for i = 10, #ARGV, 2 do
  local kind, rate = ARGV[i], tonumber(ARGV[i + 1])
  tidy(kind)
  join(kind)
  queued[#queued + 1] = kind
  at = turn(kind, rate, redis.call('ZRANK', key(kind, 'queue'), ticket))
  if at > now then break end
end
for _, kind in ipairs(queued) do
  if at > now then
    redis.call('ZADD', key(kind, 'due'), at + grace, ticket)
    local life = math.ceil(at - now + grace + window)
    if redis.call('TTL', key(kind, 'queue')) < life then
      redis.call('EXPIRE', key(kind, 'queue'), life)
      redis.call('EXPIRE', key(kind, 'due'), life)
    end
  else
    redis.call('LPUSH', key(kind, 'calls'), string.format('%.6f', now))
    redis.call('EXPIRE', key(kind, 'calls'), math.ceil(window) + 1)
    redis.call('ZREM', key(kind, 'queue'), ticket)
    redis.call('ZREM', key(kind, 'due'), ticket)
  end
end
return string.format('%.3f', math.max(0, at - now))
