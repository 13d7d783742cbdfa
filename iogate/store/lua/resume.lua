-- Resumes a suspended run.
-- keys: run, journal, tasks, inbox, timers, index, gate, RQ's, backlog, woken, outboxes, operation
-- args: uid, key of the operation or ''
-- returns: 'unknown' | 'ended' | 'not suspended' | 'resumed'
-- invariant: a waiting run keeps waiting, unless its time has passed or it has messages. A new run of an API with a
--   hold is held.
-- include: drained time index queue states lanes record messages suspended operation
local uid, operation = ARGV[1], ARGV[2]
local known = answered(operation)
if known then return known end
local r = record(uid)
if not r then return redis.call('EXISTS', $end .. uid) == 1 and 'ended' or 'unknown' end
if not r.suspended then return 'not suspended' end
redis.call('HDEL', $run .. uid, 'sus')
if r.state ~= 'suspended' then return answer_once(operation, 'resumed') end
redis.call('HSET', $run .. uid, 'st', r.suspended)
index(uid, r.api, r.created, r.status, r.suspended)
write_resumed(uid, r)
local due = r.due or 0
if waits_for_place(uid, r.api, true) then
  -- It is in the lane.
elseif r.token == 0 and r.depth == 0 and load_of(r.api).from then
  put_back(uid, r.api, load_of(r.api))
elseif r.suspended ~= 'waiting' or has_messages(uid, r) or (due > 0 and due <= now_ms) then
  wake(uid, r.api)
else
  redis.call('HSET', $run .. uid, 'pl', 'timer')
  if due > 0 then redis.call('ZADD', $timers, due, uid) end
  fold(uid)
end
save_loads()
save_index()
ring()
return answer_once(operation, 'resumed')
