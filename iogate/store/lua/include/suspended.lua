-- Runs that someone suspended stand nowhere but in the index: no timer of theirs fires, and what comes for
-- them waits in their inbox. `sus` is the status that they had, and will have again.
local function log(uid, kind)
  redis.call('RPUSH', $journal .. uid, string.format('{"at":%d,"kind":"workflow.%s"}', now_ms, kind))
end

local function set_aside(uid, r, status)
  rq_forget(uid)
  redis.call('HSET', $run .. uid, 'pl', 'suspended', 'st', 'suspended', 'sus', status)
  index(uid, r.created, r.status, 'suspended')
  log(uid, 'suspended')
end
