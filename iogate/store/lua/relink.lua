-- Puts right what an outsider did to schedules: a run whose end would bring the next tick was deleted.
-- keys: chains, ticks, run
-- args: none
-- returns: how many were put right
-- invariant: a schedule whose run is there is not touched.
-- include: time
local wrong = 0
local chains = redis.call('HGETALL', $chains)
for i = 1, #chains, 2 do
  if redis.call('EXISTS', $run .. string.match(chains[i + 1], '^%d*')) == 0 then
    wrong = wrong + 1
    redis.call('HDEL', $chains, chains[i])
    redis.call('ZADD', $ticks, now_ms, chains[i])
  end
end
return wrong
