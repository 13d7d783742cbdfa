-- Runs apart from the queue: those that wait in the lane of their concurrency key for a place (`places.lua`), and
-- those of coalesced calls, whose window has not ended. `apart` of the load (`dl` in the gate) counts both; they
-- take room of the queue, although they are not in it. The field `ck` of a run is its concurrency key, `wk` the key
-- under which its API finds it for further calls.
-- needs: states places
local function lane_of(api, key) return $lane .. api .. ':' .. key end

-- Gives the free places of a key to the first runs of its lane; `kept` are the runs that have a place. Without a
-- limit any more, at most $promoted runs at once leave, and the end of each lets further ones leave.
local function fill_places(api, key, kept)
  local load, moved = load_of(api), 0
  while #kept < (load.places or math.huge) and moved < $promoted do
    local uid = redis.call('LPOP', lane_of(api, key))
    if not uid then break end
    moved = moved + 1
    load.apart = math.max(0, load.apart - 1)
    local v = redis.pcall('HMGET', $run .. uid, 'pl', 'tok')
    if not v.err and v[1] == 'lane' then
      kept[#kept + 1] = uid
      line_up(uid, api, v[2] and 'woken' or 'backlog')
    end
  end
  if #kept > 0 then
    redis.call('HSET', $holders .. api, key, table.concat(kept, ' '))
  else
    redis.call('HDEL', $holders .. api, key)
  end
end

-- Lets runs of an API leave their lanes after its limit was raised or removed; the audit continues for further keys.
local function refill(api)
  local keys = redis.call('HKEYS', $holders .. api)
  for i = 1, math.min(#keys, $refilled) do
    local kept = {}
    for uid in string.gmatch(redis.call('HGET', $holders .. api, keys[i]), '%d+') do kept[#kept + 1] = uid end
    fill_places(api, keys[i], kept)
  end
end

-- Returns the runs that have a place of a key, without `uid`, and whether that run has one.
local function holders_of(api, key, uid)
  local kept, has = {}, false
  for other in string.gmatch(redis.call('HGET', $holders .. api, key) or '', '%d+') do
    if other == uid then has = true else kept[#kept + 1] = other end
  end
  return kept, has
end

-- Gives up the place of a run that has ended, exactly once: the run has none afterwards.
local function leave_place(uid, api, key)
  local kept, has = holders_of(api, key, uid)
  if has then fill_places(api, key, kept) end
end

-- Puts a run without a place into the lane of its key, if it has a key and no place is free. `first`: ahead of the
-- other runs.
local function waits_for_place(uid, api, first)
  local key = redis.call('HGET', $run .. uid, 'ck')
  if not key then return false end
  local load = load_of(api)
  local _, has = holders_of(api, key, uid)
  if has or not load.places or take_place(api, key, uid, load.places) then return false end
  load.apart = load.apart + 1
  redis.call('HSET', $run .. uid, 'pl', 'lane')
  redis.call(first and 'LPUSH' or 'RPUSH', lane_of(api, key), uid)
  return true
end

-- Queues a run whose window has ended.
local function end_window(uid, api)
  local load = load_of(api)
  load.apart = math.max(0, load.apart - 1)
  if not waits_for_place(uid, api, false) then line_up(uid, api, 'backlog') end
end

-- Removes a run from the key under which further calls find it.
local function close_window(uid, api, key)
  if redis.call('HGET', $windows .. api, key) == uid then redis.call('HDEL', $windows .. api, key) end
end
