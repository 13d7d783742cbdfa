-- What the moves need to know of a run that has not ended; nil where there is none.
local function record(uid)
  local v = redis.call('HMGET', $run .. uid, 'api', 'f', 'crt', 'sta', 'att', 'tok', 'seq', 'ret', 'dth',
    'cxl', 'st', 'pl', 'wkr', 'lst', 'sol', 'wok', 'due', 'ddl')
  if not v[1] then return nil end
  return {api = v[1], facts = v[2], created = tonumber(v[3]), started = tonumber(v[4]) or 0,
    attempt = tonumber(v[5]) or 1, token = tonumber(v[6]) or 0, seq = tonumber(v[7]) or 0,
    retention = tonumber(v[8]), deaths = tonumber(v[9]) or 0, reason = v[10] or '', cancelled = v[10],
    status = v[11], place = v[12], worker = v[13] or '', leased = v[14] or '', solitary = v[15] == '1',
    event = v[16] == '1', due = tonumber(v[17]), deadline = tonumber(v[18])}
end
