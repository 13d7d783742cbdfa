-- The lease of a worker that died: its run will be taken alone, in a process of its own. A death there
-- counts, and the last one faults the run in place, so that it cannot kill its neighbours for ever.
local function suspect(uid, poison, exc)
  redis.call('ZREM', $leases, uid)
  local r = record(uid)
  if not r or r.place ~= 'lease' then return end
  local load = load_of(r.api)
  load.run = math.max(0, load.run - 1)
  rq_end_execution(uid, r.token, r.worker)
  if r.solitary then r.deaths = r.deaths + 1 end
  if r.deaths >= $deaths then
    index(uid, r.created, r.status, 'faulted')
    rq_outcome(uid, r, 'faulted', exc)
    tell_of(uid, r, {line('workflow.faulted', nil, '{"error":' .. poison .. '}')})
    finish(uid, r, 'faulted', '', poison, fold_tasks(uid), fold_journal(uid))
    return
  end
  rq_forget(uid)
  redis.call('HSET', $run .. uid, 'pl', 'suspect', 'dth', r.deaths, 'wkr', '')
  redis.call('RPUSH', $suspects, uid)
end
