-- Drain rate of an API: how fast workers take its new runs while others wait. `dr` in its gate is 'SINCE LAST
-- COUNT': begin of the measurement, last take, and number of taken runs, which decays with $drain_ms. The
-- measurement ends when no run waits any more, and the next one begins with the next take that leaves some.
-- needs: clock states
local taken_of = {}

local function note_taken(api)
  taken_of[api] = (taken_of[api] or 0) + 1
end

local function save_drain()
  for api, count in pairs(taken_of) do
    local load = load_of(api)
    local since, last, before = string.match(load.drain or '', '^(%d+) (%d+) ([%d.]+)$')
    if load.inq + load.bl + load.apart == 0 then
      if load.drain then redis.call('HDEL', $gate .. api, 'dr') end
    elseif not since or now_ms - last > 5 * $drain_ms then
      redis.call('HSET', $gate .. api, 'dr', string.format('%d %d 0', now_ms, now_ms))
    else
      before = tonumber(before) * math.exp(-math.max(0, now_ms - last) / $drain_ms)
      redis.call('HSET', $gate .. api, 'dr', string.format('%s %d %.4f', since, now_ms, before + count))
    end
  end
end
