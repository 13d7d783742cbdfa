-- Applies what a worker did to its runs, each fenced by token and sequence number.
-- keys: per run: run, frames, values, tasks, journal, end, big, RQ's; leases, timers, gates, index
-- args: lease ms, MessagePack list of [uid, token, seq, move, status, due, waiting, deadline, head,
--   frames, frames gone, values, values gone, tasks, journal, output, error, RQ's text of the error]
-- returns: {now ms, verdict…}: bits 1 applied, 2 cancelled, 4 woken
-- invariant: seq n+1 applies, a repeated n answers applied and changes nothing, anything else is void.
-- include: time index rq places record finish outcome
local lease_ms = tonumber(ARGV[1])
local leases, unleased, verdicts = {}, {}, {}

local function merge_tasks(uid, seq, tasks)
  local count = redis.call('HLEN', $tasks .. uid)
  for i, t in ipairs(tasks) do
    local reference = t[1]
    local known = count > 0 and redis.call('HGET', $tasks .. uid, reference)
    local row
    if known then
      row = cmsgpack.unpack(known)
      row.s, row.e, row.a, row.c = t[3], t[5], t[6], row.c + t[7]
    elseif count < $task_rows then
      count = count + 1
      row = {o = seq * 1000 + i, n = t[2], s = t[3], b = t[4], e = t[5], a = t[6], c = t[7]}
    end
    if row then redis.call('HSET', $tasks .. uid, reference, cmsgpack.pack(row)) end
  end
end

local function write_hash(key, set, gone)
  if #set > 0 then
    for first = 1, #set, 1000 do
      redis.call('HSET', key, unpack(set, first, math.min(first + 999, #set)))
    end
  end
  if #gone > 0 then each_slice(gone, 1000, function(...) redis.call('HDEL', key, ...) end) end
end

local function store(uid, c)
  if #c[14] > 0 then merge_tasks(uid, c[3], c[14]) end
  local dropped = #c[15] > 0 and redis.call('RPUSH', $journal .. uid, unpack(c[15])) - $journal_entries or 0
  if dropped > 0 then
    redis.call('LTRIM', $journal .. uid, -$journal_entries, -1)
    redis.call('HINCRBY', $run .. uid, 'jdr', dropped)
  end
end

local function leave(uid, r)
  unleased[#unleased + 1] = uid
  local load = load_of(r.api)
  load.run = math.max(0, load.run - 1)
  rq_end_execution(uid, r.token, r.worker)
end

local function end_run(uid, c, r)
  local tasks, journal
  if r.seq == 0 then
    tasks, journal = {}, table.concat(c[15], '\n')
    for i, t in ipairs(c[14]) do tasks[i] = {i, t[1], t[2], t[3], t[4], t[5], t[6], t[7]} end
  else
    store(uid, c)
    tasks, journal = fold_tasks(uid), fold_journal(uid)
  end
  r.seq = c[3]
  leave(uid, r)
  rq_outcome(uid, r, c[5], c[18])
  finish(uid, r, c[5], c[16], c[17], tasks, journal)
end

local function go_on(uid, c, r)
  store(uid, c)
  if c[9] ~= '' then
    c[10][#c[10] + 1] = 'head'
    c[10][#c[10] + 1] = c[9]
  end
  write_hash($frames .. uid, c[10], c[11])
  write_hash($values .. uid, c[12], c[13])
  local fields = {'seq', c[3], 'st', c[5], 'wt', c[7], 'due', c[6]}
  if c[8] > 0 then
    fields[9], fields[10] = 'ddl', c[8]
  end
  redis.call('HSET', $run .. uid, unpack(fields))
  if c[4] == 'keep' then
    leases[#leases + 1] = now_ms + lease_ms
    leases[#leases + 1] = uid
    return false
  end
  leave(uid, r)
  local woken = c[4] == 'queue' or r.cancelled or r.event or (c[6] > 0 and c[6] <= now_ms)
  redis.call('HSET', $run .. uid, 'wkr', '', 'wok', 0)
  if woken then
    wake(uid, r.api)
  else
    rq_forget(uid)
    redis.call('HSET', $run .. uid, 'pl', 'timer')
    if c[6] > 0 then redis.call('ZADD', $timers, c[6], uid) end
  end
  return woken
end

for i, c in ipairs(cmsgpack.unpack(ARGV[2])) do
  local uid, verdict = c[1], 0
  local r = record(uid)
  if not r then
    local blob = redis.call('GET', $end .. uid)
    local e = blob and cmsgpack.unpack(blob)
    if e and tonumber(e[8]) == c[2] and tonumber(e[9]) == c[3] then verdict = 1 end
  elseif r.token == c[2] and r.seq == c[3] then
    verdict = 1 + (r.cancelled and 2 or 0)
  elseif r.token == c[2] and r.seq + 1 == c[3] and r.place == 'lease' then
    index(uid, r.created, r.status, c[5])
    if c[4] == 'end' then
      end_run(uid, c, r)
      verdict = 1
    else
      verdict = 1 + (go_on(uid, c, r) and 4 or 0) + (r.cancelled and 2 or 0)
    end
  end
  verdicts[i] = verdict
end

if #leases > 0 then redis.call('ZADD', $leases, unpack(leases)) end
if #unleased > 0 then redis.call('ZREM', $leases, unpack(unleased)) end
rq_save_executions()
rq_count()
save_loads()
save_index()
announce_ended()
ring()
return {now_ms, unpack(verdicts)}
