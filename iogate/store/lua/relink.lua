-- Repairs schedules: the run whose end sets the next tick was deleted, or a tick has no schedule.
-- keys: chains, ticks, schedules, run, parked
-- args: none
-- returns: number of repairs
-- invariant: a schedule whose run exists is not changed.
-- include: time record
local wrong = 0
local chains = redis.call('HGETALL', $chains)
for i = 1, #chains, 2 do
  if not is_live(string.match(chains[i + 1], '^%d*')) then
    wrong = wrong + 1
    redis.call('HDEL', $chains, chains[i])
    redis.call('ZADD', $ticks, now_ms, chains[i])
  end
end
for _, api in ipairs(redis.call('ZRANGE', $ticks, 0, -1)) do
  if not redis.call('HGET', $schedules, api) then
    wrong = wrong + 1
    redis.call('ZREM', $ticks, api)
  end
end
return wrong
