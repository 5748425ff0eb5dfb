-- The sequencer's one commit: everything a drained batch decided, if and only if the shard's lease still holds.
-- The same call claims the next shard: a write less where callbacks come one by one.
-- ARGV: now ('' = server), shard, token, entries taken from the inbox, order TTL in s, event TTL in s,
--       lines kept per timeline; drainer ('' = it claims nothing), lease in s, idle until (s from now), entries at most,
--       bytes at most; then operations, each an opcode and its operands:
--   S stream, order state ('' = no order), wake at ('' = nothing held)     the stream of the following operations
--   N n, n times: fingerprint, arrived at, facts, body     new facts: dedupe memory and stored event
--   F fingerprint, arrived at, n, n values (field, value, ...)   a new fact of which more is stored
--   Y fingerprint, digest of the worse body ('' = the same), arrived at, type, entry ('' = not released), n, n values
--                                                          a better body of a known fact: the worse one is kept aside, and
--                                                          the read model is told again
--   B fingerprint:digest, arrived at, n, n values          another body of a known fact, kept for an operator
--   H fingerprint, since / R fingerprint                   held / no longer held
--   O keep (0: there is no clean stream), entry (behind the fingerprint), n, n times: fingerprint, type, clean entry
--                                                          events into the clean stream, and to all actions that want them
--   T n, n elements                                        timeline; each begins with the generation of what is subscribed
--   V source, count, at                                    new facts with a valid Content-Sha256
--   C counter, increment
--   D n, n values (field, value, ...)                      dead letter
--   G seconds                                              look for gaps in this stream after so long
--   Q group, facts, bytes, beyond, life in s, n, n values  what an event_hash has stored, and what was dropped of it: one
--                                                          dead letter counts that; before the first S
--   I shard, entry / W stream, shard       an entry of the inbox, a wake-up ('' = of no stream), that belong to another
--                                          shard; both come before the first S
-- Of an erased stream nothing is written: each of its arrivals is counted as a duplicate and renews the tombstone.
-- Returns: {1, {lane to ring, ...}, what claim_inbox returns, or {}}; {0} if the lease was lost, or nothing is announced;
--          then nothing was written or claimed.
local now = clock(ARGV[1])
local shard = ARGV[2]
if not holds(shard, ARGV[3]) then return { 0 } end
if not knows_subscribers() then return { 0 } end
local order_ttl, event_ttl, keep = ARGV[5], ARGV[6], tonumber(ARGV[7])
local stream, gone = '', false
-- Of all streams of the batch together; more than a batch adds.
local forgettable = FORGET_MAX
-- A batch has many operations and few counters, lanes, units and streams: what they share is written once.
-- A held event lives in the order state: neither that nor the dedupe memory ends before it is released.
local tally, lines, facts, remembers, moved, holds_events = {}, {}, {}, false, {}, false
local noted, calm, stamp = {}, {}, string.format('%.6f', now)
local function count(name, by) tally[name] = (tally[name] or 0) + by end
local function end_of_stream()
  add_lines(stream, lines, keep, order_ttl, now)
  lines = {}
  if #facts > 0 then
    call_many('ZADD', P .. 'seen:' .. stream, facts)
    facts = {}
  end
  if remembers and holds_events then
    redis.call('PERSIST', P .. 'seen:' .. stream)
  elseif remembers then
    redis.call('EXPIRE', P .. 'seen:' .. stream, order_ttl)
  end
end
local i = 13
while ARGV[i] do
  local op = ARGV[i]
  if op == 'T' then
    local n = tonumber(ARGV[i + 1])
    if not gone then
      for j = i + 2, i + 1 + n do lines[#lines + 1] = generation .. ARGV[j] end
    end
    i = i + 2 + n
  elseif op == 'O' then
    local keep_events, entry, n = ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
    for j = i + 4, i + 1 + 3 * n, 3 do
      if gone then break end
      local fingerprint = ARGV[j]
      if keep_events ~= '0' then publish(keep_events, fingerprint, ARGV[j + 2]) end
      dispatch(stream, fingerprint, ARGV[j + 1], fingerprint .. entry)
    end
    i = i + 4 + 3 * n
  elseif op == 'N' then
    local n = tonumber(ARGV[i + 1])
    for j = i + 2, i - 2 + 4 * n, 4 do
      if gone then break end
      facts[#facts + 1], facts[#facts + 2] = ARGV[j + 1], ARGV[j]
      write_new_event(ARGV[j], ARGV[j + 2], ARGV[j + 3])
    end
    i = i + 2 + 4 * n
  elseif op == 'F' or op == 'B' then
    local n = tonumber(ARGV[i + 3])
    if not gone then
      facts[#facts + 1] = ARGV[i + 2]
      facts[#facts + 1] = ARGV[i + 1]
      if op == 'B' and not fresh[ARGV[i + 1]] and redis.call('EXISTS', P .. 'event:' .. ARGV[i + 1]) == 0 then
        local fact = event_of(ARGV[i + 1])
        settle_event(fact)
        bump(P .. 'event:' .. fact, 'bodies', 1)
        refer(fact, 0)
      end
      write_event(ARGV[i + 1], in_pieces(i + 4, i + 3 + n))
    end
    i = i + 4 + n
  elseif op == 'Y' then
    local n = tonumber(ARGV[i + 6])
    if not gone then
      local event, worse = P .. 'event:' .. ARGV[i + 1], ARGV[i + 1] .. ':' .. ARGV[i + 2]
      settle_event(ARGV[i + 1])
      if ARGV[i + 2] ~= '' and redis.call('EXISTS', event) == 1 then
        local names = { 'source', 'sealed', unpack(PIECES) }
        for k, value in ipairs(redis.call('HMGET', event, unpack(names))) do
          if value then redis.call('HSET', P .. 'event:' .. worse, names[k], value) end
        end
        facts[#facts + 1] = ARGV[i + 3]
        facts[#facts + 1] = worse
        refer(worse, 0)
      end
      write_event(ARGV[i + 1], in_pieces(i + 7, i + 6 + n))
      if ARGV[i + 5] ~= '' then dispatch(stream, ARGV[i + 1], ARGV[i + 4], ARGV[i + 5], 'track_status') end
    end
    i = i + 7 + n
  elseif op == 'S' then
    end_of_stream()
    stream, remembers, holds_events = ARGV[i + 1], true, ARGV[i + 3] ~= ''
    gone = is_erased(stream)
    if gone then
      redis.call('EXPIRE', P .. 'erased:' .. stream, order_ttl)
    elseif holds_events then
      redis.call('SET', P .. 'order:' .. stream, ARGV[i + 2])
    elseif ARGV[i + 2] ~= '' then
      redis.call('SET', P .. 'order:' .. stream, ARGV[i + 2], 'EX', order_ttl)
    end
    -- By age, too: a stream that goes on for ever (an account, a template, a type) never expires as a whole.
    forgettable = forgettable - forget_until(P .. 'seen:' .. stream, now - tonumber(order_ttl), forgettable)
    if holds_events and not gone then
      redis.call('ZADD', P .. 'wake:' .. shard, ARGV[i + 3], stream)
    else
      calm[#calm + 1] = stream
    end
    if not gone then noted[#noted + 1], noted[#noted + 2] = stamp, stream end
    i = i + 4
  elseif op == 'H' then
    if not gone then refer(ARGV[i + 1], redis.call('ZADD', P .. 'held', ARGV[i + 2], ARGV[i + 1])) end
    i = i + 3
  elseif op == 'R' then
    -- What was not released because of the tombstone stays held: the erasure counts it.
    if not gone then refer(ARGV[i + 1], -redis.call('ZREM', P .. 'held', ARGV[i + 1])) end
    i = i + 2
  elseif op == 'C' then
    local name = ARGV[i + 1]
    if not gone or name == 'arrived' or string.sub(name, 1, 14) == 'body_signature' then
      count(name, tonumber(ARGV[i + 2]))
    end
    if gone and name == 'arrived' then count('duplicate', tonumber(ARGV[i + 2])) end
    i = i + 3
  elseif op == 'V' then
    if not gone then
      bump(P .. 'evidence:' .. ARGV[i + 1], 'valid', ARGV[i + 2])
      redis.call('HSET', P .. 'evidence:' .. ARGV[i + 1], 'last_valid_at', ARGV[i + 3])
    end
    i = i + 4
  elseif op == 'G' then
    if not gone then redis.call('ZADD', P .. 'gaps:due', now + tonumber(ARGV[i + 1]), stream) end
    i = i + 2
  elseif op == 'I' then
    -- Without a stream before it: nothing of it is decided here.
    redis.call('RPUSH', P .. 'inbox:' .. ARGV[i + 1], ARGV[i + 2])
    moved[#moved + 1] = ARGV[i + 1]
    i = i + 3
  elseif op == 'W' then
    redis.call('ZREM', P .. 'wake:' .. shard, ARGV[i + 1])
    if ARGV[i + 2] ~= '' then
      redis.call('ZADD', P .. 'wake:' .. ARGV[i + 2], now, ARGV[i + 1])
      moved[#moved + 1] = ARGV[i + 2]
    end
    i = i + 3
  elseif op == 'Q' then
    local quota, n = P .. 'quota:' .. ARGV[i + 1], tonumber(ARGV[i + 6])
    bump(quota, 'facts', ARGV[i + 2])
    bump(quota, 'bytes', ARGV[i + 3])
    if n > 0 then
      local letter = redis.call('HGET', quota, 'letter')
      if letter and redis.call('ZSCORE', P .. 'dead', letter) then
        bump(P .. 'dead:' .. letter, 'count', ARGV[i + 4])
      else
        redis.call('HSET', quota, 'letter', bury(now, i + 7, i + 6 + n))
      end
    end
    redis.call('EXPIRE', quota, math.ceil(tonumber(ARGV[i + 5])))
    i = i + 7 + n
  elseif op == 'D' then
    local n = tonumber(ARGV[i + 1])
    if not gone then bury(now, i + 2, i + 1 + n) end
    i = i + 2 + n
  else
    return redis.error_reply('ERR unknown opcode in release')
  end
end
end_of_stream()
call_many('ZADD', P .. 'streams', noted)
call_many('ZREM', P .. 'wake:' .. shard, calm)
end_of_publishing()
count_all(tally)
enqueue_all(now)
end_of_references(event_ttl)
redis.call('LTRIM', P .. 'inbox:' .. shard, ARGV[4], -1)
drop_lease(shard)
mark_all_ready(moved, now)
local rung, claimed = {}, {}
local again = redis.call('EXISTS', P .. 'inbox:' .. shard) == 1
  or redis.call('ZCOUNT', P .. 'wake:' .. shard, '-inf', now) > 0
if again then mark_ready(shard, now) end
if ARGV[8] ~= '' then
  claimed = claim_inbox(now, 8)
elseif (again or #moved > 0) and wake('sequencer', now) == 1 then
  rung[1] = 'sequencer'
end
for lane, _ in pairs(gathered.lanes) do
  if wake(lane, now) == 1 then rung[#rung + 1] = lane end
end
return { 1, rung, claimed }
