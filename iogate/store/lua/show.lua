-- Reads all of one run.
-- keys: run, tasks, parked, end, big
-- args: uid
-- returns: {record, tasks, folded run or nil, ended record or nil, large parts}
-- invariant: reads only, in one step: between two answers the run may park, go on or end. A full server answers it,
--   other than a transaction.
local uid = ARGV[1]
return {redis.call('HGETALL', $run .. uid), redis.call('HGETALL', $tasks .. uid), redis.call('GET', $parked .. uid),
  redis.call('GET', $end .. uid), redis.call('HGETALL', $big .. uid)}
