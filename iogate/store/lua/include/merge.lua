-- Coalesced calls: a call on the key of a run that no worker has taken replaces its input, its facts, which the
-- gateway has sealed for the uid of that run, its files, its retention and what follows its end. The concurrency key of a run
-- changes in its window only; after it, a call with another one makes a new run. The window starts anew with each call, and ends at the latest `most` ms
-- after the first one.
-- needs: clock files attributes

-- Returns nil if there is no such run.
local function merge()
  local known = redis.call('HGET', $windows .. api, traffic.merge)
  if not known then return nil end
  local v = redis.pcall('HMGET', $run .. known, 'pl', 'tok', 'cxl', 'crt', 'ck', 'f', 'fl', 'at')
  if v.err or not v[1] or v[2] or v[3] then return nil end
  local key = traffic.key or false
  if v[1] ~= 'window' and v[5] ~= key then return nil end
  if known ~= uid then return {'coalesce', known} end
  if redis.call('EXISTS', $full) == 1 then return {'memory', redis.call('PTTL', $full)} end
  -- A call that is repeated has the same facts.
  if v[6] ~= facts then redis.call('HINCRBY', $run .. uid, 'mrg', 1) end
  redis.call('HSET', $run .. uid, 'f', facts, 'in', input, 'ret', retention)
  if key then redis.call('HSET', $run .. uid, 'ck', key) else redis.call('HDEL', $run .. uid, 'ck') end
  if ends then redis.call('HSET', $run .. uid, 'aft', ends) else redis.call('HDEL', $run .. uid, 'aft') end
  if v[7] ~= (traffic.files or false) then
    if v[7] then release_files(v[7], uid) end
    if traffic.files then
      redis.call('HSET', $run .. uid, 'fl', traffic.files)
      need_files(traffic.files, uid, 'inf')
    else
      redis.call('HDEL', $run .. uid, 'fl')
    end
  end
  if v[8] ~= (extras.attributes or false) then
    if v[8] then forget_attributes(uid, api, tonumber(v[4]), v[8]) end
    if extras.attributes then
      redis.call('HSET', $run .. uid, 'at', extras.attributes)
      index_attributes(uid, api, tonumber(v[4]), extras.attributes)
    else
      redis.call('HDEL', $run .. uid, 'at')
    end
  end
  if v[1] == 'window' then
    local due = math.min(now_ms + traffic.window, tonumber(v[4]) + traffic.most)
    redis.call('HSET', $run .. uid, 'due', due)
    redis.call('ZADD', $timers, due, uid)
  end
  settle()
  return {'coalesced', uid, held and 1 or 0}
end
