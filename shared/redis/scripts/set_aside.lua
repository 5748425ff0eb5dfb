-- Moves keys of another type than ours have out of the way: set_aside in lib.lua.
-- ARGV: now ('' = server), then per key: its name, the type of ours
-- Returns: the keys that were moved. One that is gone or of its type by now stays.
local now, moved = clock(ARGV[1]), {}
for i = 2, #ARGV, 2 do
  local found = redis.call('TYPE', ARGV[i]).ok
  if found ~= 'none' and found ~= ARGV[i + 1] then
    set_aside(ARGV[i], now)
    moved[#moved + 1] = ARGV[i]
  end
end
return moved
