-- Reads what a faulted run goes on from.
-- keys: end, big, frames, values
-- args: uid
-- returns: {ended record or nil, large input or nil, frames, values}
-- invariant: reads only, in one step: between two answers someone may retry the run. A full server answers it.
local uid = ARGV[1]
return {redis.call('GET', $end .. uid), redis.call('HGET', $big .. uid, 'input'), redis.call('HGETALL', $frames .. uid),
  redis.call('HGETALL', $values .. uid)}
