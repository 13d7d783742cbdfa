-- States of a live run. A run that waits for a worker is in the RQ queue if its API has fewer than $queued_in_rq
-- there, and `running` and a hold allow it, else in the API's woken or backlog list.
--
--     accept -> backlog -> queue -> lease -> end
--                 woken --^  ^        |--> timer --> queue or woken
--                            |--------|--> suspended --> previous state
--                            '--------'--> suspect -> lease (solitary)
--     accept -> window -> lane -> backlog or queue
--
-- A run whose API has a concurrency key or coalesces calls may wait in a lane or a window first: see `lanes.lua`.
-- The load of an API (inq: in the RQ queue, run: leased, bl: in its two lists, apart: in a lane or window) is read
-- once per script and written back by save_loads.
--
-- A hold keeps new runs in the backlog: those that no worker has leased yet, except children, which belong to a run
-- that has started. The field `hold` of the gate is 'FROM EVERY': no run leaves the backlog before FROM, and then
-- one every EVERY ms; with 0 the hold ends at FROM, otherwise once the backlog is empty.
-- needs: clock queue rq room
local loads = {}

local function load_of(api)
  local load = loads[api]
  if not load then
    local v = redis.call('HMGET', $gate .. api, 'inq', 'run', 'bl', 'rl', 'hold', 'dr', 'dl', 'kl')
    load = {inq = tonumber(v[1]) or 0, run = tonumber(v[2]) or 0, bl = tonumber(v[3]) or 0,
      limit = tonumber(v[4]) or math.huge, drain = v[6], apart = tonumber(v[7]) or 0, places = tonumber(v[8])}
    load.was_apart = load.apart
    if v[5] then
      local from, every = string.match(v[5], '^([%d.]+) ([%d.]+)$')
      load.from, load.every = tonumber(from), tonumber(every)
    end
    loads[api] = load
  end
  return load
end

-- Returns whether no new run of the API may start now.
local function is_held(load)
  return load.every == 0 and now_ms < load.from
end

local function set_hold(api, load, from, every)
  load.from, load.every = from, every
  redis.call('HSET', $gate .. api, 'hold', string.format('%.3f %.6f', from, every))
  if from < $held_ms then redis.call('ZADD', $releases, from, api) else redis.call('ZREM', $releases, api) end
end

local function end_hold(api, load)
  load.from, load.every = nil, nil
  redis.call('HDEL', $gate .. api, 'hold')
  redis.call('ZREM', $releases, api)
end

-- Returns how many runs may leave the backlog now. After a pause, the runs of one second at most are released at
-- once.
local function released(api, load)
  if not load.from then return math.huge end
  if load.every == 0 then
    if now_ms < load.from then return 0 end
    end_hold(api, load)
    return math.huge
  end
  local most = math.max(1, math.floor(1000 / load.every))
  load.from = math.max(load.from, now_ms - (most - 1) * load.every)
  return math.floor((now_ms - load.from) / load.every) + 1
end

-- Moves runs from the API's lists into the RQ queue while there is room.
local function promote(api, load)
  local left = released(api, load)
  while load.bl > 0 and may_queue(load) do
    local uid, is_new = redis.call('LPOP', $woken .. api), false
    if not uid and left > 0 then
      uid, is_new = redis.call('LPOP', $backlog .. api), true
      if not uid then load.bl = 0 end
    end
    if not uid then break end
    load.bl = load.bl - 1
    if redis.call('EXISTS', $run .. uid) == 1 then
      load.inq = load.inq + 1
      redis.call('HSET', $run .. uid, 'pl', 'queue')
      rq_enqueue(uid)
      if is_new and load.from then
        left = left - 1
        load.from = load.from + load.every
      end
    end
  end
  if load.every and load.every > 0 then
    if load.bl == 0 then
      end_hold(api, load)
    else
      set_hold(api, load, load.from, load.every)
      -- Without room in the queue, the script that makes room continues.
      if load.from <= now_ms then redis.call('ZADD', $releases, now_ms + $release_ms, api) end
    end
  end
end

-- Puts a new run back at the head of the backlog.
local function put_back(uid, api, load)
  load.bl = load.bl + 1
  redis.call('LPUSH', $backlog .. api, uid)
  redis.call('HSET', $run .. uid, 'pl', 'backlog')
  redis.call('DEL', $rq_job .. uid)
end

-- Queues a run that waits for a worker: in the RQ queue if there is room, otherwise at the end of `list`, which is
-- 'woken', or 'backlog' for a new run. The accept script has its own form of this, without the load of other APIs.
local function line_up(uid, api, list)
  local load = load_of(api)
  if load.bl == 0 and may_queue(load) and not (list == 'backlog' and is_held(load)) then
    load.inq = load.inq + 1
    redis.call('HSET', $run .. uid, 'pl', 'queue')
    rq_enqueue(uid)
  else
    load.bl = load.bl + 1
    redis.call('HSET', $run .. uid, 'pl', list)
    redis.call('RPUSH', (list == 'woken' and $woken or $backlog) .. api, uid)
  end
end

-- Queues a parked run, such as one with a due timer: behind the API's other woken runs, ahead of its backlog. A
-- parked run has no job.
local function wake_parked(uid, api)
  line_up(uid, api, 'woken')
end

-- Queues any other run, such as one whose lease was released.
local function wake(uid, api)
  rq_forget(uid)
  wake_parked(uid, api)
end

-- Removes a run from the list or set of its state; a leased run or a suspect is not in one of these.
local function withdraw(uid, r)
  local load = load_of(r.api)
  if r.state == 'queue' then
    redis.call('LREM', $rq_queue, 0, uid)
    load.inq = math.max(0, load.inq - 1)
  elseif r.state == 'backlog' or r.state == 'woken' then
    redis.call('LREM', (r.state == 'woken' and $woken or $backlog) .. r.api, 1, uid)
    load.bl = math.max(0, load.bl - 1)
  elseif r.state == 'timer' then
    redis.call('ZREM', $timers, uid)
  elseif r.state == 'lane' then
    local key = redis.call('HGET', $run .. uid, 'ck')
    if key then redis.call('LREM', $lane .. r.api .. ':' .. key, 1, uid) end
    load.apart = math.max(0, load.apart - 1)
  elseif r.state == 'window' then
    redis.call('ZREM', $timers, uid)
    load.apart = math.max(0, load.apart - 1)
  end
end

local function save_loads()
  for api, load in pairs(loads) do
    promote(api, load)
    redis.call('HSET', $gate .. api, 'inq', load.inq, 'run', load.run, 'bl', load.bl)
    if load.apart ~= load.was_apart then
      redis.call('HSET', $gate .. api, 'dl', load.apart)
      load.was_apart = load.apart
    end
  end
end
