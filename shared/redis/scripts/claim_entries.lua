-- Claims the heads of some actions' queues: claim_units in lib.lua.
-- ARGV: now ('' = server), lane, drainer, lease in s, idle until (s from now), entries at most, bytes at most;
--       then names of actions
-- Returns: what claim_units returns.
local now = clock(ARGV[1])
return claim_units(ARGV[2], pools_of(ARGV[2], 8, #ARGV), now, ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]),
  tonumber(ARGV[6]), tonumber(ARGV[7]))
