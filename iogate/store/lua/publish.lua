-- Makes a revision live together with the gates of its APIs, if the live revision is the expected one.
-- keys: live, revision, revisions, gates, gate of each API, deleted, expiries, schedules, ticks, chains;
--   all keys of standing runs
-- args: expected number, digest, revision, MessagePack list of [api, digest, git's enabled ('' none,
--   '0', '1'), queued, GCRA interval ms or '', slack ms, running or '', 1 to clear an override],
--   how many revisions are kept, MessagePack list of schedules as [pseudo API, kind, phase, JSON, first due ms,
--   queued], signature, origin ('' none), '1' for a rollback
-- returns: {'ok', number} | {'conflict', live number}
-- invariant: programs and contents are stored before; all gates of a revision change in one step, and wider limits
--   admit waiting runs; a deleted API that returns is disabled until it is enabled, unless a rollback brings it
--   back, with its switch and its override; its runs on hold stay so. A schedule with the same phase keeps its next
--   tick and its standing run.
-- include: drained time index queue rq room states switch record inbox outbox journal outcome finish
local live = redis.call('HMGET', $live, 'number', 'digest')
local number = tonumber(live[1]) or 0
if live[2] == ARGV[2] then return {'ok', number} end
if tonumber(ARGV[1]) ~= number then return {'conflict', number} end

if number == 0 then redis.call('SET', $format, $format_number) end
number = number + 1
redis.call('HSET', $revision .. number, 'digest', ARGV[2], 'data', ARGV[3], 'at', now_ms, 'sig', ARGV[7])
if ARGV[8] ~= '' then redis.call('HSET', $revision .. number, 'origin', ARGV[8]) end
redis.call('LPUSH', $revisions, number)
local kept = tonumber(ARGV[5])
for _, old in ipairs(redis.call('LRANGE', $revisions, kept, -1)) do redis.call('DEL', $revision .. old) end
redis.call('LTRIM', $revisions, 0, kept - 1)

local named = {}
for _, g in ipairs(cmsgpack.unpack(ARGV[4])) do
  local api, git = g[1], g[3]
  local key = $gate .. api
  named[api] = true
  local own, override, expires = switch_of(api, git, g[8] == 1, ARGV[9] == '1')
  local base = git == '' and own or git
  redis.call('HSET', key, 'git', git, 'own', own, 'override', override, 'until', expires, 'base', base,
    'on', override == '' and base or override, 'digest', g[2], 'queued', g[4], 'interval', g[5], 'slack', g[6])
  if g[7] == '' then redis.call('HDEL', key, 'rl') else redis.call('HSET', key, 'rl', g[7]) end
  redis.call('SADD', $gates, api)
  load_of(api)
end

-- Returns kind and phase; {} for an invalid entry.
local function known(entry)
  local whole, s = pcall(cmsgpack.unpack, entry)
  return whole and type(s) == 'table' and s or {}
end

-- Removes the next tick of a schedule; its standing run is cancelled, other runs continue.
local function unchain(api, kind)
  local chain = redis.call('HGET', $chains, api)
  redis.call('ZREM', $ticks, api)
  redis.call('HDEL', $chains, api)
  local uid = chain and kind == 'on' and string.match(chain, '^%d+')
  if uid then cancel(uid, 'its schedule has changed') end
end

for _, s in ipairs(cmsgpack.unpack(ARGV[6])) do
  local api, kind, phase = s[1], s[2], s[3]
  named[api] = true
  local was = redis.call('HGET', $schedules, api)
  local before = was and known(was)
  redis.call('HSET', $schedules, api, cmsgpack.pack({kind, phase, s[4]}))
  redis.call('HSET', $gate .. api, 'on', 1, 'base', 1, 'git', 1, 'own', 1, 'digest', '', 'queued', s[6])
  redis.call('SADD', $gates, api)
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
  if not named[api] then
    unchain(api, known(redis.call('HGET', $schedules, api))[1])
    redis.call('HDEL', $schedules, api)
  end
end

for _, api in ipairs(redis.call('SMEMBERS', $gates)) do
  if not named[api] then
    -- A rollback restores what is left: own, by, override, until, author, reason, at, hold.
    redis.call('HDEL', $gate .. api, 'on', 'base', 'git', 'digest', 'rl', 'tat', 'interval', 'slack', 'queued')
    redis.call('SREM', $gates, api)
    redis.call('ZREM', $expiries, api)
    redis.call('SADD', $deleted, api)
  end
end
save_loads()
save_index()
announce_ended()
ring()
redis.call('HSET', $live, 'number', number, 'digest', ARGV[2])
redis.call('HINCRBY', $live, 'changes', 1)
redis.call('PUBLISH', $change_channel, number)
return {'ok', number}
