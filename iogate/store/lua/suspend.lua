-- Suspends a run until it is resumed; a leased run is suspended with its next park or queue commit.
-- keys: run, journal, tasks, timers, index, gate, RQ's, backlog, woken, outboxes, operation
-- args: uid, key of the operation or ''
-- returns: 'unknown' | 'ended' | 'cancelled' (its end is requested) | 'asked' | 'suspended'
-- invariant: messages stay in the inbox, and no timer fires.
-- include: drained time index queue states record suspended operation
local uid, operation = ARGV[1], ARGV[2]
local known = answered(operation)
if known then return known end
local r = record(uid)
if not r then return redis.call('EXISTS', $end .. uid) == 1 and 'ended' or 'unknown' end
if r.cancelled then return 'cancelled' end
if r.state == 'suspended' then return 'suspended' end
if r.state == 'lease' or r.state == 'suspect' then
  redis.call('HSET', $run .. uid, 'sus', r.status)
  return answer_once(operation, 'asked')
end
withdraw(uid, r)
-- A run that was woken, or has lost its worker during a short wait, waits for nothing that would wake it again.
set_suspended(uid, r, r.state ~= 'timer' and r.status == 'waiting' and 'running' or r.status)
save_loads()
save_index()
ring()
return answer_once(operation, 'suspended')
