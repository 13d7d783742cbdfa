-- Enables, disables or holds APIs, effective for the next call.
-- keys: gates, deleted, gate of each API, expiries, releases, live, families, RQ queue; per run: run, RQ's job, backlog
-- args: '0' disable, '1' enable, '2' enable on hold, '3' hold; author, reason, ttl ms ('' none), ms between two
--   released runs ('' all at once), expected counter of changes ('' any), '1' to disable by an override only,
--   project ('' any), api…
-- returns: {'unknown', api…} | {'foreign', api, its project, …} | {'moved'}, if nothing was changed | {'ok', MessagePack
--   list of [api, switch before, switch after, runs on hold before, runs on hold after]}; a switch is '' for a deleted API
-- invariant: the switch of an API without a value in git is changed; a hold, a switch with a ttl, and one that
--   differs from git is an override, and so is each that disables, even if git agrees. To hold an API that refuses
--   calls, or to disable one on hold, gives switch '3': it refuses calls, and its runs stay on hold until it is enabled.
-- include: drained time queue states switch owner
local wanted, author, reason, ttl, every, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local by_override = ARGV[7] == '1'
local others = foreign_from(9, ARGV[8])
if others then return others end
if expected ~= '' and expected ~= (redis.call('HGET', $live, 'changes') or '0') then return {'moved'} end

-- Returns whether only the runs of an API are left, and on hold.
local function is_left(api)
  return wanted == '1' and redis.call('SISMEMBER', $deleted, api) == 1
    and redis.call('HEXISTS', $gate .. api, 'hold') == 1
end

local unknown = {'unknown'}
for i = 9, #ARGV do
  if redis.call('SISMEMBER', $gates, ARGV[i]) == 0 and not is_left(ARGV[i]) then unknown[#unknown + 1] = ARGV[i] end
end
if #unknown > 1 then return unknown end

local holding, newly = false, {}

local function change_hold(api, value, expires)
  local load = load_of(api)
  if value == '2' or value == '3' then
    if not is_held(load) then
      newly[api], holding = load, true
    end
    set_hold(api, load, expires == '' and $held_ms or expires, 0)
  elseif value == '1' then
    if every ~= '' and load.from and load.bl > 0 then
      set_hold(api, load, now_ms, tonumber(every))
    elseif load.from then
      end_hold(api, load)
    end
  end
end

local function switch(api)
  local key = $gate .. api
  local g = redis.call('HMGET', key, 'git', 'own', 'on', 'until', 'base')
  local git, own = g[1], g[2] or '0'
  local before = (g[4] or '') ~= '' and now_ms >= tonumber(g[4]) and g[5] or g[3] or ''
  local value = wanted
  if wanted == '0' and is_held(load_of(api)) then value = '3' end
  if wanted == '3' and (before == '1' or before == '2') then value = '2' end
  local override, expires = value, ''
  redis.call('ZREM', $expiries, api)
  if ttl ~= '' then
    expires = now_ms + tonumber(ttl)
    redis.call('ZADD', $expiries, expires, api)
  elseif value == '2' or value == '3' then
    override = value
  elseif git == '' and not (by_override and value == '0') then
    own, override = value, ''
    redis.call('HSET', key, 'by', person_of(author, reason, now_ms))
  elseif value == '1' and git == '1' then
    override = ''
  end
  redis.call('HSET', key, 'own', own, 'base', git == '' and own or git, 'override', override, 'until', expires,
    'on', value, 'author', author, 'reason', reason, 'at', now_ms)
  change_hold(api, value, expires)
  return before, value
end

-- Moves the queued new runs of these APIs back to their backlogs, in order.
local function withdraw_new()
  local queued = 0
  for _, load in pairs(newly) do queued = queued + load.inq end
  if queued == 0 then return end
  local left, moved = {}, {}
  for _, uid in ipairs(redis.call('LRANGE', $rq_queue, 0, -1)) do
    local v = redis.pcall('HMGET', $run .. uid, 'api', 'pl', 'tok', 'dep')
    local load = not v.err and v[1] and newly[v[1]]
    if load and v[2] == 'queue' and not v[3] and not v[4] then
      moved[#moved + 1] = {uid, v[1]}
      load.inq = math.max(0, load.inq - 1)
    else
      left[#left + 1] = uid
    end
  end
  if #moved == 0 then return end
  redis.call('DEL', $rq_queue)
  for first = 1, #left, 1000 do
    redis.call('RPUSH', $rq_queue, unpack(left, first, math.min(first + 999, #left)))
  end
  for i = #moved, 1, -1 do put_back(moved[i][1], moved[i][2], newly[moved[i][2]]) end
end

-- Children that already wait in a backlog would be held with the new runs, so they are moved ahead of these.
local function move_children(api)
  local children = {}
  for _, uid in ipairs(redis.call('LRANGE', $backlog .. api, 0, -1)) do
    if redis.pcall('HEXISTS', $run .. uid, 'dep') == 1 then children[#children + 1] = uid end
  end
  for _, uid in ipairs(children) do
    redis.call('LREM', $backlog .. api, 1, uid)
    redis.call('RPUSH', $woken .. api, uid)
    redis.call('HSET', $run .. uid, 'pl', 'woken')
  end
end

local changed = {}
for i = 9, #ARGV do
  local api = ARGV[i]
  local before, after = '', ''
  local held = load_of(api).from and redis.call('LLEN', $backlog .. api) or 0
  if redis.call('SISMEMBER', $gates, api) == 1 then
    before, after = switch(api)
  else
    change_hold(api, '1', '')
    redis.call('HDEL', $gate .. api, 'override', 'until')
  end
  changed[#changed + 1] = {api, before, after, held}
end
if holding then
  withdraw_new()
  if redis.call('HLEN', $families) > 0 then
    for api in pairs(newly) do move_children(api) end
  end
end
save_loads()
ring()
for _, each in ipairs(changed) do
  each[5] = loads[each[1]].from and redis.call('LLEN', $backlog .. each[1]) or 0
end
redis.call('HINCRBY', $live, 'changes', 1)
redis.call('PUBLISH', $change_channel, 'gates')
return {'ok', cmsgpack.pack(changed)}
