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
local log = math.log
local PER_E = 4 / log(2)
local HOUR_MS = 3600000

-- Most runs of a script are in the series of the run before: those of the same API whose facts begin as its facts.
local last, last_api, last_hour, last_start

-- Returns the start of a run's facts with its workflow, and the workflow; nil for a standing run of a schedule, which
-- is not counted.
local function counted_workflow(r)
  local start, revision, workflow = string.match(r.facts, '^(%[(%d+),"([^"]+)",)')
  if revision == '0' then return nil end
  return start, workflow
end

-- Runs of a schedule that an event has started are no children of others, although a standing run starts them.
local function is_child(uid, r)
  return r.depth > 0 and (string.sub(r.api, 1, 9) ~= 'schedule:' or redis.call('HGET', $run .. uid, 'fam'))
end

-- Returns the collected counts of the series of a run in an hour; nil for a run that is not counted.
local function series_of(uid, r, hour)
  if r.api == last_api and hour == last_hour and r.depth == 0 and string.find(r.facts, last_start, 1, true) == 1 then
    return last
  end
  local start, workflow = counted_workflow(r)
  if not start then return nil end
  local key = string.format('%d:%s %s%s', hour, r.api, workflow, is_child(uid, r) and ' child' or '')
  local found = hours[key]
  if not found then
    found = {w = {}, c = {}, f = {}, sums = {}}
    hours[key] = found
  end
  if r.depth == 0 then last, last_api, last_hour, last_start = found, r.api, hour, start end
  return found
end

local function count_time(buckets, sums, sum, ms)
  local bucket = 0
  if ms >= 2 then
    -- The addition keeps powers of two in the bucket that they begin.
    bucket = floor(log(ms) * PER_E + 0.000001)
  elseif ms < 0 then
    ms = 0
  end
  buckets[bucket] = (buckets[bucket] or 0) + 1
  sums[sum] = (sums[sum] or 0) + ms
end

local function count_one(uid, r, at_ms, field)
  local series = series_of(uid, r, floor(at_ms / HOUR_MS))
  if series then series.sums[field] = (series.sums[field] or 0) + 1 end
end

-- Counts a run that a worker takes for the first time.
local function count_start(uid, r)
  local series = series_of(uid, r, floor(r.created / HOUR_MS))
  if series then count_time(series.w, series.sums, 'q', now_ms - r.created) end
end

local function count_retry(uid, r)
  count_one(uid, r, now_ms, 'r')
end

local function count_fault(uid, r, group)
  local _, workflow = counted_workflow(r)
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
  if r.token == 0 then count_one(uid, r, r.created, 'n') end
  if status == 'cancelled' then
    count_one(uid, r, now_ms, 'x')
    return
  end
  local series = series_of(uid, r, floor(now_ms / HOUR_MS))
  if not series then return end
  local began = r.started
  -- The time between a fault and its retry is no part of the duration.
  if r.attempt > 1 then began = tonumber(redis.call('HGET', $run .. uid, 'rta')) or began end
  if status == 'completed' then
    count_time(series.c, series.sums, 'd', now_ms - began)
  else
    count_time(series.f, series.sums, 'e', now_ms - began)
    if group then count_fault(uid, r, group) end
  end
end

local function save_hours()
  for name, series in pairs(hours) do
    local key, is_new, fields = $hours .. name, false, series.sums
    for _, letter in ipairs({'w', 'c', 'f'}) do
      for bucket, number in pairs(series[letter]) do fields[letter .. bucket] = number end
    end
    for field, number in pairs(fields) do
      -- Only the first write of a field returns its own number, so that all others need no expiry.
      if redis.call('HINCRBY', key, field, string.format('%d', number)) == number then is_new = true end
    end
    if is_new and redis.call('PTTL', key) < 0 then
      local hour, member = string.match(name, '^(%d+):(.*)$')
      redis.call('PEXPIRE', key, $statistics_ms)
      redis.call('ZADD', $series, hour, member)
      redis.call('ZREMRANGEBYSCORE', $series, '-inf', hour - $statistics_ms / HOUR_MS)
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
