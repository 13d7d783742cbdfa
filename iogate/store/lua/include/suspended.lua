-- Suspended runs are only in the index: they have no timer, and messages stay in their inbox. `sus` is the status
-- to restore.
-- needs: index rq journal
local function set_suspended(uid, r, status)
  rq_forget(uid)
  redis.call('HSET', $run .. uid, 'pl', 'suspended', 'st', 'suspended', 'sus', status)
  index(uid, r.api, r.created, r.status, 'suspended')
  local lines = {}
  for i, task in ipairs(under_way(uid)) do lines[i] = journal_entry('task.suspended', task) end
  lines[#lines + 1] = journal_entry('workflow.suspended')
  write_lifecycle(uid, r, lines)
end

local function write_resumed(uid, r)
  local lines = {journal_entry('workflow.resumed', nil, '{"status":"' .. r.suspended .. '"}')}
  for _, task in ipairs(under_way(uid)) do
    lines[#lines + 1] = journal_entry('task.resumed', task, '{"status":"' .. task.status .. '"}')
  end
  write_lifecycle(uid, r, lines)
end
