-- Audits some runs of one status, and repairs changes by other programs.
-- keys: index, run, end, RQ queue and jobs, leases, timers, suspects, backlog, woken; wanted, wants, inbox and
--   children of a run, and keys of a deleted one
-- args: status, then for each run its uid and the state in whose list this audit has seen it ('' none)
-- returns: number of restored runs, number of runs removed from the index, digests of the needed programs…
-- invariant: a run in the list or set of its state is not changed.
-- include: time index queue states lanes record messages ended finish
local status = ARGV[1]
local seen = {}

-- Returns whether a list holds a run. A run that was not seen may have been added since, so search from the end.
local function holds(key, uid, r)
  return seen[uid] == r.state or redis.call('LPOS', key, uid, 'RANK', -1) ~= false
end

-- Returns the record of a run without unfolding it.
local function peek(uid)
  local packed = redis.pcall('GET', $parked .. uid)
  if type(packed) ~= 'string' then return record(uid) end
  local known, r = pcall(function() return folded_record(uid, cmsgpack.unpack(packed)[1]) end)
  return known and r or nil
end

local function restore_state(uid, r)
  if r.state == 'queue' then
    if holds($rq_queue, uid, r) then
      if redis.call('EXISTS', $rq_job .. uid) == 1 then return false end
      rq_job(uid)
    elseif r.token == 0 and r.depth == 0 and is_held(load_of(r.api)) then
      local load = load_of(r.api)
      load.inq = math.max(0, load.inq - 1)
      put_back(uid, r.api, load)
    else
      rq_enqueue(uid)
    end
  elseif r.state == 'lease' then
    if redis.call('ZSCORE', $leases, uid) then return false end
    redis.call('ZADD', $leases, now_ms, uid)
  elseif r.state == 'timer' and has_messages(uid, r) then
    record(uid)
    withdraw(uid, r)
    wake(uid, r.api)
  elseif r.state == 'suspended' then
    return false
  elseif r.state == 'window' then
    if redis.call('ZSCORE', $timers, uid) then return false end
    redis.call('ZADD', $timers, r.due or now_ms, uid)
  elseif r.state == 'lane' then
    local key = redis.call('HGET', $run .. uid, 'ck') or ''
    local is_missing = not holds(lane_of(r.api, key), uid, r)
    if is_missing then redis.call('RPUSH', lane_of(r.api, key), uid) end
    local has_holders = redis.call('HEXISTS', $holders .. r.api, key) == 1
    if not has_holders then fill_places(r.api, key, {}) end
    return is_missing or not has_holders
  elseif r.state == 'timer' then
    if (r.due or 0) == 0 or redis.call('ZSCORE', $timers, uid) then return false end
    redis.call('ZADD', $timers, r.due, uid)
  else
    local key = r.state == 'suspect' and $suspects or (r.state == 'woken' and $woken or $backlog) .. r.api
    if holds(key, uid, r) then return false end
    redis.call('RPUSH', key, uid)
  end
  return true
end

-- Restores subscriptions in the index of types.
local function index_wants(uid)
  local flat, lost = redis.call('HGETALL', $wanted .. uid), false
  for i = 1, #flat, 2 do
    local types, filters = string.match(flat[i + 1], '^%d+\n(.-)\n(.*)$')
    for kind in string.gmatch((types or '') .. ' ', '(.-) ') do
      local member = uid .. ':' .. flat[i]
      if types and redis.call('HEXISTS', $wants .. kind, member) == 0 then
        redis.call('HSET', $wants .. kind, member, filters)
        lost = true
      end
    end
  end
  return lost
end

-- Sends an error for each deleted child, which can send no result itself.
local function report_lost_children(uid)
  local flat, lost = redis.call('HGETALL', $children .. uid), false
  for i = 1, #flat, 2 do
    local frame, child = flat[i], flat[i + 1]
    if not is_live(child) and redis.call('EXISTS', $end .. child) == 0 then
      notify_parent(child, uid, frame, 'faulted', '', cjson.encode({type = $runtime_error, status = 500,
        title = 'the child run is gone', detail = 'the record of the run ' .. child .. ' was deleted'}))
      lost = true
    end
  end
  return lost
end

local function repair(uid, r)
  local put = restore_state(uid, r)
  if not r.reaches then return put end
  local indexed, missed = index_wants(uid), report_lost_children(uid)
  return put or indexed or missed
end

local programs = {}
local function needs(facts)
  local known, decoded = pcall(cjson.decode, facts)
  if known and type(decoded) == 'table' and type(decoded[3]) == 'string' then programs[decoded[3]] = true end
end

local restored, gone = 0, 0
for i = 2, #ARGV, 2 do
  local uid = ARGV[i]
  seen[uid] = ARGV[i + 1]
  local r = peek(uid)
  if r then
    needs(r.facts)
    if r.status ~= status then index(uid, r.api, r.created, status, r.status) end
    index_by_api(uid, r.api, r.created)
    if repair(uid, r) then restored = restored + 1 end
  else
    local e = ended_record(uid)
    -- A faulted run may be retried.
    if e and e.status == 'faulted' then needs(e.facts) end
    if e then index_by_api(uid, e.api, tonumber(e.created)) end
    if not e or e.status ~= status then
      gone = gone + 1
      index(uid, e and e.api, e and tonumber(e.created), status, e and e.status)
      if not e and not is_live(uid) then
        end_relations(uid)
        redis.call('DEL', $frames .. uid, $values .. uid, $tasks .. uid, $journal .. uid, $recorded .. uid)
      end
    end
  end
end
save_loads()
save_index()
announce_ended()
ring()
local answer = {restored, gone}
for program in pairs(programs) do answer[#answer + 1] = program end
return answer
