-- Renews the leases of a worker, in the store and in RQ.
-- keys: per run: run, inbox, RQ's execution; leases, RQ's started registry
-- args: worker, lease ms, uid, token, uid, token…
-- returns: {uids with a lost lease, cancelled, with messages, to be suspended}
-- invariant: a lease that has ended is not renewed.
-- include: time rq
local lost, cancelled, woken, suspended, leases, started = {}, {}, {}, {}, {}, {}
for i = 3, #ARGV, 2 do
  local uid, token = ARGV[i], tonumber(ARGV[i + 1])
  local v = redis.call('HMGET', $run .. uid, 'tok', 'pl', 'cxl', 'msg', 'sus')
  if v[2] ~= 'lease' or tonumber(v[1]) ~= token then
    lost[#lost + 1] = uid
  else
    if v[3] then cancelled[#cancelled + 1] = uid end
    if v[4] and redis.call('EXISTS', $inbox .. uid) == 1 then woken[#woken + 1] = uid end
    if v[5] then suspended[#suspended + 1] = uid end
    leases[#leases + 1] = now_ms + tonumber(ARGV[2])
    leases[#leases + 1] = uid
    local id = rq_execution(token)
    local execution = uid .. ':' .. id
    started[#started + 1] = now_s + $rq_heartbeat_s
    started[#started + 1] = execution
    redis.call('HSET', $rq_execution .. execution, 'last_heartbeat', now_float())
    redis.call('EXPIRE', $rq_execution .. execution, $rq_heartbeat_s)
    redis.call('ZADD', $rq_executions .. uid, 'XX', now_s + $rq_heartbeat_s + 60, id)
    redis.call('EXPIRE', $rq_executions .. uid, $rq_heartbeat_s + 60)
  end
end
if #leases > 0 then
  redis.call('ZADD', $leases, 'XX', unpack(leases))
  redis.call('ZADD', $rq_started, 'XX', unpack(started))
  redis.call('EXPIRE', $rq_worker .. ARGV[1] .. ':executions', $rq_heartbeat_s)
end
return {lost, cancelled, woken, suspended}
