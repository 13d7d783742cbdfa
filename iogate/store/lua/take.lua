-- Wakes due timers, ends expired leases, releases held runs, then leases runs to a worker.
-- keys: clock, idle workers, timers, leases, releases, RQ queue, suspects; per run: run, frames, values,
--   RQ's job and execution; gates, outboxes
-- args: worker, limit, lease ms, '1' if solitary, id of this take; of a poisoned run the error, its
--   RQ text and its group
-- returns: {now ms, suspended, suspects, {queue entry without a run…}, claim…}; a claim is {uid, token, seq,
--   api, facts, input, created, started, deadline, attempt, deaths, retention, reason or false, {frame field, bytes…}, {digest, value…}} and,
--   where there is any, depth, number of the first message, {message…}, and the worker that released it last, if
--   no commit came since
-- invariant: a run is leased only from the queue or the suspects, with a token one higher than before; a repeated
--   take id returns the same claims and leases nothing more. An error of one run, whose keys another program has
--   overwritten, affects that run only (`pcall`).
-- include: spent drained time index queue rq states lanes drain record messages statistics finish suspect
local worker, limit, lease_ms, solitary = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local take_id, poison, exc, group = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

-- Deletes a key that another program has overwritten; the audit restores it.
local function delete_if_invalid(key, answer)
  if type(answer) ~= 'table' or not answer.err then return answer end
  redis.call('DEL', key)
  return nil
end

local function due(key, count)
  return delete_if_invalid(key, redis.pcall('ZRANGEBYSCORE', key, '-inf', now_ms, 'LIMIT', 0, count)) or {}
end

-- Every worker takes at least once per second, also without room, so a clock behind the last take was set back. The
-- store's time then continues from the last take, 5 % slower until the clock has caught up.
local passed_ms = raw_ms - (tonumber(redis.pcall('GET', $upkeep)) or raw_ms)
if passed_ms < -$set_back_ms and passed_ms > -$set_back_most_ms then
  set_ahead(ahead_ms - passed_ms)
  redis.call('SET', $clock_ahead, string.format('%d', ahead_ms))
elseif ahead_ms > 0 and passed_ms > 0 then
  -- After a silence, part of it may be a correction of the clock.
  set_ahead(math.max(0, ahead_ms - (passed_ms > $silence_ms and passed_ms or math.ceil(passed_ms / 20))))
  redis.call('SET', $clock_ahead, string.format('%d', ahead_ms))
end

for _, uid in ipairs(due($timers, 256)) do
  if spent_ms() > $take_ms / 2 then break end
  redis.call('ZREM', $timers, uid)
  local r = record(uid)
  if r and r.state == 'timer' then
    pcall(wake_parked, uid, r.api)
  elseif r and r.state == 'window' then
    pcall(end_window, uid, r.api)
  end
end
-- After a silence the store was unavailable, not the workers, so extend the leases for them to renew.
local silent = passed_ms > $silence_ms
-- Each write is an fsync, and an idle worker takes four times per second, so do not write each time.
if passed_ms <= 0 or passed_ms > $look_ms or ahead_ms > 0 then redis.call('SET', $upkeep, raw_ms) end
delete_if_invalid($suspects, redis.pcall('LLEN', $suspects))
for _, uid in ipairs(due($leases, silent and -1 or 256)) do
  if silent then
    redis.call('ZADD', $leases, now_ms + lease_ms, uid)
  elseif spent_ms() > $take_ms * 3 / 4 then
    break
  else
    pcall(end_lost_lease, uid, poison, exc, group, false)
  end
end

-- Releases runs of APIs with a hold that ends, or by its rate.
local function release_held(api)
  if redis.call('HEXISTS', $gate .. api, 'hold') == 1 then
    promote(api, load_of(api))
  else
    redis.call('ZREM', $releases, api)
  end
end
for _, api in ipairs(due($releases, 64)) do
  if not pcall(release_held, api) then redis.call('ZREM', $releases, api) end
end

local claims, taken, bytes, unknown_entries = {}, {}, 0, {}
local leases, started, executions = {}, {}, {}

local function claim(uid, r)
  local frames, values = {}, {}
  if r.seq > 0 then
    frames = redis.call('HGETALL', $frames .. uid)
    values = redis.call('HGETALL', $values .. uid)
  end
  local own = redis.call('HMGET', $run .. uid, 'in', 'lft', 'wk')
  if own[3] then close_window(uid, r.api, own[3]) end
  local claim = {uid, r.token, r.seq, r.api, r.facts, own[1], r.created,
    r.started, r.deadline or 0, r.attempt, r.deaths, r.retention, r.cancelled, frames, values}
  bytes = bytes + #(claim[6] or '')
  for _, parts in ipairs({frames, values}) do
    for _, part in ipairs(parts) do bytes = bytes + #part end
  end
  local worker_before = r.seq > 0 and last_worker(own[2], r)
  if r.posted + r.depth > 0 or worker_before then
    local first, inbox, size = messages(uid, r)
    bytes = bytes + size
    claim[16] = r.depth
    claim[17], claim[18] = first, inbox
    claim[19] = worker_before or nil
  end
  claims[#claims + 1] = claim
  taken[#taken + 1] = uid .. ':' .. r.token
end

local function lease(uid, r)
  local load = load_of(r.api)
  load.run = load.run + 1
  if r.token == 0 and r.depth == 0 then note_taken(r.api) end
  if r.token == 0 then count_start(uid, r) end
  r.token = r.token + 1
  if r.started == 0 then r.started = now_ms end
  redis.call('HSET', $run .. uid, 'pl', 'lease', 'tok', r.token, 'wkr', worker, 'st', 'running',
    'sta', r.started, 'lst', now_float(), 'sol', solitary and 1 or 0)
  index(uid, r.api, r.created, r.status, 'running')
  leases[#leases + 1] = now_ms + lease_ms
  leases[#leases + 1] = uid

  -- Every job has a status. If all four fields are new, another program has deleted the job.
  local job = {'status', 'started', 'started_at', stamp(), 'last_heartbeat', stamp(), 'worker_name', worker}
  if redis.call('HSET', $rq_job .. uid, unpack(job)) == 4 then
    rq_job(uid)
    redis.call('HSET', $rq_job .. uid, unpack(job))
  end
  local id = rq_execution(r.token)
  local execution = uid .. ':' .. id
  redis.call('HSET', $rq_execution .. execution, 'id', id, 'job_id', uid, 'created_at', now_float(),
    'last_heartbeat', now_float(), 'worker_name', worker)
  redis.call('EXPIRE', $rq_execution .. execution, $rq_heartbeat_s)
  redis.call('ZADD', $rq_executions .. uid, now_s + $rq_heartbeat_s + 60, id)
  redis.call('EXPIRE', $rq_executions .. uid, $rq_heartbeat_s + 60)
  started[#started + 1] = now_s + $rq_heartbeat_s
  started[#started + 1] = execution
  executions[#executions + 1] = execution
  claim(uid, r)
end

local function take(uid)
  local r = record(uid)
  if r and r.state == 'queue' then
    local load = load_of(r.api)
    local is_new = r.token == 0 and r.depth == 0
    load.inq = math.max(0, load.inq - 1)
    if is_new and is_held(load) then
      put_back(uid, r.api, load)
    elseif load.run < load.limit then
      lease(uid, r)
    elseif is_new then
      put_back(uid, r.api, load)
    else
      load.bl = load.bl + 1
      redis.call('LPUSH', $woken .. r.api, uid)
      redis.call('HSET', $run .. uid, 'pl', 'woken')
      redis.call('DEL', $rq_job .. uid)
    end
  elseif not r or r.state ~= 'lease' then
    -- Another program has queued it (`rq requeue`).
    rq_forget(uid)
    if not r and redis.call('EXISTS', $end .. uid) == 0 then
      unknown_entries[#unknown_entries + 1] = string.sub(uid, 1, 80)
    end
  end
end

local suspended = redis.call('EXISTS', $rq_suspended)
local repeated = false
local before = redis.pcall('GET', $taken .. worker)
if type(before) == 'string' and string.match(before, '^(%S+)') == take_id then
  repeated = true
  for uid, token in string.gmatch(before, '(%d+):(%d+)') do
    local r = record(uid)
    if r and r.state == 'lease' and r.token == tonumber(token) then pcall(claim, uid, r) end
  end
elseif suspended == 0 and limit > 0 and solitary then
  local uid = redis.call('LPOP', $suspects)
  local r = uid and record(uid)
  if r and r.state == 'suspect' then
    local load = load_of(r.api)
    if load.run < load.limit then
      pcall(lease, uid, r)
    else
      redis.call('RPUSH', $suspects, uid)
    end
  end
elseif suspended == 0 and limit > 0 then
  local ranked = redis.call('EXISTS', $priorities) == 1
  -- include: priority
  for n = 1, limit do
    if bytes >= $take_bytes or (n > 1 and spent_ms() > $take_ms) then
      doorbell = true
      break
    end
    local uid
    if ranked then uid = next_by_priority() else uid = redis.call('LPOP', $rq_queue) end
    if not uid then break end
    pcall(take, uid)
  end
end

if #leases > 0 then
  redis.call('ZADD', $leases, unpack(leases))
  redis.call('ZADD', $rq_started, unpack(started))
  local key = $rq_worker .. worker
  redis.call('SADD', key .. ':executions', unpack(executions))
  redis.call('EXPIRE', key .. ':executions', $rq_heartbeat_s)
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, 'state', 'busy', 'last_heartbeat', stamp())
    redis.call('EXPIRE', key, $rq_heartbeat_s)
  end
end
if #claims < limit and suspended == 0 and not solitary then
  redis.pcall('SADD', $idle, worker)
else
  redis.pcall('SREM', $idle, worker)
  doorbell = doorbell or (#claims > 0 and not solitary and redis.call('LLEN', $rq_queue) > 0)
end
if #taken > 0 and not repeated then
  redis.call('SET', $taken .. worker, take_id .. ' ' .. table.concat(taken, ' '), 'EX', $taken_s)
end
save_drain()
rq_save_executions()
save_loads()
save_index()
announce_ended()
ring()
return {now_ms, suspended, redis.call('LLEN', $suspects), unknown_entries, unpack(claims)}
