-- Hourly counts of runs, and groups of equal errors; a script collects them and writes them once, at its end.
--
-- A series has the runs of an API and a workflow, or those of them that other runs have started (`child`). Fields of
-- its hash of an hour: w0… runs accepted in that hour by the time until a worker took them, q the sum of these times,
-- n runs accepted then that ended before; c0… completed and f0… faulted attempts that ended in that hour by their
-- duration, d and e the sums of these, x cancelled runs, r retries. `histograms.py` has the bounds of the buckets.
-- Times are in ms. Nothing is counted when a call is accepted.
--
-- An error is a member `ID WORKFLOW` of the groups of its API; ID is a hash that `error_groups.py` computes.
-- Each script that ends a run defines these functions each time, so they are few.
-- needs: clock
local hours, faults, last_api, last_hour, last_start, last = nil, nil, nil, nil, nil, nil

-- Returns the collected counts of the series of a run in an hour; nil for a standing run of a schedule, which is not
-- counted. Most runs of a script are in the series of the run before: the same API, and facts that begin like its facts.
local function series_of(uid, r, hour)
  if r.api == last_api and hour == last_hour and r.depth == 0 and string.find(r.facts, last_start, 1, true) == 1 then
    return last
  end
  local start, revision, workflow = string.match(r.facts, '^(%[(%d+),"([^"]+)",)')
  if not start or revision == '0' then return nil end
  local key = hour .. ':' .. r.api .. ' ' .. workflow
  -- Runs of a schedule that an event has started are no children of others, although a standing run starts them.
  if r.depth > 0 and (string.sub(r.api, 1, 9) ~= 'schedule:' or redis.call('HGET', $run .. uid, 'fam')) then
    key = key .. ' child'
  end
  hours = hours or {}
  local found = hours[key]
  if not found then
    found = {sums = {}}
    hours[key] = found
  end
  if r.depth == 0 then last, last_api, last_hour, last_start = found, r.api, hour, start end
  return found
end

local function count_time(series, letter, sum, ms)
  local buckets, sums, bucket = series[letter], series.sums, 0
  if not buckets then
    buckets = {}
    series[letter] = buckets
  end
  if ms >= 2 then
    -- Four buckets per factor of two: 4 / ln 2. The addition keeps powers of two in the bucket that they begin.
    bucket = floor(math.log(ms) * 5.7707801635558535 + 0.000001)
  elseif ms < 0 then
    ms = 0
  end
  buckets[bucket] = (buckets[bucket] or 0) + 1
  sums[sum] = (sums[sum] or 0) + ms
end

local function count_one(uid, r, at_ms, field)
  local series = series_of(uid, r, floor(at_ms / 3600000))
  if series then series.sums[field] = (series.sums[field] or 0) + 1 end
end

-- Counts a run that a worker takes for the first time.
local function count_start(uid, r)
  local series = series_of(uid, r, floor(r.created / 3600000))
  if series then count_time(series, 'w', 'q', now_ms - r.created) end
end

-- Counts the end of a run; `group` is that of its error, as a list of id and description.
local function count_end(uid, r, status, group)
  if r.token == 0 then count_one(uid, r, r.created, 'n') end
  if status == 'cancelled' then
    count_one(uid, r, now_ms, 'x')
    return
  end
  local series = series_of(uid, r, floor(now_ms / 3600000))
  if not series then return end
  local began = r.started
  -- The time between a fault and its retry is no part of the duration.
  if r.attempt > 1 then began = tonumber(redis.call('HGET', $run .. uid, 'rta')) or began end
  if status == 'completed' then
    count_time(series, 'c', 'd', now_ms - began)
  else
    count_time(series, 'f', 'e', now_ms - began)
    if group then
      faults = faults or {}
      faults[#faults + 1] = {uid, r.api, string.match(r.facts, '^%[%d+,"([^":]+)'), group[1], group[2]}
    end
  end
end

local function save_hours()
  for name, series in pairs(hours) do
    local key, is_new = $hours .. name, false
    for letter, numbers in pairs(series) do
      local prefix = letter == 'sums' and '' or letter
      for field, number in pairs(numbers) do
        -- Only the first write of a field returns its own number, so that all others need no expiry.
        if redis.call('HINCRBY', key, prefix .. field, number) == number then is_new = true end
      end
    end
    if is_new and redis.call('PTTL', key) < 0 then
      local hour, member = string.match(name, '^(%d+):(.*)$')
      redis.call('PEXPIRE', key, $statistics_ms)
      redis.call('ZADD', $series, hour, member)
      redis.call('ZREMRANGEBYSCORE', $series, '-inf', hour - $statistics_ms / 3600000)
    end
  end
end

local function save_faults()
  -- Removes groups that have not occurred for $statistics_ms, and the least recent ones beyond the bound.
  local function drop_groups(key, times)
    local dropped = redis.call('ZRANGEBYSCORE', times, '-inf', now_ms - $statistics_ms)
    local over = redis.call('ZCARD', times) - #dropped - $error_groups
    if over > 0 then dropped = redis.call('ZRANGE', times, 0, #dropped + over - 1) end
    for _, member in ipairs(dropped) do
      redis.call('ZREM', times, member)
      redis.call('HDEL', key, 'n ' .. member, 'a ' .. member, 'b ' .. member, 'u ' .. member)
    end
  end

  local apis = {}
  for _, fault in ipairs(faults) do
    local uid, api, workflow, id, about = unpack(fault)
    local key, times, member = $errors .. api, $error_times .. api, id .. ' ' .. workflow
    apis[api] = true
    redis.call('ZADD', times, now_ms, member)
    redis.call('HSET', key, 'u ' .. member, uid)
    if redis.call('HINCRBY', key, 'n ' .. member, 1) == 1 then
      redis.call('HSET', key, 'a ' .. member, about, 'b ' .. member, now_ms)
      drop_groups(key, times)
    end
  end
  for api in pairs(apis) do
    redis.call('PEXPIRE', $errors .. api, $statistics_ms)
    redis.call('PEXPIRE', $error_times .. api, $statistics_ms)
  end
end

local function save_statistics()
  if not hours then return end
  -- Another program may have put a value of another type in place of a key; the counts are then lost, not the run.
  pcall(save_hours)
  if faults then pcall(save_faults) end
  hours, faults, last_api = nil, nil, nil
end
