-- Takes due callbacks for delivery, records the outcomes of their tries, and makes others due earlier.
-- keys: callbacks, counts of callbacks; per run: after, end
-- args: 'take', limit | 'settle', MessagePack of {uid, id, try, outcome, status, error, time of the next try or 0}… |
--   'redeliver', uid | 'hasten', number of waiting callbacks to skip, begin of the error of those that become due now
-- returns: take: {now ms, ms until the next one is due or -1, {uid, id, try, `aft`, since, tries since then}…}; settle: number of outcomes
--   recorded; redeliver: 'ok' | 'none' | 'live' | 'unknown'; hasten: {number that was read, number that became due}
-- invariant: a try counts from its take, so that a worker that dies does not repeat it at once; only the outcome of
--   the last try is recorded. Outcomes: 'delivered', 'failed' (tried again), 'stopped', 'postponed' (was no try).
-- include: drained time
local action = ARGV[1]

if action == 'redeliver' then
  local uid = ARGV[2]
  local id = redis.call('HGET', $after .. uid, 'id')
  if redis.call('EXISTS', $end .. uid) == 0 then
    return redis.call('EXISTS', $run .. uid, $parked .. uid) == 1 and 'live' or 'unknown'
  end
  if not id then return 'none' end
  redis.call('HDEL', $after .. uid, 'delivered', 'stopped', 'error', 'status')
  redis.call('HSET', $after .. uid, 'since', now_ms, 'due', now_ms,
    'before', redis.call('HGET', $after .. uid, 'tries') or 0)
  redis.call('ZADD', $callbacks, now_ms, uid)
  redis.call('PUBLISH', $callbacks_channel, '1')
  return 'ok'
end

if action == 'hasten' then
  local range = {$callbacks, string.format('(%.0f', now_ms), '+inf', 'WITHSCORES', 'LIMIT', ARGV[2], 500}
  local found, moved = redis.call('ZRANGEBYSCORE', unpack(range)), 0
  for i = 1, #found, 2 do
    local key = $after .. found[i]
    local v = redis.pcall('HMGET', key, 'error', 'due')
    -- One whose try is being made is due at the end of its lease, which it does not record.
    local waits = not v.err and v[1] and tonumber(v[2]) == tonumber(found[i + 1])
    if waits and string.sub(v[1], 1, #ARGV[3]) == ARGV[3] then
      moved = moved + 1
      redis.call('HSET', key, 'due', now_ms)
      redis.call('ZADD', $callbacks, now_ms, found[i])
    end
  end
  if moved > 0 then redis.call('PUBLISH', $callbacks_channel, '1') end
  return {#found / 2, moved}
end

if action == 'take' then
  local answer = {now_ms, -1}
  for _, uid in ipairs(redis.call('ZRANGEBYSCORE', $callbacks, '-inf', now_ms, 'LIMIT', 0, ARGV[2])) do
    local key = $after .. uid
    local v = redis.pcall('HMGET', key, 'id', 'aft', 'since', 'before')
    if v.err or not v[1] then
      redis.call('ZREM', $callbacks, uid)
    else
      redis.call('ZADD', $callbacks, now_ms + $callback_lease_ms, uid)
      local try = redis.call('HINCRBY', key, 'tries', 1)
      -- A try under way at a request for another delivery may be taken back.
      local since = math.max(1, try - (tonumber(v[4]) or 0))
      answer[#answer + 1] = {uid, v[1], try, v[2], tonumber(v[3]), since}
    end
  end
  local first = redis.call('ZRANGE', $callbacks, 0, 0, 'WITHSCORES')
  if first[2] then answer[2] = math.max(0, math.ceil(tonumber(first[2]) - now_ms)) end
  return answer
end

local count = 0
for _, each in ipairs(cmsgpack.unpack(ARGV[2])) do
  local uid, id, try, outcome, status, err, next_ms = unpack(each)
  local key = $after .. uid
  local v = redis.pcall('HMGET', key, 'id', 'tries')
  if not v.err and v[1] == id and tonumber(v[2]) == try then
    count = count + 1
    if outcome == 'postponed' then
      redis.call('HINCRBY', key, 'tries', -1)
    else
      redis.call('HINCRBY', $callback_counts, outcome, 1)
      redis.call('HSET', key, 'status', status)
    end
    if err ~= '' then redis.call('HSET', key, 'error', err) else redis.call('HDEL', key, 'error') end
    if outcome == 'failed' or outcome == 'postponed' then
      redis.call('HSET', key, 'due', next_ms)
      redis.call('ZADD', $callbacks, next_ms, uid)
    else
      redis.call('HSET', key, outcome, now_ms)
      redis.call('HDEL', key, 'due')
      redis.call('ZREM', $callbacks, uid)
    end
  end
end
return count
