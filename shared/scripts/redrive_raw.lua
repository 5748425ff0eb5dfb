-- Hands a dead message back to the bridge and removes the dead letter, in one call.
-- ARGV: now ('' = server; unused), dead letter id, event TTL in s, message in kombu's form
-- Returns: 1; 0 if the letter is gone (another operator was faster).
if not unbury(ARGV[2], ARGV[3]) then return 0 end
redis.call('RPUSH', P .. 'redrive', ARGV[4])
return 1
