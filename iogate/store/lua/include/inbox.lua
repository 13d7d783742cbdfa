-- Inbox of a run: a list of messages with frame, kind and data, numbered consecutively up to a counter of the
-- run (`posted`). A message wakes a parked run, and notifies the worker of a leased one.
-- needs: states
local notified = {}

local function post(uid, r, frame, kind, data)
  redis.call('HINCRBY', $run .. uid, 'msg', 1)
  redis.call('HSET', $run .. uid, 'ext', 1)
  redis.call('RPUSH', $inbox .. uid, frame .. ' ' .. kind .. ' ' .. data)
  if r.state == 'timer' then
    redis.call('ZREM', $timers, uid)
    wake(uid, r.api)
    r.state = 'queue'
  elseif r.state == 'lease' then
    notified[uid] = true
  end
end

local function notify_workers()
  for uid in pairs(notified) do redis.call('PUBLISH', $news_channel, uid) end
end
