-- What the moves need to know of a run that has not ended; nil where there is none, or something that an
-- outsider wrote there and that no move could handle.
local function whole(text)
  return text and #text < 16 and string.match(text, '^%d+$') and tonumber(text) or nil
end

local function record(uid)
  local v = redis.pcall('HMGET', $run .. uid, 'api', 'f', 'crt', 'sta', 'att', 'tok', 'seq', 'ret', 'dth',
    'cxl', 'st', 'pl', 'wkr', 'lst', 'sol', 'msg', 'due', 'ddl', 'sus', 'dep', 'ext')
  if v.err or not v[1] then return nil end
  local created, retention = whole(v[3]), whole(v[8])
  if not (created and retention and v[2] and v[11] and v[12] and string.match(uid, '^%d+$')) then return nil end
  return {api = v[1], facts = v[2], created = created, started = whole(v[4]) or 0,
    attempt = whole(v[5]) or 1, token = whole(v[6]) or 0, seq = whole(v[7]) or 0,
    retention = retention, deaths = whole(v[9]) or 0, reason = v[10] or '', cancelled = v[10],
    status = v[11], place = v[12], worker = v[13] or '', leased = v[14] or '', solitary = v[15] == '1',
    posted = whole(v[16]) or 0, due = tonumber(v[17]), deadline = tonumber(v[18]), suspended = v[19],
    depth = whole(v[20]) or 0, reaches = v[21]}
end
