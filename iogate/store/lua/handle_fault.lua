-- Starts the run that the fault of a run starts, where the commit of the fault could not: the run was poisoned.
-- keys: faults, after, end, gate, families, index, RQ's, backlog, woken
-- args: uid of the faulted run, uid of the new run, its facts, its input; '' for the uid of the new run: starts none
-- returns: 1; 0 if another worker was first; -1 if the uid of the new run is taken
-- invariant: one run is started for an entry of the list, together with its removal.
-- include: drained time index queue states ended children
local parent, uid = ARGV[1], ARGV[2]
if uid ~= '' and redis.call('EXISTS', $run .. uid, $parked .. uid, $end .. uid) > 0 then return -1 end
if redis.call('LREM', $faults, 1, parent) == 0 then return 0 end
local e = uid ~= '' and ended_record(parent)
if e then
  local r = {api = e.api, depth = tonumber(e.depth), retention = e.retention, files = e.files}
  start_child(parent, r, false, uid, 0, ARGV[3], ARGV[4], 0)
  redis.call('HSET', $after .. parent, 'run', uid)
end
save_loads()
save_index()
ring()
return 1
