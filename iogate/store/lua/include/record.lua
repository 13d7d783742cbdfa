-- Record of a live run, as scripts need it to change its state; nil if there is none or it is invalid.
--
-- A small waiting run is folded: its hash, frames, tasks and journal become one packed string, which takes a third
-- of the memory. Reading the record unfolds it.

-- Fields that are only valid during a lease are not folded.
local UNFOLDED = {wkr = true, lst = true, sol = true, los = true, lft = true}

local function fold(uid)
  local run, frames = $run .. uid, $frames .. uid
  if redis.call('HLEN', frames) > $folded_parts or redis.call('HLEN', $tasks .. uid) > $folded_parts
    or redis.call('LLEN', $journal .. uid) > $folded_parts
    or redis.call('HSTRLEN', run, 'in') > $inline_bytes then return end
  local fields, flat = {}, redis.call('HGETALL', run)
  for i = 1, #flat, 2 do
    if not UNFOLDED[flat[i]] then
      fields[#fields + 1] = flat[i]
      fields[#fields + 1] = flat[i + 1]
    end
  end
  local packed = cmsgpack.pack({fields, redis.call('HGETALL', $tasks .. uid),
    redis.call('LRANGE', $journal .. uid, 0, -1), redis.call('HGETALL', frames)})
  if #packed > $inline_bytes then return end
  redis.call('SET', $parked .. uid, packed)
  redis.call('DEL', run, frames, $tasks .. uid, $journal .. uid)
end

local function is_live(uid)
  return redis.call('EXISTS', $run .. uid, $parked .. uid) > 0
end

-- Value of the field `lft`: the sequence number of the state, and the worker that released it without a commit.
local function last_worker_field(r)
  return string.format('%d %s', r.seq, r.worker)
end

-- Returns the worker in `lft`, which had started the current tasks of the state; nil after a later commit.
local function last_worker(field, r)
  local seq, worker = string.match(field or '', '^(%d+) (.+)$')
  return tonumber(seq) == r.seq and worker or nil
end

local RECORD = {'api', 'f', 'crt', 'sta', 'att', 'tok', 'seq', 'ret', 'dth', 'cxl', 'st', 'pl', 'wkr', 'lst',
  'sol', 'msg', 'due', 'ddl', 'sus', 'dep', 'ext', 'fl'}

local function whole(text)
  return text and #text < 16 and string.match(text, '^%d+$') and tonumber(text) or nil
end

local function read_record(uid, v)
  local created, retention = whole(v[3]), whole(v[8])
  if not (created and retention and v[2] and v[11] and v[12] and string.match(uid, '^%d+$')) then return nil end
  return {api = v[1], facts = v[2], created = created, started = whole(v[4]) or 0,
    attempt = whole(v[5]) or 1, token = whole(v[6]) or 0, seq = whole(v[7]) or 0,
    retention = retention, deaths = whole(v[9]) or 0, reason = v[10] or '', cancelled = v[10],
    status = v[11], state = v[12], worker = v[13] or '', leased = v[14] or '', solitary = v[15] == '1',
    posted = whole(v[16]) or 0, due = tonumber(v[17]), deadline = tonumber(v[18]), suspended = v[19],
    depth = whole(v[20]) or 0, reaches = v[21], files = v[22] or nil}
end

local function folded_record(uid, run)
  local fields, v = {}, {}
  for i = 1, #run, 2 do fields[run[i]] = run[i + 1] end
  for i, name in ipairs(RECORD) do v[i] = fields[name] or false end
  return read_record(uid, v)
end

local function restore(uid, packed)
  local run, tasks, journal, frames = unpack(cmsgpack.unpack(packed))
  local r = folded_record(uid, run)
  redis.call('HSET', $run .. uid, unpack(run))
  if #tasks > 0 then redis.call('HSET', $tasks .. uid, unpack(tasks)) end
  if #journal > 0 then redis.call('RPUSH', $journal .. uid, unpack(journal)) end
  if #frames > 0 then redis.call('HSET', $frames .. uid, unpack(frames)) end
  redis.call('DEL', $parked .. uid)
  return r
end

local function unfold(uid)
  local packed = redis.pcall('GET', $parked .. uid)
  if type(packed) ~= 'string' then return nil end
  local known, r = pcall(restore, uid, packed)
  return known and r or nil
end

local function record(uid)
  local v = redis.pcall('HMGET', $run .. uid, unpack(RECORD))
  if v.err then return nil end
  if v[1] then return read_record(uid, v) end
  return unfold(uid)
end
