-- Starts another attempt of a faulted run, queued like a woken one.
-- keys: end, big, recorded, run, frames, values, tasks, journal, index, gate, link, RQ's, woken, operation
-- args: uid, attempt that faulted, facts, MessagePack of {head, {frame, bytes…}, {digest, value…}} or '' for
--   the stored state, detail of the journal entry in JSON, key of the operation or '', MessagePack of {name, end of the
--   used URL in ms, end of the new one}… of renewed links or ''
-- returns: 'retried' | 'unknown' | 'running' | 'completed' | 'cancelled' | 'changed' | 'lost' (its state is gone)
-- invariant: tasks, journal, creation and first start are kept; deaths and deadline are reset. An attempt is
--   retried once, and each repetition returns 'retried'.
-- include: drained time index queue rq states lanes record journal files operation ended statistics
local uid, attempt = ARGV[1], tonumber(ARGV[2])
local known = answered(ARGV[6])
if known then return known end
local e = ended_record(uid)
if not e then
  local r = record(uid)
  if r and r.attempt == attempt + 1 then return 'retried' end
  return r and 'running' or 'unknown'
end
if e.status ~= 'faulted' then return e.status end
if e.attempt ~= attempt then return 'changed' end

if ARGV[4] ~= '' then
  local state = cmsgpack.unpack(ARGV[4])
  redis.call('DEL', $frames .. uid, $values .. uid)
  redis.call('HSET', $frames .. uid, 'head', state[1])
  each_slice(state[2], 1000, function(...) redis.call('HSET', $frames .. uid, ...) end)
  each_slice(state[3], 1000, function(...) redis.call('HSET', $values .. uid, ...) end)
elseif redis.call('HEXISTS', $frames .. uid, 'head') == 0 then
  -- Without a commit before its end, no state was lost: start from the beginning.
  if tonumber(e.seq) > 1 then return 'lost' end
  e.seq = 0
end
for _, renewed in ipairs((ARGV[7] or '') ~= '' and cmsgpack.unpack(ARGV[7]) or {}) do
  local link = $link .. uid .. ':' .. renewed[1]
  redis.call('HSET', link, 'spent', renewed[2])
  redis.call('HDEL', link, 'use')
  redis.call('PEXPIRE', link, math.max(1, renewed[3] - now_ms))
end
redis.call('PERSIST', $frames .. uid)
redis.call('PERSIST', $values .. uid)

if e.big == 1 then
  local parts = redis.call('HMGET', $big .. uid, 'input', 'tasks', 'journal')
  e.input, e.journal = parts[1] or e.input, parts[3] or e.journal
  e.tasks = parts[2] and cmsgpack.unpack(parts[2]) or e.tasks
end
for _, task in ipairs(e.tasks) do
  local order, reference, name, state, began, ended_at, tries, times = unpack(task)
  redis.call('HSET', $tasks .. uid, reference,
    cmsgpack.pack({o = order, n = name, s = state, b = began, e = ended_at, a = tries, c = times}))
end
for kept in string.gmatch(e.journal, '[^\n]+') do redis.call('RPUSH', $journal .. uid, kept) end

local fields = {'api', e.api, 'f', ARGV[3], 'in', e.input, 'crt', e.created, 'ret', e.retention, 'st', 'pending',
  'att', attempt + 1, 'tok', e.token, 'seq', e.seq}
local function set(name, value)
  if (tonumber(value) or 0) == 0 then return end
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
set('sta', e.started)
set('rta', now_ms)
set('msg', e.posted)
set('dep', e.depth)
set('jdr', e.dropped)
set('mrg', e.merged)
if (e.key or '') ~= '' then
  fields[#fields + 1] = 'ck'
  fields[#fields + 1] = e.key
end
if (e.attributes or '') ~= '' then
  fields[#fields + 1] = 'at'
  fields[#fields + 1] = e.attributes
end
local after = redis.call('HGET', $after .. uid, 'aft')
if after then
  fields[#fields + 1] = 'aft'
  fields[#fields + 1] = after
  -- The end that it tells is no longer the last word.
  redis.call('ZREM', $callbacks, uid)
end
local timeout_s = tonumber(cjson.decode(ARGV[3])[5])
if timeout_s then set('ddl', now_ms + math.floor(timeout_s * 1000)) end
redis.call('HSET', $run .. uid, unpack(fields))
if (e.files or '') ~= '' then
  redis.call('HSET', $run .. uid, 'fl', e.files)
  need_files(e.files, uid, 'inf')
end
-- A replay could not tell the attempts apart.
redis.call('DEL', $end .. uid, $big .. uid, $recorded .. uid)
-- Not sent to sinks, because the DSL has no such event.
write_entries(uid, {journal_entry('workflow.retried', nil, ARGV[5])})
index(uid, e.api, e.created, e.status, 'pending')
if waits_for_place(uid, e.api, false) then rq_forget(uid) else wake(uid, e.api) end
count_one(uid, {api = e.api, facts = ARGV[3], depth = tonumber(e.depth) or 0}, now_ms, 'r')
save_statistics()
save_loads()
save_index()
ring()
return answer_once(ARGV[6], 'retried')
