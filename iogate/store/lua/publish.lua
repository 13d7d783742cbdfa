-- Makes a revision live together with the gates of its APIs, if the live revision is the expected one.
-- keys: live, revision, revisions, gates, gate of each API, deleted, expiries, schedules, ticks, chains;
--   all keys of standing runs
-- args: expected number, digest, revision, MessagePack list of [api, digest, git's enabled ('' none,
--   '0', '1'), queued, GCRA interval ms or '', slack ms, running or '', places of a
--   concurrency key or '', priority or '', 1 to clear an override],
--   how many revisions are kept, MessagePack list of schedules as [pseudo API, kind, phase, JSON, first due ms,
--   queued], signature, origin ('' none), '1' for a rollback, project, its list of revisions, expected number of the
--   last revision, expected seal of the live record, seal of the new one, seal of the same content, mode: '' |
--   'gates' (same content: write its gates and schedules again) | 'repair' (whatever is live)
-- returns: {'ok', number} | {'conflict', live number} | {'moved', last number}: the signature is for another number,
--   or the seal has changed | {'owned', {api, project}…}: APIs of other projects
-- invariant: programs and contents are stored before; all gates of a revision change in one step, and wider limits
--   admit waiting runs; gates and schedules of other projects stay as they are. A deleted API that returns is disabled
--   until it is enabled, unless a rollback brings it back, with its switch and its override; its runs on hold stay so.
--   A schedule with the same phase keeps its next tick and its standing run.
-- include: drained time index queue states lanes switch owner finish
local project, list, mode = ARGV[10], ARGV[11], ARGV[16]
if mode == 'repair' then
  for key, kind in pairs({[$live] = 'hash', [list] = 'list'}) do
    if redis.call('TYPE', key).ok ~= kind then redis.call('DEL', key) end
  end
end
local seal = project == 'default' and $live_seal or $live_seal .. ':' .. project
local whole = redis.call('HMGET', $live, 'number', 'digest', 'last', $live_project .. project, seal)
local live, digest = tonumber(whole[1]) or 0, whole[2]
local last = math.max(tonumber(whole[3]) or 0, live)
if project ~= 'default' then
  local number, found = string.match(whole[4] or '', '^(%d+) (%w+)$')
  live, digest = tonumber(number) or 0, found
end
local number
if mode == 'repair' then
  last = tonumber(ARGV[12])
  if redis.call('EXISTS', $revision .. last + 1) == 1 then return {'moved', last + 1} end
elseif digest == ARGV[2] then
  if tonumber(ARGV[1]) ~= live then return {'ok', live} end
  if (whole[5] or '') ~= ARGV[13] then return {'moved', last} end
  if mode ~= 'gates' then
    redis.call('HSET', $live, seal, ARGV[15])
    return {'ok', live}
  end
  number = live
else
  if tonumber(ARGV[1]) ~= live then return {'conflict', live} end
  if tonumber(ARGV[12]) ~= last or (whole[5] or '') ~= ARGV[13] then return {'moved', last} end
end

local apis, ticking, owned = cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[6]), {'owned'}
for _, each in ipairs({apis, ticking}) do
  for _, g in ipairs(each) do
    local kind = mode ~= '' and redis.call('TYPE', $gate .. g[1]).ok
    -- Another program may have put a value of another type in place of a gate.
    if kind and kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', $gate .. g[1]) end
    local other = owner(g[1])
    if other ~= project and redis.call('SISMEMBER', $gates, g[1]) == 1 then owned[#owned + 1] = {g[1], other} end
  end
end
if #owned > 1 then return owned end

if not number then
  if last == 0 then redis.call('SET', $format, $format_number) end
  number = last + 1
  redis.call('HSET', $revision .. number, 'digest', ARGV[2], 'data', ARGV[3], 'at', now_ms, 'sig', ARGV[7])
  if ARGV[8] ~= '' then redis.call('HSET', $revision .. number, 'origin', ARGV[8]) end
  redis.call('LPUSH', list, number)
  local kept = tonumber(ARGV[5])
  for _, old in ipairs(redis.call('LRANGE', list, kept, -1)) do redis.call('DEL', $revision .. old) end
  redis.call('LTRIM', list, 0, kept - 1)
end

local named = {}

local function own_gate(api)
  redis.call('SADD', $gates, api)
  if project == 'default' then redis.call('HDEL', $gate .. api, 'project')
  else redis.call('HSET', $gate .. api, 'project', project) end
end

for _, g in ipairs(apis) do
  local api, git = g[1], g[3]
  local key = $gate .. api
  named[api] = true
  local own, override, expires = switch_of(api, git, g[10] == 1, ARGV[9] == '1' and owner(api) == project)
  local base = git == '' and own or git
  redis.call('HSET', key, 'git', git, 'own', own, 'override', override, 'until', expires, 'base', base,
    'on', override == '' and base or override, 'digest', g[2], 'queued', g[4], 'interval', g[5], 'slack', g[6])
  for i, field in ipairs({'rl', 'kl'}) do
    if g[6 + i] == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, g[6 + i]) end
  end
  if g[9] == '' then redis.call('HDEL', $priorities, api) else redis.call('HSET', $priorities, api, g[9]) end
  own_gate(api)
  if load_of(api).apart > 0 then refill(api) end
end

-- Returns kind and phase; {} for an invalid entry.
local function known(entry)
  local whole, s = pcall(cmsgpack.unpack, entry)
  return whole and type(s) == 'table' and s or {}
end

-- Removes the next tick of a schedule; its standing run is cancelled, other runs continue. Its switch stays.
local function unchain(api, kind)
  local chain = redis.call('HGET', $chains, api)
  redis.call('ZREM', $ticks, api)
  redis.call('HDEL', $chains, api)
  redis.call('HDEL', $schedule .. api, 'resume')
  local uid = chain and kind == 'on' and string.match(chain, '^%d+')
  if uid then cancel(uid, 'its schedule has changed') end
end

for _, s in ipairs(ticking) do
  local api, kind, phase = s[1], s[2], s[3]
  named[api] = true
  local was = redis.call('HGET', $schedules, api)
  local before = was and known(was)
  redis.call('HSET', $schedules, api, cmsgpack.pack({kind, phase, s[4]}))
  redis.call('HSET', $gate .. api, 'on', 1, 'base', 1, 'git', 1, 'own', 1, 'digest', '', 'queued', s[6])
  own_gate(api)
  redis.call('SREM', $deleted, api)
  load_of(api)
  if not before or before[2] ~= phase then
    -- With `after`, the end of the previous run still starts the next one.
    local chained = kind == 'after' and before and before[1] == 'after' and redis.call('HGET', $chains, api)
    if not chained then
      if before then unchain(api, before[1]) end
      redis.call('ZADD', $ticks, s[5], api)
    end
  end
end
for _, api in ipairs(redis.call('HKEYS', $schedules)) do
  if not named[api] and owner(api) == project then
    unchain(api, known(redis.call('HGET', $schedules, api))[1])
    redis.call('HDEL', $schedules, api)
    if redis.call('HEXISTS', $schedule .. api, 'off') == 0 then redis.call('DEL', $schedule .. api) end
  end
end

for _, api in ipairs(redis.call('SMEMBERS', $gates)) do
  if not named[api] and owner(api) == project then
    local key = $gate .. api
    local was = redis.call('HMGET', key, 'own', 'override', 'git', 'by')
    redis.call('HDEL', key, 'on', 'base', 'git', 'digest', 'rl', 'tat', 'interval', 'slack', 'queued', 'dr', 'pms')
    redis.call('DEL', $promised .. api, $rates .. api)
    -- A rollback restores what is left.
    if not was[4] and (was[2] or '') == '' and not (was[3] == '' and was[1] == '1') then
      redis.call('HDEL', key, 'own', 'override', 'until', 'author', 'reason', 'at')
    end
    redis.call('SREM', $gates, api)
    redis.call('HDEL', $priorities, api)
    redis.call('ZREM', $expiries, api)
    redis.call('SADD', $deleted, api)
  end
end
-- Only the counter is left: no API has a priority.
if redis.call('HLEN', $priorities) == 1 and redis.call('HEXISTS', $priorities, '') == 1 then
  redis.call('DEL', $priorities)
end
save_loads()
save_index()
announce_ended()
ring()
if mode == 'gates' then
  redis.call('HSET', $live, seal, ARGV[15])
elseif project == 'default' then
  redis.call('HSET', $live, 'number', number, 'digest', ARGV[2], 'last', number, seal, ARGV[14])
else
  redis.call('HSET', $live, $live_project .. project, number .. ' ' .. ARGV[2], 'last', number, seal, ARGV[14])
end
redis.call('HINCRBY', $live, 'changes', 1)
redis.call('PUBLISH', $change_channel, number)
return {'ok', number}
