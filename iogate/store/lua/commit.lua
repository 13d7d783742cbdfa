-- Applies commits of a worker, each fenced by token and sequence number.
-- keys: per run: run, frames, values, tasks, journal, recorded, end, big, inbox, wanted, children, RQ's; those of its
--   parent and children; leases, timers, gates, index, events, wants, outboxes
-- args: lease ms, MessagePack list of commits: maps of `commits.pack_commit`, without absent values
-- returns: {now ms, result…}: bits 1 applied, 2 cancelled, 4 woken, 8 to be suspended, 16 a child was not started,
--   32 not applied because its family has too many runs, 64 not applied because the uid of a child is taken;
--   0 void
-- invariant: seq n+1 applies; a repeated n returns applied and changes nothing; all others are void.
-- include: drained time index queue rq states record messages outbox
-- include: journal suspended outcome ended finish children bus one_time_links
local lease_ms = tonumber(ARGV[1])
local leases, unleased, results = {}, {}, {}

local function merge_tasks(uid, seq, tasks)
  local count = redis.call('HLEN', $tasks .. uid)
  for i, task in ipairs(tasks) do
    local reference, name, status, started, ended_at, attempt, times = unpack(task)
    local known = count > 0 and redis.call('HGET', $tasks .. uid, reference)
    local row
    if known then
      row = cmsgpack.unpack(known)
      row.s, row.e, row.a, row.c = status, ended_at, attempt, row.c + times
    elseif count < $task_rows then
      count = count + 1
      row = {o = seq * 1000 + i, n = name, s = status, b = started, e = ended_at, a = attempt, c = times}
    end
    if row then redis.call('HSET', $tasks .. uid, reference, cmsgpack.pack(row)) end
  end
end

local function write_hash(key, set, gone)
  if set then each_slice(set, 1000, function(...) redis.call('HSET', key, ...) end) end
  if gone then each_slice(gone, 1000, function(...) redis.call('HDEL', key, ...) end) end
end

local function save_rows(uid, c)
  if c.tasks then merge_tasks(uid, c.seq, c.tasks) end
  if c.journal then write_entries(uid, c.journal) end
end

-- Keeps results for replays up to $recorded_bytes a run; a mark takes the place of the rest.
local function save_recorded(uid, r, entries)
  local size = tonumber(redis.call('HGET', $run .. uid, 'rec')) or 0
  local kept = {}
  for _, entry in ipairs(entries) do
    if size > $recorded_bytes then break end
    size = size + #entry
    kept[#kept + 1] = size > $recorded_bytes and $recorded_full or entry
  end
  each_slice(kept, 1000, function(...) redis.call('RPUSH', $recorded .. uid, ...) end)
  redis.call('HSET', $run .. uid, 'rec', size, 'ext', 1)
  r.reaches = '1'
end

local function save_state(uid, c)
  if c.head then
    c.frames = c.frames or {}
    c.frames[#c.frames + 1] = 'head'
    c.frames[#c.frames + 1] = c.head
  end
  if c.frames or c.frames_gone then write_hash($frames .. uid, c.frames, c.frames_gone) end
  if c.values or c.values_gone then write_hash($values .. uid, c.values, c.values_gone) end
end

local function trim_inbox(uid, r, done)
  local left = r.posted - done
  if left > 0 then
    redis.call('LTRIM', $inbox .. uid, -left, -1)
  else
    redis.call('DEL', $inbox .. uid)
  end
end

local function subscribe(uid, frame, types, filters)
  -- A changed subscription keeps its position.
  local since = unsubscribe(uid, frame) or published()
  redis.call('HSET', $wanted .. uid, frame,
    string.format('%d', since) .. '\n' .. table.concat(types, ' ') .. '\n' .. filters)
  for _, kind in ipairs(types) do redis.call('HSET', $wants .. kind, uid .. ':' .. frame, filters) end
end

-- Applies changes beyond the run itself; subscriptions first, because an event of the same commit may match.
local function apply_reach(uid, r, reach)
  if reach.inbox_done and r.posted > 0 then trim_inbox(uid, r, reach.inbox_done) end
  if reach.wants then
    redis.call('HSET', $run .. uid, 'ext', 1)
    r.reaches = '1'
    for _, wanted in ipairs(reach.wants) do subscribe(uid, unpack(wanted)) end
    offer_links(uid, r, reach.wants)
  end
  for _, frame in ipairs(reach.wants_gone or {}) do unsubscribe(uid, frame) end
  for _, frame in ipairs(reach.children_gone or {}) do abandon_child(uid, frame) end
  for _, child in ipairs(reach.children or {}) do
    if not start_child(uid, r, reach.scheduled, unpack(child)) then r.left_out = true end
  end
  for _, event in ipairs(reach.emits or {}) do publish(unpack(event)) end
  for _, sink in ipairs(reach.outbox or {}) do outbox_push(sink[1], sink[2]) end
end

local function end_lease(uid, r)
  unleased[#unleased + 1] = uid
  local load = load_of(r.api)
  load.run = math.max(0, load.run - 1)
  rq_end_execution(uid, r.token, r.worker)
end

local function end_run(uid, c, r)
  local tasks, journal
  if r.seq == 0 and r.attempt == 1 and not r.reaches then
    tasks, journal = {}, c.journal and table.concat(c.journal, '\n') or ''
    for i, task in ipairs(c.tasks or {}) do
      if i > $task_rows then break end
      tasks[i] = {i, unpack(task)}
    end
  else
    save_rows(uid, c)
    tasks, journal = fold_tasks(uid), fold_journal(uid)
  end
  if c.status == 'faulted' then save_state(uid, c) end
  r.seq = c.seq
  r.handler, r.group = c.handler, c.group
  end_lease(uid, r)
  rq_outcome(uid, r, c.status, c.exc or '')
  finish(uid, r, c.status, c.output or '', c.error or '', tasks, journal, c.seal)
end

local function continue_run(uid, c, r)
  local due = c.due or 0
  save_rows(uid, c)
  save_state(uid, c)
  local fields = {'seq', c.seq, 'st', c.status, 'wt', c.waiting or '', 'due', due}
  if c.deadline then
    fields[#fields + 1] = 'ddl'
    fields[#fields + 1] = c.deadline
  end
  redis.call('HSET', $run .. uid, unpack(fields))
  if c.move == 'keep' then
    leases[#leases + 1] = now_ms + lease_ms
    leases[#leases + 1] = uid
    return false
  end
  end_lease(uid, r)
  redis.call('HSET', $run .. uid, 'wkr', '')
  if r.suspended and not r.cancelled then
    set_suspended(uid, r, c.move == 'queue' and 'running' or c.status)
    return false
  end
  local woken = c.move == 'queue' or r.cancelled or has_messages(uid, r) or (due > 0 and due <= now_ms)
  if woken then
    wake(uid, r.api)
  else
    rq_forget(uid)
    redis.call('HSET', $run .. uid, 'pl', 'timer')
    if due > 0 then redis.call('ZADD', $timers, due, uid) end
    fold(uid)
  end
  return woken
end

local function bits(applied, r, woken)
  return applied + (r.cancelled and 2 or 0) + (woken and 4 or 0) + (r.suspended and 8 or 0)
    + (r.left_out and 16 or 0)
end

for i, c in ipairs(cmsgpack.unpack(ARGV[2])) do
  local uid, result = c.uid, 0
  local r = record(uid)
  if not r then
    local e = ended_record(uid)
    if e and tonumber(e.token) == c.token and tonumber(e.seq) == c.seq then result = 1 end
  elseif r.token == c.token and r.seq == c.seq then
    result = bits(1, r)
  elseif r.token == c.token and r.seq + 1 == c.seq and r.state == 'lease' and c.reach and c.reach.children
    and not c.reach.scheduled and family_is_full(uid, #c.reach.children) then
    result = 32
  elseif r.token == c.token and r.seq + 1 == c.seq and r.state == 'lease' and c.reach and c.reach.children
    and uids_are_taken(c.reach.children) then
    result = 64
  elseif r.token == c.token and r.seq + 1 == c.seq and r.state == 'lease' then
    index(uid, r.api, r.created, r.status, c.status)
    r.status = c.status
    if c.reach then apply_reach(uid, r, c.reach) end
    if c.recorded then save_recorded(uid, r, c.recorded) end
    if c.move == 'end' then
      end_run(uid, c, r)
      result = 1
    else
      result = bits(1, r, continue_run(uid, c, r))
    end
  end
  results[i] = result
end

if #leases > 0 then redis.call('ZADD', $leases, unpack(leases)) end
if #unleased > 0 then redis.call('ZREM', $leases, unpack(unleased)) end
rq_save_executions()
rq_count()
save_loads()
save_index()
announce_ended()
ring()
ring_bus()
ring_outboxes()
return {now_ms, unpack(results)}
