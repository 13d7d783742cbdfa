-- Choice of the next run by the priority of its API: among the first $priority_window runs of the queue, those of
-- the highest priority in their order. Each $in_turn-th run is the first one of the queue, so that no run waits
-- endlessly: a run at position n is taken at the latest as the $in_turn * n-th.
local entries, priority_of = nil, {}

local function rank(uid)
  local api = redis.pcall('HGET', $run .. uid, 'api')
  if type(api) ~= 'string' then return $priority end
  priority_of[api] = priority_of[api] or tonumber(redis.call('HGET', $priorities, api) or $priority)
  return priority_of[api]
end

local function read_entries()
  entries = {}
  for i, uid in ipairs(redis.call('LRANGE', $rq_queue, 0, $priority_window - 1)) do
    entries[i] = {uid, rank(uid), i}
  end
  table.sort(entries, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[3] < b[3]
  end)
end

local function next_by_priority()
  -- The counter is a write, and so an fsync; an idle worker takes four times per second.
  if redis.call('EXISTS', $rq_queue) == 0 then return nil end
  if redis.call('HINCRBY', $priorities, '', 1) % $in_turn == 0 then
    local first = redis.call('LPOP', $rq_queue)
    for i, entry in ipairs(entries or {}) do
      if entry[1] == first then
        table.remove(entries, i)
        break
      end
    end
    return first
  end
  if not entries then read_entries() end
  local entry = table.remove(entries, 1)
  if not entry then return redis.call('LPOP', $rq_queue) or nil end
  redis.call('LREM', $rq_queue, 1, entry[1])
  return entry[1]
end
