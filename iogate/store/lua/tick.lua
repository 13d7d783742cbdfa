-- Takes a tick of a schedule: starts its runs and sets the next tick.
-- keys: ticks, schedules, chains, full; run, end, gate, index, RQ queue and job, backlog
-- args: pseudo API, due ms of the tick, entry of its schedule as it was read, next due ms ('' if it follows the end
--   of a run), delay after that end ms, retention ms, input, {uid, facts}…
-- returns: {'ok', number of stored runs} | {'gone'|'memory'|'taken'}
-- invariant: a tick is taken once; its runs and the next due time are stored in the same step.
-- include: drained time queue rq room states
local api, due, following, again, retention, input = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if tonumber(redis.call('ZSCORE', $ticks, api) or '') ~= due then return {'gone'} end
-- An apply came in between: the caller reads the schedule again.
if redis.call('HGET', $schedules, api) ~= ARGV[3] then return {'gone'} end
if redis.call('EXISTS', $full) == 1 then return {'memory'} end
for i = 8, #ARGV, 2 do
  if redis.call('EXISTS', $run .. ARGV[i], $parked .. ARGV[i], $end .. ARGV[i]) > 0 then return {'taken'} end
end

local load, limit = load_of(api), tonumber(redis.call('HGET', $gate .. api, 'queued'))
local stored = 0
for i = 8, #ARGV, 2 do
  local uid = ARGV[i]
  if load.inq + load.bl >= limit then break end
  stored = stored + 1
  local queued = load.bl == 0 and may_queue(load)
  redis.call('HSET', $run .. uid, 'api', api, 'f', ARGV[i + 1], 'in', input, 'crt', now_ms, 'ret', retention,
    'st', 'pending', 'pl', queued and 'queue' or 'backlog', 'sch', api)
  redis.call('ZADD', $index .. 'pending', now_ms, uid)
  if queued then
    load.inq = load.inq + 1
    rq_enqueue(uid)
  else
    load.bl = load.bl + 1
    redis.call('RPUSH', $backlog .. api, uid)
  end
  if following == '' then redis.call('HSET', $chains, api, uid .. ' ' .. again) end
end
if following ~= '' then
  redis.call('ZADD', $ticks, following, api)
elseif stored > 0 then
  redis.call('ZREM', $ticks, api)
end
save_loads()
ring()
return {'ok', stored}
