-- Takes a tick of a schedule: starts its runs and sets the next tick; or starts one run now, for a person.
-- keys: ticks, schedules, chains, schedule, full, timers; all keys of a cancelled run; run, end, gate, index, RQ queue
--   and job, backlog
-- args: pseudo API, due ms of the tick ('' a run for a person), entry of its schedule as it was read, next due ms ('' if
--   it follows the end of a run), delay after that end ms, retention ms, input, overlap, jitter ms,
--   number of missed ticks that start no run, {uid, facts}…
-- returns: {'ok', number of stored runs} | {'gone'|'memory'|'taken'}
--   | {'skipped', number of skipped ticks, reason}: no run started; of `queue`, one tick may wait
-- invariant: a tick is taken once; its runs, its skips and the next due time are stored in the same step. The field
--   `resume` is the next regular tick while the end of a run brings the next one, because a tick waits. `run` is the run
--   that was started last, `ticked` the last one that a tick has started.
-- include: drained time index queue states record finish
local api, due, following, again, retention, input = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local overlap, jitter, missed, first = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), 11
local ticks = (#ARGV - first + 1) / 2
-- An apply came in between: the caller reads the schedule again.
if redis.call('HGET', $schedules, api) ~= ARGV[3] then return {'gone'} end
if due and tonumber(redis.call('ZSCORE', $ticks, api) or '') ~= due then return {'gone'} end
if redis.call('EXISTS', $full) == 1 then return {'memory'} end
for i = first, #ARGV, 2 do
  if redis.call('EXISTS', $run .. ARGV[i], $parked .. ARGV[i], $end .. ARGV[i]) > 0 then return {'taken'} end
end

local state = $schedule .. api
local s = redis.call('HMGET', state, 'off', 'until', 'run', 'resume', 'ticked')
local ends, resume = tonumber(s[2] or ''), tonumber(s[4] or '')

-- Labels of the reasons for `/metrics`.
local LABELS = {missed = 'missed', disabled = 'disabled', ['the run before is not over'] = 'overlap',
  ['one tick waits already'] = 'overlap', ['several ticks were due'] = 'late', ['too many of its runs wait'] = 'queue_full'}

local function skip(count, reason)
  if count <= 0 then return end
  redis.call('HINCRBY', state, 'skipped', count)
  redis.call('HINCRBY', state, 'skips:' .. LABELS[reason], count)
  redis.call('HSET', state, 'skip_at', due, 'skip_why', reason)
end

local function skipped(count, reason)
  skip(count, reason)
  if following ~= '' then redis.call('ZADD', $ticks, following, api) end
  save_loads()
  return {'skipped', count, reason}
end

local live = {}
for _, uid in ipairs({s[3] or '', s[5] or ''}) do
  if due and ticks > 0 and uid ~= live[1] and is_live(uid) then live[#live + 1] = uid end
end
local is_off = due and s[1] == '1' and not (ends and now_ms >= ends)
-- The end of a run has brought this tick, which waited: the regular ticks continue.
local brought = due and resume and redis.call('HEXISTS', $chains, api) == 0
if brought then
  redis.call('HDEL', state, 'resume')
  following = resume
  -- Only one tick has waited: those after it are counted from `resume`.
  if ticks > 1 then first, ticks = #ARGV - 1, 1 end
  missed = ticks == 0 and math.min(missed, 1) or 0
elseif due and resume and overlap == 'queue' and ticks == 0 and not is_off then
  redis.call('HSET', state, 'resume', following)
elseif due and resume and (is_off or overlap ~= 'queue' or not live[1]) then
  -- The schedule was disabled, an apply has set another overlap, or the run was deleted: the tick waits no longer.
  redis.call('HDEL', state, 'resume')
  redis.call('HDEL', $chains, api)
  skip(1, is_off and 'disabled' or live[1] and 'the run before is not over' or 'several ticks were due')
end

if is_off then
  if following == '' then redis.call('ZADD', $ticks, ends or $held_ms, api) end
  return skipped(following == '' and 0 or ticks + missed, 'disabled')
end

skip(missed, 'missed')
if live[1] and overlap == 'skip' then return skipped(ticks, 'the run before is not over') end
if live[1] and overlap == 'queue' then
  -- The end of that run brings the waiting tick; ticks until then are skipped. It may have to wait for another run.
  redis.call('HSET', state, 'resume', following)
  redis.call('HSET', $chains, api, live[1] .. ' 0')
  return skipped(brought and 0 or resume and ticks or ticks - 1, 'one tick waits already')
end
for _, uid in ipairs(overlap == 'replace' and live or {}) do cancel(uid, 'the next tick of its schedule replaces it') end
if due and overlap ~= 'allow' and ticks > 1 then
  skip(ticks - 1, 'several ticks were due')
  first = #ARGV - 1
end

local load, limit = load_of(api), tonumber(redis.call('HGET', $gate .. api, 'queued'))
local starts = due and jitter > 0 and due + jitter or 0
local stored = 0
for i = first, #ARGV, 2 do
  local uid = ARGV[i]
  if load.inq + load.bl >= limit then break end
  stored = stored + 1
  redis.call('HSET', $run .. uid, 'api', api, 'f', ARGV[i + 1], 'in', input, 'crt', now_ms, 'ret', retention,
    'st', 'pending', 'sch', api)
  redis.call('ZADD', $index .. 'pending', now_ms, uid)
  redis.call('ZADD', $index .. api, now_ms, uid)
  if starts > now_ms then
    redis.call('HSET', $run .. uid, 'pl', 'timer', 'due', starts)
    redis.call('ZADD', $timers, starts, uid)
  else
    line_up(uid, api, 'backlog')
  end
  if due and following == '' then redis.call('HSET', $chains, api, uid .. ' ' .. again) end
  redis.call('HSET', state, 'run', uid, 'at', now_ms)
  if due then redis.call('HSET', state, 'ticked', uid) end
end
if due then
  skip((#ARGV - first + 1) / 2 - stored, 'too many of its runs wait')
  if following ~= '' then
    redis.call('ZADD', $ticks, following, api)
  elseif stored > 0 then
    redis.call('ZREM', $ticks, api)
  end
end
save_loads()
save_index()
announce_ended()
ring()
return {'ok', stored}
