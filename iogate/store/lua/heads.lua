-- Returns API, status and attempt of runs.
-- keys: per run: run, parked, end
-- args: uid…
-- returns: per run {API, status, attempt}, or {} if it does not exist
-- invariant: reads only.
-- include: heads
local found = {}
for i, uid in ipairs(ARGV) do
  local head = head_of(uid, {})
  found[i] = head and {head.api, head.status, tonumber(head.attempt) or 1} or {}
end
return found
