-- Releases the runs of a stopping worker: they are queued again, suspects as suspects.
-- keys: per run: run, journal, tasks, RQ's; leases, gates, index, RQ queue, woken, outboxes
-- args: worker, uid, token, uid, token…
-- returns: number of released leases
-- invariant: only a lease with this token is released; the progress of the run does not change.
-- include: time index queue rq states record suspended
local count = 0
for i = 2, #ARGV, 2 do
  local uid, token = ARGV[i], tonumber(ARGV[i + 1])
  local r = record(uid)
  if r and r.state == 'lease' and r.token == token then
    count = count + 1
    redis.call('ZREM', $leases, uid)
    local load = load_of(r.api)
    load.run = math.max(0, load.run - 1)
    rq_end_execution(uid, token, r.worker)
    redis.call('HSET', $run .. uid, 'wkr', '', 'lft', last_worker_field(r))
    if r.seq == 0 then
      redis.call('HSET', $run .. uid, 'st', 'pending')
      redis.call('HDEL', $run .. uid, 'sta')
      index(uid, r.api, r.created, r.status, 'pending')
      r.status = 'pending'
    end
    if r.solitary then
      rq_forget(uid)
      redis.call('HSET', $run .. uid, 'pl', 'suspect')
      redis.call('RPUSH', $suspects, uid)
    elseif r.suspended and not r.cancelled then
      set_suspended(uid, r, r.seq == 0 and 'pending' or 'running')
    else
      wake(uid, r.api)
    end
  end
end
rq_save_executions()
save_loads()
save_index()
ring()
return count
