-- Claims the heads of queues in a lane: claim_units in lib.lua.
-- ARGV: now ('' = server), lane, drainer, lease in s, idle until (s from now), entries at most, bytes at most
-- Returns: what claim_units returns.
local now = clock(ARGV[1])
return claim_units(ARGV[2], now, ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
