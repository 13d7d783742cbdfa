-- Ends overrides, so that the values in git apply.
-- keys: gate of each API, expiries, releases, live; RQ queue and job, run, backlog, woken
-- args: ms between two released runs ('' all at once), api…
-- returns: number of removed overrides
-- invariant: an API without a value in git keeps its own switch. A hold ends with its override.
-- include: time queue rq room states
local count = 0
local every = tonumber(ARGV[1])
for i = 2, #ARGV do
  local api = ARGV[i]
  local g = redis.call('HMGET', $gate .. api, 'override', 'base')
  if g[1] and g[1] ~= '' then
    count = count + 1
    redis.call('ZREM', $expiries, api)
    redis.call('HSET', $gate .. api, 'override', '', 'until', '', 'on', g[2])
    redis.call('HDEL', $gate .. api, 'author', 'reason', 'at')
    local load = load_of(api)
    if is_held(load) then
      if every and load.bl > 0 then set_hold(api, load, now_ms, every) else end_hold(api, load) end
    end
  end
end
if count > 0 then
  save_loads()
  ring()
  redis.call('HINCRBY', $live, 'changes', 1)
  redis.call('PUBLISH', $change_channel, 'gates')
end
return count
