-- Takes over one web process's report: the live view, and what came since its last report into the long-term totals.
-- ARGV: now ('' = server), process, report (JSON), 1 if an earlier report of this process was answered else 0,
--       1 if the process ends else 0, life of a silent process in s
-- The totals grow by the difference to the stored report, so a report that arrives twice counts once.
-- Returns: 1, or 0 if the totals were left alone: the stored report is gone, or of another process of that name.
local now = clock(ARGV[1])
local process, text = ARGV[2], ARGV[3]
local report = cjson.decode(text)
local live, totals = P .. 'intake', P .. 'sources'
local known, counts = {}, true

-- Reads a stored report; nil for what is none: another version may have written it.
local function read(packed)
  local ok, found = pcall(cjson.decode, packed or '')
  if ok and type(found) == 'table' then return found end
end

local stored = read(redis.call('HGET', live, process))
if stored and stored.started_at == report.started_at then
  known = stored
elseif ARGV[4] == '1' then
  counts = false
end

local function grow(key, field, by)
  if counts and by > 0 then redis.call('HINCRBY', key, field, by) end
end

local function grow_refused(field, refused, old)
  for reason, n in pairs(refused) do
    local by = n - ((old or {})[reason] or 0)
    grow(P .. 'counters', 'intake_refused_' .. reason, by)
    if field then grow(totals, field .. '|refused|' .. reason, by) end
  end
end

-- Keeps the later of two times. Returns it, nil if there is none.
local function later(field, at)
  local kept = tonumber(redis.call('HGET', totals, field) or nil)
  if type(at) ~= 'number' or (kept and kept >= at) then return kept end
  redis.call('HSET', totals, field, string.format('%.3f', at))
  return at
end

-- Merges the failures of all processes that came after the last acknowledgement of any of them.
local function merge_failures(source, failures, accepted_at)
  local field, seen, merged = source .. '|failures', {}, {}
  local function add(at)
    if at and not seen[at] and (not accepted_at or tonumber(at) > accepted_at) then
      seen[at] = true
      merged[#merged + 1] = at
    end
  end
  for at in string.gmatch(redis.call('HGET', totals, field) or '', '[^,]+') do add(at) end
  for _, at in ipairs(failures) do add(string.format('%.3f', at)) end
  table.sort(merged, function(a, b) return tonumber(a) < tonumber(b) end)
  while #merged > 10 do table.remove(merged, 1) end
  if #merged > 0 then
    redis.call('HSET', totals, field, table.concat(merged, ','))
  else
    redis.call('HDEL', totals, field)
  end
end

for source, tally in pairs(report.sources) do
  local old = (known.sources or {})[source] or {}
  for _, outcome in ipairs({ 'accepted', 'spooled' }) do
    local by = tally[outcome] - (old[outcome] or 0)
    grow(P .. 'counters', 'intake_' .. outcome, by)
    grow(totals, source .. '|' .. outcome, by)
  end
  grow_refused(source, tally.refused, old.refused)
  later(source .. '|last_test_at', tally.last_test_at)
  merge_failures(source, tally.failures, later(source .. '|last_accepted_at', tally.last_accepted_at))
end
grow_refused(nil, report.strays, known.strays)

if ARGV[4] == '0' then
  -- Processes that were killed; each new one looks.
  local all = redis.call('HGETALL', live)
  for i = 1, #all, 2 do
    local at = tonumber((read(all[i + 1]) or {}).at)
    if not at or at < now - tonumber(ARGV[6]) then redis.call('HDEL', live, all[i]) end
  end
end
if ARGV[5] == '1' then
  redis.call('HDEL', live, process)
else
  redis.call('HSET', live, process, text)
end
return counts and 1 or 0
