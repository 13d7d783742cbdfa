-- Runs that someone suspended stand nowhere but in the index: no timer of theirs fires, and what comes for
-- them waits in their inbox. `sus` is the status that they had, and will have again.
local function set_aside(uid, r, status)
  rq_forget(uid)
  redis.call('HSET', $run .. uid, 'pl', 'suspended', 'st', 'suspended', 'sus', status)
  index(uid, r.created, r.status, 'suspended')
  local lines = {}
  for i, task in ipairs(under_way(uid)) do lines[i] = line('task.suspended', task) end
  lines[#lines + 1] = line('workflow.suspended')
  tell_of(uid, r, lines)
end

local function tell_resumed(uid, r)
  local lines = {line('workflow.resumed', nil, '{"status":"' .. r.suspended .. '"}')}
  for _, task in ipairs(under_way(uid)) do
    lines[#lines + 1] = line('task.resumed', task, '{"status":"' .. task.status .. '"}')
  end
  tell_of(uid, r, lines)
end
