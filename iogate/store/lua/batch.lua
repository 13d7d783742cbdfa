-- Bulk actions of operators (batches): creates them, and gives the runs of each to one worker at a time.
-- keys: batch, its runs, batches, batches that are due
-- args: 'create', id, JSON of the request, number of runs, sealed chunk of runs… | 'take', worker | 'renew', id, token |
--   'settle', id, token, number of changed, unchanged and refused runs, JSON of messages, ms until the next step, chunk of
--   the runs that are left of the taken one or '', 1 if that chunk goes to the end | 'fail', id, token, message |
--   'stop', id | 'continue', id
-- returns: create: 'created' | 'exists' | 'many'; take: {ms until a batch is due or -1, id, token, request, chunk, messages},
--   without the last five if none is due; renew: 1 if the worker may go on with the next run, else 0; settle, fail: the
--   state, or 'lost' without the lease; stop, continue: the state, or 'unknown'
-- invariant: a batch has one worker at a time, whose token is the newest; its runs leave the list with their results, in
--   one step. States: running, stopping (a worker is at a run), stopped, done, failed.
-- include: drained time
local action, id = ARGV[1], ARGV[2]
local batch, runs = $batch .. id, $batch_runs .. id

local function set_state(state)
  redis.call('HSET', batch, 'state', state, 'changed', now_ms)
  if state == 'done' or state == 'failed' then
    redis.call('HSET', batch, 'ended', now_ms)
    redis.call('DEL', runs)
  end
  if state == 'running' or state == 'stopping' then return state end
  redis.call('ZREM', $batches_due, id)
  redis.call('HDEL', batch, 'owner')
  return state
end

local function keep()
  redis.call('PEXPIRE', batch, $batch_ms)
  redis.call('PEXPIRE', runs, $batch_ms)
end

local function start(at_ms)
  redis.call('ZADD', $batches_due, at_ms, id)
  redis.call('PUBLISH', $batches_channel, id)
end

-- Makes room for one more batch; returns whether there is room.
local function has_room()
  local oldest = redis.call('ZRANGE', $batches, 0, -1)
  local left = #oldest
  for _, other in ipairs(oldest) do
    local state = redis.call('HGET', $batch .. other, 'state')
    if state and left < $batches_kept then break end
    if state ~= 'running' and state ~= 'stopping' then
      redis.call('DEL', $batch .. other, $batch_runs .. other)
      redis.call('ZREM', $batches, other)
      left = left - 1
    end
  end
  return left < $batches_kept
end

if action == 'create' then
  if redis.call('EXISTS', batch) == 1 then return 'exists' end
  if not has_room() then return 'many' end
  redis.call('DEL', runs)
  for i = 5, #ARGV do redis.call('RPUSH', runs, ARGV[i]) end
  redis.call('HSET', batch, 'made', ARGV[3], 'count', ARGV[4], 'created', now_ms)
  redis.call('ZADD', $batches, now_ms, id)
  if #ARGV >= 5 then
    set_state('running')
    start(now_ms)
  else
    set_state('done')
  end
  keep()
  return 'created'
end

if action == 'take' then
  local found = redis.call('ZRANGEBYSCORE', $batches_due, '-inf', now_ms, 'LIMIT', 0, 10)
  for _, other in ipairs(found) do
    id, batch, runs = other, $batch .. other, $batch_runs .. other
    local v = redis.call('HMGET', batch, 'state', 'made', 'messages')
    local chunk = redis.call('LRANGE', runs, 0, 0)[1]
    if not v[1] or v[1] == 'stopping' then
      -- Its worker has died, or it has expired.
      redis.call('ZREM', $batches_due, id)
      if v[1] then set_state('stopped') end
    elseif not chunk then
      set_state('failed')
      redis.call('HSET', batch, 'note', 'the list of its runs is gone')
    else
      redis.call('HSET', batch, 'owner', ARGV[2])
      redis.call('ZADD', $batches_due, now_ms + $batch_lease_ms, id)
      return {0, id, redis.call('HINCRBY', batch, 'token', 1), v[2], chunk, v[3] or ''}
    end
  end
  local first = redis.call('ZRANGE', $batches_due, 0, 0, 'WITHSCORES')
  return {first[2] and math.max(0, math.ceil(tonumber(first[2]) - now_ms)) or -1}
end

local v = redis.call('HMGET', batch, 'state', 'token', 'owner')
local state, is_owner = v[1], v[2] == ARGV[3] and v[3]
if action == 'renew' then
  if not is_owner or state ~= 'running' then return 0 end
  redis.call('ZADD', $batches_due, now_ms + $batch_lease_ms, id)
  return 1
end

if action == 'fail' then
  if not is_owner then return 'lost' end
  redis.call('HSET', batch, 'note', ARGV[4])
  return set_state('failed')
end

if action == 'settle' then
  if not is_owner then return 'lost' end
  redis.call('HDEL', batch, 'owner')
  redis.call('LPOP', runs)
  if ARGV[9] ~= '' and ARGV[10] == '1' then redis.call('RPUSH', runs, ARGV[9]) end
  if ARGV[9] ~= '' and ARGV[10] ~= '1' then redis.call('LPUSH', runs, ARGV[9]) end
  for i, name in ipairs({'changes', 'unchanged', 'refused'}) do redis.call('HINCRBY', batch, name, ARGV[3 + i]) end
  redis.call('HSET', batch, 'messages', ARGV[7])
  if redis.call('LLEN', runs) == 0 then
    state = set_state('done')
  elseif state == 'stopping' then
    state = set_state('stopped')
  else
    set_state('running')
    redis.call('ZADD', $batches_due, now_ms + tonumber(ARGV[8]), id)
  end
  keep()
  return state
end

if not state then return 'unknown' end
if action == 'stop' and state == 'running' then
  local lease = tonumber(redis.call('ZSCORE', $batches_due, id) or 0)
  state = set_state(v[3] and lease > now_ms and 'stopping' or 'stopped')
  keep()
elseif action == 'continue' and state == 'stopping' then
  state = set_state('running')
elseif action == 'continue' and state == 'stopped' then
  state = set_state('running')
  start(now_ms)
  keep()
end
return state
