-- New runs that do not enter the queue yet: the accept script's part of `lanes.lua`.
-- needs: clock places

-- Stores the keys of the run, and returns its state if it does not enter the queue: 'window' or 'lane'. `most`: number
-- of places of a key.
local function stay_apart(most)
  local key = traffic.key
  if key then redis.call('HSET', $run .. uid, 'ck', key) end
  if traffic.merge then
    local due = now_ms + math.min(traffic.window, traffic.most)
    redis.call('HSET', $run .. uid, 'wk', traffic.merge, 'due', due)
    redis.call('HSET', $windows .. api, traffic.merge, uid)
    redis.call('ZADD', $timers, due, uid)
    return 'window'
  end
  if not most or take_place(api, key, uid, most) then return nil end
  redis.call('RPUSH', $lane .. api .. ':' .. key, uid)
  return 'lane'
end
