-- Reads the state of a faulted run.
-- keys: end, big, frames, values
-- args: uid
-- returns: {ended record or nil, large input or nil, frames, values}
-- invariant: reads only, in one step, because the run may be retried in between. Works on a full server.
local uid = ARGV[1]
return {redis.call('GET', $end .. uid), redis.call('HGET', $big .. uid, 'input'), redis.call('HGETALL', $frames .. uid),
  redis.call('HGETALL', $values .. uid)}
