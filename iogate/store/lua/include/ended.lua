-- Packed record of an ended run, which `finish.lua` writes; fields are those of `views.Ended`, in order.
local ENDED = {'status', 'api', 'facts', 'created', 'started', 'ended', 'attempt', 'token', 'seq', 'retention',
  'deaths', 'reason', 'input', 'output', 'error', 'tasks', 'journal', 'big', 'dropped', 'posted', 'depth', 'parent', 'key',
  'merged', 'files', 'attributes'}

local function ended_fields(blob)
  local packed, e = cmsgpack.unpack(blob), {}
  for i, name in ipairs(ENDED) do e[name] = packed[i] end
  return e
end

-- Returns nil if there is none.
local function ended_record(uid)
  local blob = redis.call('GET', $end .. uid)
  return blob and ended_fields(blob) or nil
end
