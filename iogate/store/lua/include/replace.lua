-- Room in a full queue with `on_full: replace`: cancels the oldest run of the API that no worker has taken, or that of
-- the concurrency key of the call.
local REPLACEABLE = {queue = true, backlog = true, lane = true, window = true}

local function is_new(other)
  local v = redis.pcall('HMGET', $run .. other, 'api', 'tok', 'dep', 'pl')
  return not v.err and v[1] == api and not v[2] and not v[3] and REPLACEABLE[v[4]] or false
end

local function first_new(uids)
  for _, other in ipairs(uids) do
    if is_new(other) then return other end
  end
end

local function oldest()
  if traffic.key then
    return first_new((holders_of(api, traffic.key, ''))) or first_new(redis.call('LRANGE', lane_of(api, traffic.key), 0, 15))
  end
  -- At most $queued_in_rq runs of each API are in the queue of all.
  return first_new(redis.call('LRANGE', $rq_queue, 0, $replaceable - 1))
    or first_new(redis.call('LRANGE', $backlog .. api, 0, $replaceable - 1))
end

local function replace_oldest()
  local other = oldest()
  if not other or cancel(other, 'run ' .. uid .. ' has replaced it, because the queue of its API was full') ~= 'cancelled' then
    return false
  end
  save_loads()
  save_index()
  announce_ended()
  return true
end
