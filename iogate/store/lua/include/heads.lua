-- Head of a run: what lists show of it, without its input, output, tasks and journal.
-- needs: ended
local LIVE_HEAD = {'st', 'api', 'f', 'pl', 'att', 'crt', 'sta', 'par', 'at'}

local function live_head(v)
  return {status = v[1], api = v[2], facts = v[3], state = v[4], attempt = v[5], created = v[6], started = v[7],
    parent = v[8], attributes = v[9]}
end

local function parked_head(packed)
  local run, fields, v = cmsgpack.unpack(packed)[1], {}, {}
  for i = 1, #run, 2 do fields[run[i]] = run[i + 1] end
  for i, name in ipairs(LIVE_HEAD) do v[i] = fields[name] end
  return live_head(v)
end

local function ended_head(packed)
  local e = ended_fields(packed)
  e.state = 'end'
  return e
end

local function has_words(packed, words)
  for _, word in ipairs(words) do
    if not string.find(packed, word, 1, true) then return false end
  end
  return true
end

-- Returns nil for a run that does not exist any more, that another program has overwritten, or whose record lacks
-- one of `words`: a search in the packed record costs a tenth of reading it.
local function head_of(uid, words)
  local packed, read = redis.pcall('GET', $end .. uid), ended_head
  if type(packed) ~= 'string' then packed, read = redis.pcall('GET', $parked .. uid), parked_head end
  if type(packed) == 'string' then
    if not has_words(packed, words) then return nil end
    local known, found = pcall(read, packed)
    return known and found or nil
  end
  local v = redis.pcall('HMGET', $run .. uid, unpack(LIVE_HEAD))
  return not v.err and v[1] and live_head(v) or nil
end
