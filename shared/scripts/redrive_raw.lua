-- Hands a dead message back to the bridge and removes the dead letter, in one call.
-- ARGV: now ('' = server; unused), dead letter id, message in kombu's form
-- Returns: 1; 0 if the letter is gone (another operator was faster).
if redis.call('ZREM', P .. 'dead', ARGV[2]) == 0 then return 0 end
redis.call('DEL', P .. 'dead:' .. ARGV[2])
redis.call('RPUSH', P .. 'redrive', ARGV[3])
return 1
