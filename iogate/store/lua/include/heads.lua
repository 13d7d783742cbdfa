-- Head of a run: what lists show of it, without its input, output, tasks and journal.
-- needs: ended
local LIVE_HEAD = {'st', 'api', 'f', 'pl', 'att', 'crt', 'sta', 'par'}

local function live_head(v)
  return {status = v[1], api = v[2], facts = v[3], state = v[4], attempt = v[5], created = v[6], started = v[7],
    parent = v[8]}
end

local function parked_head(packed)
  local run, fields, v = cmsgpack.unpack(packed)[1], {}, {}
  for i = 1, #run, 2 do fields[run[i]] = run[i + 1] end
  for i, name in ipairs(LIVE_HEAD) do v[i] = fields[name] end
  return live_head(v)
end

local function ended_head(uid)
  local e = ended_record(uid)
  if e then e.state = 'end' end
  return e
end

-- Returns nil for a run that does not exist any more, or that another program has overwritten.
local function head_of(uid)
  local v = redis.pcall('HMGET', $run .. uid, unpack(LIVE_HEAD))
  if v.err then return nil end
  if v[1] then return live_head(v) end
  local packed = redis.pcall('GET', $parked .. uid)
  local known, found
  if type(packed) == 'string' then
    known, found = pcall(parked_head, packed)
  else
    known, found = pcall(ended_head, uid)
  end
  return known and found or nil
end
