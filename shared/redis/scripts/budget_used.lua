-- Counts the calls of the last window, of several budgets; changes nothing. A list holds a time per call, newest first, so
-- the oldest that counts is found by halves.
-- ARGV: now ('' = server), window in s, then for each budget: list, its rate
-- Returns: {used, ...}.
local now = clock(ARGV[1])
local since = now - tonumber(ARGV[2])
local used = {}
for i = 3, #ARGV, 2 do
  local low, high = 0, math.min(redis.call('LLEN', ARGV[i]), tonumber(ARGV[i + 1]))
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', ARGV[i], middle)) > since then low = middle + 1 else high = middle end
  end
  used[#used + 1] = low
end
return used
