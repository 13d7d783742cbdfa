-- Queues the runs of a dead worker or makes them suspects, without waiting for the end of their leases.
-- keys: leases, idle workers, suspects, RQ queue, woken, gates, all keys of each run; RQ's worker and registries;
--   matcher, outboxes, sinks, sink
-- args: worker; error of a poisoned run, its RQ text and its group; uid of the run with a more specific error, and these
--   three of that run; '1' if a living parent saw the worker die by itself, lease end to start from ('-inf': all)
-- returns: {number of leases ended in this call, lease end from which the next call continues; '' if it is done}
-- invariant: idempotent; each call but the last one ends a lease or advances.
-- include: spent time index queue rq states finish suspect
local worker, from = ARGV[1], ARGV[10]
local count, others, at, unfinished = 0, 0, from, false
repeat
  local page = redis.call('ZRANGEBYSCORE', $leases, from, '+inf', 'WITHSCORES', 'LIMIT', others, 256)
  for i = 1, #page, 2 do
    local uid, lease_end = page[i], page[i + 1]
    -- A script blocks the server, so the next call continues. It starts with all leases that end at the same time as
    -- the last one.
    if (count > 0 or at ~= from and lease_end ~= at) and spent_ms() > $recover_ms then
      unfinished = true
      break
    end
    at = lease_end
    if redis.pcall('HGET', $run .. uid, 'wkr') == worker then
      count = count + 1
      local first = uid == ARGV[5] and 6 or 2
      pcall(end_lost_lease, uid, ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[9] == '1')
    else
      others = others + 1
    end
  end
until unfinished or #page < 512
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
-- Release the roles that the worker held for all, so that another worker need not wait for their leases.
local function release(role)
  if redis.pcall('HGET', role, 'owner') == worker then redis.call('HDEL', role, 'owner', 'until') end
end
release($matcher)
local sinks = redis.pcall('SMEMBERS', $sinks)
for _, sink in ipairs(sinks.err and {} or sinks) do release($sink .. sink) end
return {count, unfinished and at or ''}
