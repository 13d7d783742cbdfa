-- Reads one run completely.
-- keys: run, tasks, parked, end, big
-- args: uid
-- returns: {record, tasks, folded run or nil, ended record or nil, large parts}
-- invariant: reads only, in one step, because the run may change in between. Works on a full server, unlike a
--   transaction.
local uid = ARGV[1]
return {redis.call('HGETALL', $run .. uid), redis.call('HGETALL', $tasks .. uid), redis.call('GET', $parked .. uid),
  redis.call('GET', $end .. uid), redis.call('HGETALL', $big .. uid)}
