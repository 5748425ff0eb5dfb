-- Copies what is stored about some streams under fresh ids, byte by byte: only ids and fingerprints differ.
-- ARGV: prefix of keys, first copy, last copy, seconds by which each copy is older than the one before it, requests kept in
--       indexes, events kept in the clean stream; then per model: stream, its id, n, n fingerprints
-- Returns: events copied.
local P, from, to, apart, kept, stream_kept = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local copied = 0
local kinds = { 'seen:', 'timeline:', 'order:', 'request:', 'finds:' }
local function read(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return nil end
  local found = { kind = kind, ttl = redis.call('TTL', key) }
  if kind == 'string' then found.values = { redis.call('GET', key) }
  elseif kind == 'hash' then found.values = redis.call('HGETALL', key)
  elseif kind == 'list' then found.values = redis.call('LRANGE', key, 0, -1)
  else found.values = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  return found
end
local function write(key, found, values)
  if found.kind == 'string' then redis.call('SET', key, values[1])
  elseif found.kind == 'hash' then redis.call('HSET', key, unpack(values))
  elseif found.kind == 'list' then redis.call('RPUSH', key, unpack(values))
  else
    local rows = {}
    for i = 1, #values, 2 do rows[i], rows[i + 1] = values[i + 1], values[i] end
    redis.call('ZADD', key, unpack(rows))
  end
  if found.ttl > 0 then redis.call('EXPIRE', key, found.ttl) end
end
local function raw(hex)
  return (string.gsub(hex, '%x%x', function(digits) return string.char(tonumber(digits, 16)) end))
end
local function replaced(value, old, new)
  local at, behind = string.find(value, old, 1, true)
  while at do
    value = string.sub(value, 1, at - 1) .. new .. string.sub(value, behind + 1)
    at, behind = string.find(value, old, at + #new, true)
  end
  return value
end
local number = tonumber(redis.call('GET', P .. 'events:seq') or '0')
local i = 7
while ARGV[i] do
  local stream, id, n = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local names, models, events = {}, {}, {}
  for j = 1, n do names[j] = ARGV[i + 2 + j] end
  for _, kind in ipairs(kinds) do models[kind] = read(P .. kind .. stream) end
  for _, name in ipairs(names) do events[name] = read(P .. 'event:' .. name) end
  local since, raws = redis.call('ZSCORE', P .. 'streams', stream), { [id] = raw(id) }
  for _, name in ipairs(names) do raws[name] = raw(name) end
  for copy = from, to do
    local tag, older = string.format('%08x', copy), copy * apart
    local fresh_id, fresh = string.sub(id, 1, -9) .. tag, {}
    for _, name in ipairs(names) do fresh[name] = tag .. string.sub(name, 9) end
    -- Ids may be in text, or in binary before a packed record.
    local pairs_of = { id, fresh_id, raws[id], raw(fresh_id) }
    for name, other in pairs(fresh) do
      local n = #pairs_of
      pairs_of[n + 1], pairs_of[n + 2], pairs_of[n + 3], pairs_of[n + 4] = name, other, raws[name], raw(other)
    end
    local function renamed(value)
      for k = 1, #pairs_of, 2 do value = replaced(value, pairs_of[k], pairs_of[k + 1]) end
      return value
    end
    local function all_renamed(found, is_zset)
      local values = {}
      for k, value in ipairs(found.values) do
        values[k] = is_zset and k % 2 == 0 and string.format('%.6f', tonumber(value) - older) or renamed(value)
      end
      return values
    end
    -- The facts of an event are in the fields 0 to 7, and an id may begin in one and end in the next.
    local function event_renamed(values)
      local places, joined, at = {}, '', 1
      for k = 1, #values, 2 do
        local piece = tonumber(values[k])
        if piece then places[piece + 1] = k + 1 end
      end
      for _, place in ipairs(places) do joined = joined .. values[place] end
      joined = renamed(joined)
      for _, place in ipairs(places) do
        values[place], at = string.sub(joined, at, at + #values[place] - 1), at + #values[place]
      end
      return values
    end
    local mine = renamed(stream)
    for kind, found in pairs(models) do write(P .. kind .. mine, found, all_renamed(found, found.kind == 'zset')) end
    for name, found in pairs(events) do
      local key = P .. 'event:' .. fresh[name]
      write(key, found, event_renamed(all_renamed(found, false)))
      number = number + 1
      local place = redis.call('XADD', P .. 'events', 'MAXLEN', '~', stream_kept, '*', 'n', number, 'stream', mine, 'event',
        fresh[name], 'type', 'signature_request_viewed', 'time', '1760000000', 'signature', '', 'late', '0')
      redis.call('HSET', key, 'clean', place .. ' ' .. string.format('%.0f', number))
      copied = copied + 1
    end
    redis.call('ZADD', P .. 'streams', since - older, mine)
    if models['finds:'] then
      for k = 1, #models['finds:'].values, 2 do
        redis.call('ZADD', P .. 'find:' .. models['finds:'].values[k], since - older, fresh_id)
      end
    end
  end
  if models['finds:'] then
    for k = 1, #models['finds:'].values, 2 do
      redis.call('ZREMRANGEBYRANK', P .. 'find:' .. models['finds:'].values[k], 0, -kept - 1)
    end
  end
  i = i + 3 + n
end
redis.call('SET', P .. 'events:seq', string.format('%.0f', number))
return copied
