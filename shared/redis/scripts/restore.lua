-- Replaces the archive of a stream by its keys. What was written about the stream since counts where both have something.
-- ARGV: now ('' = server), stream, archive as it was read, until when all but the events is kept (unix s; '' = the archive cannot
--       be read, and is moved away), lines kept per timeline; then operations, each an opcode and its operands:
--   V kind, value                      order state, read model or document record
--   Z n, n values (arrival, name, ...)       dedupe memory
--   L n, n lines                       timeline, before the lines that there are
--   H n, n values (term, value, ...)   where the request is found
--   E name, until when (unix s), n, n values (field, value, ...)       a stored event
-- Returns: 1; 0 if there is another archive by now, or none: nothing was written.
local now, stream, key = clock(ARGV[1]), ARGV[2], P .. 'archive:' .. ARGV[2]
if redis.call('GET', key) ~= ARGV[3] then return 0 end
if ARGV[4] == '' then
  set_aside(key, now)
  return 1
end

-- Writes to a key, which then lives until `ends_at` at least.
local function write(name, ends_at, ...)
  local left, wanted = redis.call('PTTL', name), math.max(1, math.ceil((tonumber(ends_at) - now) * 1000))
  redis.call(...)
  if left == -2 or (left >= 0 and left < wanted) then redis.call('PEXPIRE', name, wanted) end
end

local state_end, i = ARGV[4], 6
while ARGV[i] do
  local op, n = ARGV[i], tonumber(ARGV[i + 1])
  if op == 'V' then
    local name = P .. ARGV[i + 1] .. ':' .. stream
    if redis.call('EXISTS', name) == 0 then write(name, state_end, 'SET', name, ARGV[i + 2]) end
    i = i + 3
  elseif op == 'Z' then
    local name = P .. 'seen:' .. stream
    write(name, state_end, 'ZADD', name, 'NX', unpack(ARGV, i + 2, i + 1 + n))
    i = i + 2 + n
  elseif op == 'L' then
    local name, lines = P .. 'timeline:' .. stream, {}
    for j = i + 1 + n, i + 2, -1 do lines[#lines + 1] = ARGV[j] end
    write(name, state_end, 'LPUSH', name, unpack(lines))
    redis.call('LTRIM', name, -tonumber(ARGV[5]), -1)
    i = i + 2 + n
  elseif op == 'H' then
    local name = P .. 'finds:' .. stream
    for j = i + 2, i + 1 + n, 2 do write(name, state_end, 'HSETNX', name, ARGV[j], ARGV[j + 1]) end
    i = i + 2 + n
  elseif op == 'E' then
    local name, ends_at, count = P .. 'event:' .. ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    local fields = ends_at > now and in_pieces(i + 4, i + 3 + count) or {}
    for j = 1, #fields, 2 do write(name, ends_at, 'HSETNX', name, fields[j], fields[j + 1]) end
    i = i + 4 + count
  else
    return redis.error_reply('ERR unknown opcode in restore')
  end
end
redis.call('DEL', key)
redis.call('ZADD', P .. 'quiet', now, stream)
return 1
