-- The inbox of a run: messages, numbered by a counter of the run (`posted`, the last number), a list entry
-- each: frame, kind, data. Numbers in the list are consecutive up to the counter. A message wakes a run
-- that is parked, is told to the worker of one that is leased, and waits with any other.
local told = {}

local function post(uid, r, frame, kind, data)
  redis.call('HINCRBY', $run .. uid, 'msg', 1)
  redis.call('HSET', $run .. uid, 'ext', 1)
  redis.call('RPUSH', $inbox .. uid, frame .. ' ' .. kind .. ' ' .. data)
  if r.state == 'timer' then
    redis.call('ZREM', $timers, uid)
    wake(uid, r.api)
    r.state = 'queue'
  elseif r.state == 'lease' then
    told[uid] = true
  end
end

-- Number of the first message that is there, and at most $inbox_read of them.
local function messages(uid, r)
  if r.posted == 0 then return 0, {} end
  local size = redis.call('LLEN', $inbox .. uid)
  return r.posted - size + 1, redis.call('LRANGE', $inbox .. uid, 0, $inbox_read - 1)
end

local function has_messages(uid, r)
  return r.posted > 0 and redis.call('EXISTS', $inbox .. uid) == 1
end

local function tell()
  for uid in pairs(told) do redis.call('PUBLISH', $news_channel, uid) end
end
