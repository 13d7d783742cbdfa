-- Asks for a run's end: one that never started ends here, any other is told by its worker.
-- keys: run and all beside it, RQ's, gate, timers, suspects, backlog, woken
-- args: uid, reason
-- returns: 'unknown' | 'ended' | 'asked' | 'cancelled'
-- invariant: the first reason stays; a run under lease is never moved from here.
-- include: time index rq places record finish outcome
local uid, reason = ARGV[1], ARGV[2]
local r = record(uid)
if not r then return redis.call('EXISTS', $end .. uid) == 1 and 'ended' or 'unknown' end
if not r.cancelled then
  redis.call('HSET', $run .. uid, 'cxl', reason)
  r.reason = reason
end
local load = load_of(r.api)
local answer = 'asked'
if r.place == 'lease' then
  redis.call('PUBLISH', $cancel_channel, uid)
elseif r.place == 'timer' then
  redis.call('ZREM', $timers, uid)
  wake(uid, r.api)
elseif r.seq == 0 and r.place ~= 'suspect' then
  if r.place == 'queue' then
    redis.call('LREM', $rq_queue, 0, uid)
    load.inq = math.max(0, load.inq - 1)
  else
    redis.call('LREM', (r.place == 'woken' and $woken or $backlog) .. r.api, 1, uid)
    load.bl = math.max(0, load.bl - 1)
  end
  index(uid, r.created, r.status, 'cancelled')
  rq_outcome(uid, r, 'cancelled', '')
  finish(uid, r, 'cancelled', '', '', {}, '')
  answer = 'cancelled'
end
save_loads()
save_index()
announce_ended()
ring()
return answer
