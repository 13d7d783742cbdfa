-- Recounts the load of each API, and removes expired entries of RQ's registries.
-- keys: gates, deleted, gate of each API, releases, RQ queue, leases, backlog, woken, holders, lanes, windows, RQ's
--   registries
-- args: none
-- returns: number of APIs with wrong counts
-- invariant: one step, so that no change in between is lost.
-- include: time queue states lanes record
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

-- Gives up the places of runs that another program has deleted, fills free ones, and returns the number of runs
-- apart from the queue.
local function count_apart(api)
  local holders = redis.call('HGETALL', $holders .. api)
  for i = 1, #holders, 2 do
    local kept, gone = {}, false
    for uid in string.gmatch(holders[i + 1], '%d+') do
      if is_live(uid) then kept[#kept + 1] = uid else gone = true end
    end
    if gone or redis.call('EXISTS', lane_of(api, holders[i])) == 1 then fill_places(api, holders[i], kept) end
  end
  local apart = 0
  for _, key in ipairs(redis.call('HKEYS', $holders .. api)) do
    apart = apart + redis.call('LLEN', lane_of(api, key))
  end
  local windows = redis.call('HGETALL', $windows .. api)
  for i = 1, #windows, 2 do
    local state = redis.pcall('HGET', $run .. windows[i + 1], 'pl')
    if state == 'window' then apart = apart + 1 end
    if not state then redis.call('HDEL', $windows .. api, windows[i]) end
  end
  return apart
end

local wrong = 0
for _, set in ipairs({$gates, $deleted}) do
  for _, api in ipairs(redis.call('SMEMBERS', set)) do
    local load = load_of(api)
    local truth = true_loads[api] or {inq = 0, run = 0}
    local before, apart = load.inq, 0
    local has_apart = redis.call('EXISTS', $holders .. api, $windows .. api) > 0
    if has_apart then apart = count_apart(api) end
    truth.inq = truth.inq + load.inq - before
    local bl = redis.call('LLEN', $backlog .. api) + redis.call('LLEN', $woken .. api)
    if load.apart ~= apart or load.inq ~= truth.inq or load.run ~= truth.run or load.bl ~= bl then wrong = wrong + 1 end
    load.inq, load.run, load.bl, load.apart = truth.inq, truth.run, bl, apart
    if load.from and load.from < $held_ms then redis.call('ZADD', $releases, 'NX', load.from, api) end
    -- A rollback restores the switch of a deleted API. Its runs are those of its project as long as they are kept.
    if set == $deleted and truth.inq + truth.run + bl == 0 and not has_apart
      and redis.call('HEXISTS', $gate .. api, 'own') == 0 then
      local project = redis.call('HGET', $gate .. api, 'project')
      if not project or redis.call('HLEN', $gate .. api) > 1 then
        redis.call('DEL', $gate .. api)
        if project then redis.call('HSET', $gate .. api, 'project', project) end
      end
      loads[api] = nil
    end
  end
end
save_loads()
ring()
for _, key in ipairs({$rq_finished, $rq_failed}) do redis.call('ZREMRANGEBYSCORE', key, '-inf', now_s) end
redis.call('ZREMRANGEBYSCORE', $rq_canceled, '-inf', now_s - $rq_result_s)
return wrong
