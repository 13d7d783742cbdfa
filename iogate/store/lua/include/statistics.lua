-- Hourly counts of runs, and groups of equal errors; a script collects them and writes them once, at its end.
--
-- A series has the runs of an API and a workflow, or those of them that other runs have started (`child`). Fields of
-- its hash of an hour: w0… runs accepted in that hour by the time until a worker took them, q the sum of these times,
-- n runs accepted then that ended before; c0… completed and f0… faulted runs that ended in that hour by their
-- duration, d and e the sums of these, x cancelled runs, r retries. `histograms.py` has the bounds of the buckets.
-- Times are in ms. Nothing is counted when a call is accepted.
--
-- An error is a member `ID WORKFLOW` of the groups of its API; ID is a hash that `error_groups.py` computes.
-- needs: time
local hours, faults = {}, {}
local BUCKETS_PER_E = 4 / math.log(2)

local function bucket(ms)
  if ms < 2 then return 0 end
  -- The addition keeps powers of two in the bucket that they begin.
  return math.floor(math.log(ms) * BUCKETS_PER_E + 0.000001)
end

-- Returns the workflow of a run; nil for a standing run of a schedule, which is not counted.
local function counted_workflow(r)
  local revision, workflow = string.match(r.facts, '^%[(%d+),"([^"]+)"')
  return revision ~= '0' and workflow or nil
end

-- Runs of a schedule that an event has started are no children of others, although a standing run starts them.
local function is_child(uid, r)
  return r.depth > 0
    and (string.sub(r.api, 1, 9) ~= 'schedule:' or redis.call('HGET', $run .. uid, 'fam'))
end

-- Returns the collected counts of the series of a run in an hour; nil for a run that is not counted. Most runs of a
-- script are in the series of the run before.
local last_api, last_workflow, last_hour, last_fields
local function fields_of(uid, r, hour)
  local workflow = counted_workflow(r)
  local is_below = is_child(uid, r)
  if r.api == last_api and workflow == last_workflow and hour == last_hour and not is_below then return last_fields end
  if not workflow then return nil end
  local key = string.format('%d:%s %s%s', hour, r.api, workflow, is_below and ' child' or '')
  local fields = hours[key]
  if not fields then
    fields = {}
    hours[key] = fields
  end
  if not is_below then last_api, last_workflow, last_hour, last_fields = r.api, workflow, hour, fields end
  return fields
end

local function count(uid, r, at_ms, field, sum, ms)
  local fields = fields_of(uid, r, math.floor(at_ms / 3600000))
  if not fields then return end
  fields[field] = (fields[field] or 0) + 1
  if sum then fields[sum] = (fields[sum] or 0) + ms end
end

-- Counts a run that a worker takes for the first time.
local function count_start(uid, r)
  local ms = math.max(0, now_ms - r.created)
  count(uid, r, r.created, 'w' .. bucket(ms), 'q', ms)
end

local function count_retry(uid, r)
  count(uid, r, now_ms, 'r')
end

local function count_fault(uid, r, group)
  local workflow = counted_workflow(r)
  if not workflow then return end
  local groups = faults[r.api] or {}
  faults[r.api] = groups
  local member = group[1] .. ' ' .. string.match(workflow, '^[^:]*')
  local found = groups[member] or {about = group[2], times = 0}
  groups[member] = found
  found.times = found.times + 1
  found.uid = uid
end

-- Counts the end of a run; `group` is that of its error, as a list of id and description.
local function count_end(uid, r, status, group)
  if r.token == 0 then count(uid, r, r.created, 'n') end
  if status == 'cancelled' then
    count(uid, r, now_ms, 'x')
    return
  end
  local began = r.started
  -- The time between a fault and its retry is no part of the duration.
  if r.attempt > 1 then began = tonumber(redis.call('HGET', $run .. uid, 'rta')) or began end
  local ms = math.max(0, now_ms - began)
  if status == 'completed' then
    count(uid, r, now_ms, 'c' .. bucket(ms), 'd', ms)
  else
    count(uid, r, now_ms, 'f' .. bucket(ms), 'e', ms)
    if group then count_fault(uid, r, group) end
  end
end

local function save_hours()
  for name, fields in pairs(hours) do
    local key, is_new = $hours .. name, false
    for field, number in pairs(fields) do
      number = string.format('%d', number)
      -- Only the first write of a field returns its own number, so that all others need no expiry.
      if redis.call('HINCRBY', key, field, number) == tonumber(number) then is_new = true end
    end
    if is_new and redis.call('PTTL', key) < 0 then
      local hour, series = string.match(name, '^(%d+):(.*)$')
      redis.call('PEXPIRE', key, $statistics_ms)
      redis.call('ZADD', $series, hour, series)
      redis.call('ZREMRANGEBYSCORE', $series, '-inf', hour - $statistics_ms / 3600000)
    end
  end
  hours, last_api = {}, nil
end

-- Removes groups of an API: those that have not occurred for $statistics_ms, and the least recent ones beyond the bound.
local function drop_groups(key, times)
  local dropped = redis.call('ZRANGEBYSCORE', times, '-inf', now_ms - $statistics_ms)
  local over = redis.call('ZCARD', times) - #dropped - $error_groups
  if over > 0 then dropped = redis.call('ZRANGE', times, 0, #dropped + over - 1) end
  for _, member in ipairs(dropped) do
    redis.call('ZREM', times, member)
    redis.call('HDEL', key, 'n ' .. member, 'a ' .. member, 'b ' .. member, 'u ' .. member)
  end
end

local function save_faults()
  for api, groups in pairs(faults) do
    local key, times = $errors .. api, $error_times .. api
    for member, found in pairs(groups) do
      redis.call('ZADD', times, now_ms, member)
      redis.call('HSET', key, 'u ' .. member, found.uid)
      if redis.call('HINCRBY', key, 'n ' .. member, found.times) == found.times then
        redis.call('HSET', key, 'a ' .. member, found.about, 'b ' .. member, now_ms)
        drop_groups(key, times)
      end
    end
    redis.call('PEXPIRE', key, $statistics_ms)
    redis.call('PEXPIRE', times, $statistics_ms)
  end
  faults = {}
end

-- Another program may have put a value of another type in place of a key; the counts are then lost, not the run.
local function save_statistics()
  if not pcall(save_hours) then hours, last_api = {}, nil end
  if not pcall(save_faults) then faults = {} end
end
