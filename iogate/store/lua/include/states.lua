-- States of a live run. A run that waits for a worker is in the RQ queue if its API has fewer than $queued_in_rq
-- there and `running` allows it, else in the API's woken or backlog list.
--
--     accept -> backlog -> queue -> lease -> end
--                 woken --^  ^        |--> timer --> queue or woken
--                            |--------|--> suspended --> previous state
--                            '--------'--> suspect -> lease (solitary)
--
-- The load of an API (inq: in the RQ queue, run: leased, bl: in its two lists) is read once per script and
-- written back by save_loads.
local loads = {}

local function load_of(api)
  local load = loads[api]
  if not load then
    local v = redis.call('HMGET', $gate .. api, 'inq', 'run', 'bl', 'rl')
    load = {inq = tonumber(v[1]) or 0, run = tonumber(v[2]) or 0, bl = tonumber(v[3]) or 0,
      limit = tonumber(v[4]) or math.huge}
    loads[api] = load
  end
  return load
end

-- Moves runs from the API's lists into the RQ queue while there is room.
local function promote(api, load)
  while load.bl > 0 and may_queue(load) do
    local uid = redis.call('LPOP', $woken .. api) or redis.call('LPOP', $backlog .. api)
    if not uid then
      load.bl = 0
      return
    end
    load.bl = load.bl - 1
    if redis.call('EXISTS', $run .. uid) == 1 then
      load.inq = load.inq + 1
      redis.call('HSET', $run .. uid, 'pl', 'queue')
      rq_enqueue(uid)
    end
  end
end

-- Queues a parked run, such as one with a due timer: behind the API's other woken runs, ahead of its backlog. A
-- parked run has no job.
local function wake_parked(uid, api)
  local load = load_of(api)
  if load.bl == 0 and may_queue(load) then
    load.inq = load.inq + 1
    redis.call('HSET', $run .. uid, 'pl', 'queue')
    rq_enqueue(uid)
  else
    load.bl = load.bl + 1
    redis.call('HSET', $run .. uid, 'pl', 'woken')
    redis.call('RPUSH', $woken .. api, uid)
  end
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
  end
end

local function save_loads()
  for api, load in pairs(loads) do
    promote(api, load)
    redis.call('HSET', $gate .. api, 'inq', load.inq, 'run', load.run, 'bl', load.bl)
  end
end
