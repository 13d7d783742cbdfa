-- Puts right what an outsider did to schedules: a run whose end would bring the next tick was deleted.
-- keys: chains, ticks, run, parked
-- args: none
-- returns: how many were put right
-- invariant: a schedule whose run is there is not touched.
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
return wrong
