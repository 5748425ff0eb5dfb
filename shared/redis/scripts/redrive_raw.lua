-- Hands a message to the bridge: a dead letter's, which is removed in the same call, or another body of a known fact.
-- ARGV: now ('' = server; unused), dead letter id ('' = none), event TTL in s, message in kombu's form, its stream
--       ('' = not known)
-- Returns: 1; 0 if the letter is gone (another operator was faster), -2 if the stream was erased: nothing was written.
if ARGV[5] ~= '' and is_erased(ARGV[5]) then return -2 end
if ARGV[2] ~= '' and not unbury(ARGV[2]) then return 0 end
redis.call('RPUSH', P .. 'redrive', ARGV[4])
end_of_references(ARGV[3])
return 1
