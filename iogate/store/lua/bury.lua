-- A worker died: what it held queues again or becomes suspect at once, without waiting for the leases to end.
-- keys: leases, idle workers, suspects, RQ queue, woken, gates, per run: run and all beside it; RQ's worker and registries;
--   matcher, outboxes, sinks, sink
-- args: worker, error and RQ text of a poisoned run; uid of the run of which more is known, its error and RQ text,
--   '1' if its living parent saw it die by itself
-- returns: how many runs it held
-- invariant: repeated, it finds nothing more.
-- include: time index queue rq room places record inbox outbox journal outcome finish suspect
local worker = ARGV[1]
local count = 0
for _, uid in ipairs(redis.call('ZRANGE', $leases, 0, -1)) do
  if redis.call('HGET', $run .. uid, 'wkr') == worker then
    count = count + 1
    local known = uid == ARGV[4]
    lose_lease(uid, known and ARGV[5] or ARGV[2], known and ARGV[6] or ARGV[3], ARGV[7] == '1')
  end
end
rq_save_executions()
save_loads()
save_index()
announce_ended()
ring()
local key = $rq_worker .. worker
redis.call('SREM', $rq_workers, key)
redis.call('SREM', $rq_workers_of_queue, key)
redis.call('DEL', key, key .. ':executions', $taken .. worker)
redis.pcall('SREM', $idle, worker)
-- What one worker does for all has a lease of its own: another goes on without waiting for its end.
local function release(role)
  if redis.pcall('HGET', role, 'owner') == worker then redis.call('HDEL', role, 'owner', 'until') end
end
release($matcher)
local sinks = redis.pcall('SMEMBERS', $sinks)
for _, sink in ipairs(sinks.err and {} or sinks) do release($sink .. sink) end
return count
