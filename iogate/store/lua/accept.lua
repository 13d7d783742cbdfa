-- Validates a call and stores its run, or returns the reason for the refusal.
-- keys: run, parked, end, gate, idempotency, index, RQ queue and job, backlog; promised, rates, holders, lane, windows,
--   timers, files; those of a run that is replaced
-- args: uid, api, digest, facts, input, retention ms; for the calls that have any, MessagePack of `traffic.Extras`:
--   idempotency key, rules for traffic, what follows the end (`after.lua`)
-- returns: {'ok', uid}, with 1 for a run on hold | {'replayed', uid} | {'mismatch'|'disabled'|'stale'|'taken'|'files'} |
--   {'rate'|'queue_full'|'memory'|'drained', ms} | {'coalesced', uid, 1 on hold}: the input of that run is replaced |
--   {'coalesce', uid}: the call is to be made again for that uid
-- invariant: idempotent. `facts` holds the nonce of the gateway, so that its own run is distinguished from that of
--   another gateway with the same uid.
-- include: clock queue room
local uid, api, digest, facts, input = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local retention = ARGV[6]
local run_key, gate_key = $run .. uid, $gate .. api
local extras = ARGV[7] and cmsgpack.unpack(ARGV[7])
local traffic, repeatable, ends = nil, nil, nil
if extras then traffic, repeatable, ends = extras.traffic, extras.repeatable, extras.ends end

-- One EXISTS for all rare cases: the uid is taken, the store is full or drained, or its clock was set back.
local seen = redis.call('EXISTS', run_key, $parked .. uid, $end .. uid, $full, $drained, $clock_ahead) > 0
if seen then correct_clock() end

local function is_own()
  -- include: record ended
  unfold(uid)
  local stored = redis.call('HGET', run_key, 'f')
  if not stored then
    local e = ended_record(uid)
    if not e then return nil end
    stored = e.facts
  end
  return stored == facts
end

if repeatable then
  local known = redis.call('GET', repeatable.key)
  if known then
    local first, print = string.match(known, '^(%d+) (.*)$')
    -- If the run with this uid is of another gateway, this call is a replay, not a repetition.
    if print == repeatable.print and first == uid and is_own() ~= false then return {'ok', uid} end
    -- The key of a deleted run, by `prune` or after its retention, can be used again.
    if redis.call('EXISTS', $run .. first, $parked .. first, $end .. first) > 0 then
      return print == repeatable.print and {'replayed', first} or {'mismatch'}
    end
  end
end

-- The fields that each call needs; rare ones are read where they are used.
local g = redis.call('HMGET', gate_key,
  'on', 'until', 'digest', 'interval', 'queued', 'inq', 'run', 'bl', 'rl', 'pms', 'dl')
local on, digest_now, interval = g[1], g[3], g[4]
if g[2] and g[2] ~= '' and now_ms >= tonumber(g[2]) then on = redis.call('HGET', gate_key, 'base') end
local own
if seen then own = is_own() end
if own then return {'ok', uid} end
if seen and redis.call('EXISTS', $drained) == 1 then return {'drained', redis.call('PTTL', $drained)} end
-- Without a gate, an API is not disabled but deleted, with its revision or with the whole store.
if not digest_now then return {'stale'} end
local held = on == '2'
if on ~= '1' and not held then return {'disabled'} end
if digest_now ~= digest then return {'stale'} end
if traffic and traffic.files and redis.call('HLEN', $files .. traffic.files) ~= traffic.chunks then return {'files'} end

-- GCRA: `tat` is the time of the next call at an even rate; `slack` is how far it may be ahead.
local tat, slack
local counted_by = traffic and traffic.per and $rates .. api
if interval and interval ~= '' then
  local exact, rate = now_s * 1000 + now_us / 1000, redis.call('HMGET', gate_key, 'slack', 'tat')
  interval, slack = tonumber(interval), tonumber(rate[1])
  local last = counted_by and redis.call('ZSCORE', counted_by, traffic.per) or not counted_by and rate[2]
  tat = math.max(tonumber(last) or 0, exact)
  -- A larger value means that the clock was set back. The burst then counts as used up.
  if tat > exact + slack + interval + 1 then tat = exact + slack end
  local early = tat - exact - slack
  if early > 0 then return {'rate', math.ceil(early)} end
  tat = tat + interval
end

local function settle()
  if tat and counted_by then
    -- A time that has passed means no more than none. Beyond the bound, those that owe least are dropped.
    redis.call('ZADD', counted_by, string.format('%.3f', tat), traffic.per)
    redis.call('ZREMRANGEBYSCORE', counted_by, '-inf', now_ms)
    local over = redis.call('ZCARD', counted_by) - $rate_keys
    if over > 0 then redis.call('ZPOPMIN', counted_by, over) end
    redis.call('PEXPIRE', counted_by, math.ceil(slack + 2 * interval) + 1000)
  elseif tat then
    redis.call('HSET', gate_key, 'tat', string.format('%.3f', tat))
  end
  if repeatable then
    redis.call('SET', repeatable.key, uid .. ' ' .. repeatable.print, 'PX', repeatable.ttl)
  end
end

if traffic and traffic.merge then
  -- include: merge
  local merged = merge()
  if merged then return merged end
end
if own == false then return {'taken'} end
local is_full = seen and redis.call('EXISTS', $full) == 1
local load = {inq = tonumber(g[6]) or 0, run = tonumber(g[7]) or 0, bl = tonumber(g[8]) or 0,
  limit = tonumber(g[9]) or math.huge}
local waiting, most = load.inq + load.bl + (tonumber(g[11]) or 0), tonumber(g[5])
if waiting >= most and traffic and traffic.replace and not is_full then
  -- include: replace
  if not replace_oldest() then return {'queue_full', $retry_least_ms} end
  local now = redis.call('HMGET', gate_key, 'inq', 'run', 'bl')
  load.inq, load.run, load.bl = tonumber(now[1]) or 0, tonumber(now[2]) or 0, tonumber(now[3]) or 0
elseif waiting >= most or g[10] then
  -- include: promise
  local refused = crowded(waiting, most, redis.call('HGET', gate_key, 'dr'))
  if refused then return refused end
end
if is_full then return {'memory', redis.call('PTTL', $full)} end

local queued, apart = load.bl == 0 and not held and may_queue(load), nil
if traffic and (traffic.key or traffic.merge) then
  -- include: apart
  apart = stay_apart(tonumber(redis.call('HGET', gate_key, 'kl') or ''))
  queued = queued and not apart
end
redis.call('HSET', run_key, 'api', api, 'f', facts, 'in', input, 'crt', now_ms, 'ret', retention,
  'st', 'pending', 'pl', queued and 'queue' or apart or 'backlog')
redis.call('ZADD', $index .. 'pending', now_ms, uid)
redis.call('ZADD', $index .. api, now_ms, uid)
if apart then
  redis.call('HINCRBY', gate_key, 'dl', 1)
elseif queued then
  redis.call('HINCRBY', gate_key, 'inq', 1)
  rq_enqueue(uid)
  ring()
else
  redis.call('HINCRBY', gate_key, 'bl', 1)
  redis.call('RPUSH', $backlog .. api, uid)
end
if ends then redis.call('HSET', run_key, 'aft', ends) end
if extras and extras.attributes then
  -- include: attributes
  redis.call('HSET', run_key, 'at', extras.attributes)
  index_attributes(uid, api, now_ms, extras.attributes)
end
if traffic and traffic.files then
  -- include: files
  redis.call('HSET', run_key, 'fl', traffic.files)
  need_files(traffic.files, uid, 'inf')
end
settle()
if held then return {'ok', uid, 1} end
return {'ok', uid}
