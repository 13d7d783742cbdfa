-- What follows the end of a run: its callback, and the run that its fault starts. The field `aft` of a run has the
-- letters of the ends that a callback tells (c completed, f faulted, x cancelled), and h if a fault starts a run;
-- then, after spaces, seal and URL of a callback that the caller has named.
-- The hash of a run's end keeps `aft` for another attempt, `run` the uid of the run that the fault has started, and
-- the delivery: `id`, `tries`, `since`, `due`; `status` and `error` of the last try; `delivered` or `stopped`; after a
-- request for another delivery, the number of tries `before`.
-- needs: clock
local END_LETTERS = {completed = 'c', faulted = 'f', cancelled = 'x'}
local called_back = false

local function after_end(uid, r, status, after)
  local letters, key = string.match(after, '^%a*'), $after .. uid
  local starts = status == 'faulted' and string.find(letters, 'h', 1, true)
  redis.call('DEL', key)
  redis.call('HSET', key, 'aft', after)
  if string.find(letters, END_LETTERS[status], 1, true) then
    redis.call('HSET', key, 'id', 'run_' .. uid .. '_' .. string.format('%d', r.attempt), 'tries', 0, 'since', now_ms,
      'due', now_ms)
    redis.call('ZADD', $callbacks, now_ms, uid)
    called_back = true
  end
  if starts and r.handler then
    redis.call('HSET', key, 'run', r.handler)
  elseif starts then
    redis.call('RPUSH', $faults, uid)
    called_back = true
  end
  redis.call('PEXPIRE', key, r.retention)
end

local function ring_callbacks()
  if called_back then redis.call('PUBLISH', $callbacks_channel, '1') end
end
