-- Removes dead letters for good. ARGV: now ('' = server; unused), event TTL in s, then dead letter ids
-- Returns: how many were still there.
local removed = 0
for i = 3, #ARGV do
  if unbury(ARGV[i]) then removed = removed + 1 end
end
end_of_references(ARGV[2])
return removed
