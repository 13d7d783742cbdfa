-- Enables or disables schedules, effective for the next tick.
-- keys: schedules, schedule, ticks, chains, gate of each schedule; all keys of a cancelled run
-- args: '0' disable, '1' enable, author, reason, ttl ms ('' none), project ('' any), pseudo API…
-- returns: {'unknown', pseudo API…} | {'foreign', pseudo API, its project, …}, if nothing was changed | {'ok'}
-- invariant: the switch of a schedule outlives revisions, until a command or its time ends it. A disabled
--   schedule keeps its ticks, and takes each without a run; the standing run of one on events is cancelled.
-- include: drained time index queue states owner finish
local enabled, ttl = ARGV[1] == '1', tonumber(ARGV[4])
local others = foreign_from(6, ARGV[5])
if others then return others end
local unknown = {'unknown'}
for i = 6, #ARGV do
  if redis.call('HEXISTS', $schedules, ARGV[i]) == 0 then unknown[#unknown + 1] = ARGV[i] end
end
if #unknown > 1 then return unknown end

for i = 6, #ARGV do
  local api = ARGV[i]
  local known, s = pcall(cmsgpack.unpack, redis.call('HGET', $schedules, api))
  local kind = known and type(s) == 'table' and s[1] or ''
  local state, chain = $schedule .. api, redis.call('HGET', $chains, api)
  local uid = chain and string.match(chain, '^%d+')
  -- The next tick of a schedule that no run brings: none, or one that was postponed to the end of the switch.
  local tick = tonumber(redis.call('ZSCORE', $ticks, api) or '')
  local postponed = tick == $held_ms or tick and tick == tonumber(redis.call('HGET', state, 'until') or '')
  local waits = (kind == 'after' or kind == 'on') and not uid and (not tick or postponed)
  -- Also to disable: a full server executes a script whose first write needs no memory.
  redis.call('HDEL', state, 'off', 'author', 'reason', 'since', 'until')
  if enabled then
    if waits then redis.call('ZADD', $ticks, now_ms, api) end
  else
    local ends = ttl and now_ms + ttl
    redis.call('HSET', state, 'off', 1, 'author', ARGV[2], 'reason', ARGV[3], 'since', now_ms, 'until', ends or '')
    if waits and tick then redis.call('ZADD', $ticks, ends or $held_ms, api) end
    if kind == 'on' and uid then cancel(uid, 'its schedule was disabled') end
  end
end
save_loads()
save_index()
announce_ended()
ring()
return {'ok'}
