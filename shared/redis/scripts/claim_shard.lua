-- Claims a shard of the inbox for the sequencer: claim_inbox in lib.lua.
-- ARGV: now ('' = server), drainer, lease in s, idle until (s from now), entries at most, bytes at most
-- Returns: what claim_inbox returns.
return claim_inbox(clock(ARGV[1]), 2)
