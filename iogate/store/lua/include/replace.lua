-- Room in a full queue with `on_full: replace`: cancels the oldest run of the API that no worker has taken, in its
-- queue, a lane or a window. With concurrency keys only a run with the key of the call, or one without a key for a call
-- without one: the runs of a key are not replaced by others.
-- needs: index states lanes finish
local REPLACEABLE = {queue = true, backlog = true, lane = true, window = true}
local has_keys, key_of_call = redis.call('HGET', $gate .. api, 'kl'), traffic.key or false

local function is_new(other)
  local v = redis.pcall('HMGET', $run .. other, 'api', 'tok', 'dep', 'pl', 'ck')
  if v.err or v[1] ~= api or v[2] or v[3] or not REPLACEABLE[v[4]] then return false end
  return not has_keys or v[5] == key_of_call
end

-- Uids are decimal numbers that grow with the time.
local function is_older(one, other)
  if #one ~= #other then return #one < #other end
  return one < other
end

local function first_new(uids)
  for _, other in ipairs(uids) do
    if is_new(other) then return other end
  end
end

-- Returns the oldest uids, in their order, without sorting those of thousands of windows.
local function oldest_of(uids)
  local found = {}
  for _, uid in ipairs(uids) do
    if #found < $replaceable or is_older(uid, found[#found]) then
      local low, high = 1, #found + 1
      while low < high do
        local middle = math.floor((low + high) / 2)
        if is_older(found[middle], uid) then low = middle + 1 else high = middle end
      end
      table.insert(found, low, uid)
      found[$replaceable + 1] = nil
    end
  end
  return found
end

local function oldest()
  local found
  local function consider(uids)
    local other = first_new(uids)
    if other and (not found or is_older(other, found)) then found = other end
  end
  consider(oldest_of(redis.call('HVALS', $windows .. api)))
  if key_of_call then
    consider((holders_of(api, key_of_call, '')))
    consider(redis.call('LRANGE', lane_of(api, key_of_call), 0, 15))
  else
    -- At most $queued_in_rq runs of each API are in the queue of all.
    consider(redis.call('LRANGE', $rq_queue, 0, $replaceable - 1))
    consider(redis.call('LRANGE', $backlog .. api, 0, $replaceable - 1))
  end
  return found
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
