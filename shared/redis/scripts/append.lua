-- Appends claimed callbacks to the inbox and wakes the sequencer. One call: after it, the claim can be dropped.
-- ARGV: now ('' = server), claimed list to drop in the same call ('' = broker is elsewhere), how many were read of it
--       and the newest of them; key that remembers the last batch ('' = none), the batch's digest; n, then n times:
--       shard, entry; m, then m times: redriven message, taken off the redrive list; then dead letters, each: count of
--       values, field, value, ...
-- Returns: 1 if the caller must ring the sequencer, else 0.
local now = clock(ARGV[1])
-- A batch that is here already was not confirmed to its bridge. The write is for the WAIT that follows: it confirms
-- everything before it, and only this server knows whether the batch is among that.
-- Its claim goes all the same: a publish that timed out and was spooled puts the same message on the list twice.
if ARGV[5] ~= '' and redis.call('GET', ARGV[5]) == ARGV[6] then
  redis.call('EXPIRE', ARGV[5], 86400)
  if ARGV[2] ~= '' then drop_claimed(ARGV[2], tonumber(ARGV[3]), ARGV[4]) end
  return wake('sequencer', now)
end
local n = tonumber(ARGV[7])
local i = 8
local shards, entries, at = {}, {}, string.format('%.6f', now) .. '\n'
for _ = 1, n do
  local shard = ARGV[i]
  if not entries[shard] then
    entries[shard] = {}
    shards[#shards + 1] = shard
  end
  entries[shard][#entries[shard] + 1] = at .. ARGV[i + 1]
  i = i + 2
end
for _, shard in ipairs(shards) do call_many('RPUSH', P .. 'inbox:' .. shard, entries[shard]) end
mark_all_ready(shards, now)
-- By value, not by count: another bridge may have read the same messages, and appending twice is harmless.
local m = tonumber(ARGV[i])
for j = 1, m do redis.call('LREM', P .. 'redrive', 1, ARGV[i + j]) end
i = i + m + 1
while ARGV[i] do
  local count = tonumber(ARGV[i])
  bury(now, i + 1, i + count)
  redis.call('HINCRBY', P .. 'counters', 'quarantined', 1)
  i = i + 1 + count
end
end_of_references(0)  -- letters only add
-- Last: a write that a full Redis refuses must leave the claim.
if ARGV[2] ~= '' then drop_claimed(ARGV[2], tonumber(ARGV[3]), ARGV[4]) end
if ARGV[5] ~= '' then redis.call('SET', ARGV[5], ARGV[6], 'EX', 86400) end
if n > 0 then return wake('sequencer', now) end
return 0
