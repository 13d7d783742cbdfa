-- Looks at some runs of one status and puts right what an outsider did to them.
-- keys: index, run, end, RQ queue and jobs, leases, timers, suspects, backlog, woken
-- args: status, uid…
-- returns: how many were put back, how many left the index
-- invariant: a run that is where its record says is not touched.
-- include: time index rq places record
local status = ARGV[1]
local members = {}

local function holds(key, uid)
  local set = members[key]
  if not set then
    set = {}
    for _, member in ipairs(redis.call('LRANGE', key, 0, -1)) do set[member] = true end
    members[key] = set
  end
  return set[uid]
end

local function put_back(uid, r)
  if r.place == 'queue' then
    if holds($rq_queue, uid) then
      if redis.call('EXISTS', $rq_job .. uid) == 1 then return false end
      rq_job(uid)
    else
      rq_enqueue(uid, r.seq > 0)
    end
  elseif r.place == 'lease' then
    if redis.call('ZSCORE', $leases, uid) then return false end
    redis.call('ZADD', $leases, now_ms, uid)
  elseif r.place == 'timer' then
    if (r.due or 0) == 0 or redis.call('ZSCORE', $timers, uid) then return false end
    redis.call('ZADD', $timers, r.due, uid)
  else
    local key = r.place == 'suspect' and $suspects or (r.place == 'woken' and $woken or $backlog) .. r.api
    if holds(key, uid) then return false end
    redis.call('RPUSH', key, uid)
  end
  return true
end

local restored, gone = 0, 0
for i = 2, #ARGV do
  local uid = ARGV[i]
  local r = record(uid)
  if r then
    if r.status ~= status then index(uid, r.created, status, r.status) end
    if put_back(uid, r) then restored = restored + 1 end
  else
    local blob = redis.call('GET', $end .. uid)
    local e = blob and cmsgpack.unpack(blob)
    if not e or e[1] ~= status then
      gone = gone + 1
      index(uid, e and tonumber(e[4]), status, e and e[1])
    end
  end
end
save_index()
ring()
return {restored, gone}
