-- Time at which a refused call is to return, from the drain rate of its API (`drain.lua`), and the places that are
-- kept for the calls that return then. A call that is refused because the queue is full is told when its turn is:
-- after all calls that were refused before it and are still expected. Without these places, new calls would take the
-- room of those that wait as they were told.
--
-- A call is recognised by its idempotency key, otherwise by its input; $alike calls with the same input and no key
-- count separately. A place that is not claimed within $promise_grace_ms is free again.
-- needs: clock
local promises = $promised .. api

-- Returns the ms in which one new run is taken; a rate that was not measured yet is guessed from the time since.
local function pace(drain)
  local since, last, count = string.match(drain or '', '^(%d+) (%d+) ([%d.]+)$')
  if not since then
    redis.call('HSET', $gate .. api, 'dr', string.format('%d %d 0', now_ms, now_ms))
    return 1000
  end
  local decay = math.exp(-math.max(0, now_ms - last) / $drain_ms)
  local time = $drain_ms * (1 - math.exp(-math.max(0, now_ms - since) / $drain_ms))
  count = tonumber(count) * decay
  if count < 0.5 then return math.max(1000, 2 * time) end
  return math.max(time, 1) / count
end

local function spread(ms)
  local share = (tonumber(string.sub(uid, -3)) or 0) / 1000
  return math.max($retry_least_ms, math.ceil(math.min(ms, $retry_most_ms / 1.15) * (1.05 + 0.1 * share)))
end

-- Returns the entry of this call, and its time if it has one.
local function entry_of()
  if repeatable then
    local name = string.sub(repeatable.key, -40)
    return name, tonumber(redis.call('ZSCORE', promises, name) or '')
  end
  local names, free, latest = {}, nil, nil
  local name = redis.sha1hex(string.sub(input, 1, 1024) .. #input)
  for i = 1, $alike do names[i] = name .. i end
  for i, score in ipairs(redis.call('ZMSCORE', promises, unpack(names))) do
    local time = tonumber(score or '')
    if time and time <= now_ms then return names[i], time end
    if not time then free = free or names[i] end
    if time and (not latest or time > latest[2]) then latest = {names[i], time} end
  end
  if free then return free, nil end
  return latest[1], latest[2]
end

-- Refuses a call because of the queue, or returns nil for one that may enter it.
local function crowded(waiting, most, drain)
  if held and waiting >= most then return {'queue_full', spread($retry_most_ms)} end
  redis.call('ZREMRANGEBYSCORE', promises, '-inf', now_ms - $promise_grace_ms)
  local name, time = entry_of()
  local is_due = time and time <= now_ms
  if waiting < most then
    if is_due then
      redis.call('ZREM', promises, name)
      return nil
    end
    -- At most half of the queue is kept free, so that workers have work while they wait for the calls.
    local kept = redis.call('ZCOUNT', promises, '-inf', now_ms + $retry_least_ms)
    if kept == 0 and redis.call('EXISTS', promises) == 0 then redis.call('HDEL', $gate .. api, 'pms') end
    if most - waiting > math.min(kept, math.floor(most / 2)) then
      if time then redis.call('ZREM', promises, name) end
      return nil
    end
  end
  -- A later time was computed before the clock was set back.
  if time and not is_due then return {'queue_full', math.min(time - now_ms, $retry_most_ms)} end
  local ahead = is_due and redis.call('ZRANK', promises, name) or redis.call('ZCARD', promises)
  local wait = spread((ahead + 1) * pace(drain))
  if is_due or ahead < $promises_kept then
    redis.call('ZADD', promises, now_ms + wait, name)
    local until_ms = now_ms + $retry_most_ms + $promise_grace_ms
    redis.call('PEXPIREAT', promises, until_ms - ahead_ms)
    redis.call('HSET', $gate .. api, 'pms', 1)
  end
  return {'queue_full', wait}
end
