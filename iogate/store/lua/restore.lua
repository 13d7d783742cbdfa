-- Ends overrides, so that the values in git apply.
-- keys: gate of each API, expiries, releases, live; RQ queue and job, run, backlog, woken
-- args: ms between two released runs ('' all at once), project ('' any), expected counter of changes ('' any), api…
-- returns: {'ok', number of removed overrides} | {'foreign', api, its project, …} | {'moved'}, if nothing was changed
-- invariant: an API without a value in git keeps its own switch. A hold ends with its override.
-- include: drained time queue states owner
local others = foreign_from(4, ARGV[2])
if others then return others end
if ARGV[3] ~= '' and ARGV[3] ~= (redis.call('HGET', $live, 'changes') or '0') then return {'moved'} end
local count = 0
local every = tonumber(ARGV[1])
for i = 4, #ARGV do
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
return {'ok', count}
