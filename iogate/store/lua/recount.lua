-- Recounts the load of each API, and removes expired entries of RQ's registries.
-- keys: gates, deleted, gate of each API, releases, RQ queue, leases, backlog, woken, RQ's registries
-- args: none
-- returns: number of APIs with wrong counts
-- invariant: one step, so that no change in between is lost.
-- include: time queue rq room states
local true_loads = {}
local function count(uid, state, name)
  local v = redis.call('HMGET', $run .. uid, 'api', 'pl')
  if v[1] and v[2] == state then
    local load = true_loads[v[1]] or {inq = 0, run = 0}
    true_loads[v[1]] = load
    load[name] = load[name] + 1
  end
end
local seen = {}
for _, uid in ipairs(redis.call('LRANGE', $rq_queue, 0, -1)) do
  if not seen[uid] then count(uid, 'queue', 'inq') end
  seen[uid] = true
end
for _, uid in ipairs(redis.call('ZRANGE', $leases, 0, -1)) do count(uid, 'lease', 'run') end

local wrong = 0
for _, set in ipairs({$gates, $deleted}) do
  for _, api in ipairs(redis.call('SMEMBERS', set)) do
    local load = load_of(api)
    local truth = true_loads[api] or {inq = 0, run = 0}
    local bl = redis.call('LLEN', $backlog .. api) + redis.call('LLEN', $woken .. api)
    if load.inq ~= truth.inq or load.run ~= truth.run or load.bl ~= bl then wrong = wrong + 1 end
    load.inq, load.run, load.bl = truth.inq, truth.run, bl
    if load.from and load.from < $held_ms then redis.call('ZADD', $releases, 'NX', load.from, api) end
    -- A rollback restores the switch of a deleted API.
    if set == $deleted and truth.inq + truth.run + bl == 0 and redis.call('HEXISTS', $gate .. api, 'own') == 0 then
      redis.call('DEL', $gate .. api)
      loads[api] = nil
    end
  end
end
save_loads()
ring()
for _, key in ipairs({$rq_finished, $rq_failed}) do redis.call('ZREMRANGEBYSCORE', key, '-inf', now_s) end
redis.call('ZREMRANGEBYSCORE', $rq_canceled, '-inf', now_s - $rq_result_s)
return wrong
