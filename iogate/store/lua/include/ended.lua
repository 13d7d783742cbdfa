-- The packed record of an ended run, by the names and in the order of `views.Ended`; `finish.lua` writes it.
local ENDED = {'status', 'api', 'facts', 'created', 'started', 'ended', 'attempt', 'token', 'seq', 'retention',
  'deaths', 'reason', 'input', 'output', 'error', 'tasks', 'journal', 'big', 'dropped', 'posted', 'depth', 'parent'}

-- nil where there is none.
local function ended_record(uid)
  local blob = redis.call('GET', $end .. uid)
  if not blob then return nil end
  local packed, e = cmsgpack.unpack(blob), {}
  for i, name in ipairs(ENDED) do e[name] = packed[i] end
  return e
end
