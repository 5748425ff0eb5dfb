-- Drops what a bridge has appended from its claimed list (runs on the broker's Redis, when that is another one).
-- ARGV: now ('' = server; unused), claimed list, how many it held, the newest of them. Returns: 1.
drop_claimed(ARGV[2], tonumber(ARGV[3]), ARGV[4])
return 1
