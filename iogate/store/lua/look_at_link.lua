-- Reads what the page of a one-time link shows.
-- keys: link, run, parked, end, wanted
-- args: uid, name, end of the link in ms
-- returns: {1 if the link was used, state of the run: 'live' | 'ended' | 'cancelled' | 'unknown', its facts,
--   {subscription…}}
-- invariant: reads only.
-- include: ended
local uid = ARGV[1]
local v = redis.call('HMGET', $link .. uid .. ':' .. ARGV[2], 'use', 'spent')
local used = (v[1] or v[2] and tonumber(ARGV[3]) <= tonumber(v[2])) and 1 or 0
local run = redis.call('HMGET', $run .. uid, 'f', 'cxl')
if not run[1] then
  local packed = redis.call('GET', $parked .. uid)
  if packed then
    local fields = {}
    local flat = cmsgpack.unpack(packed)[1]
    for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
    run = {fields.f, fields.cxl}
  end
end
if run[1] then
  return {used, run[2] and 'cancelled' or 'live', run[1], redis.call('HVALS', $wanted .. uid)}
end
local e = ended_record(uid)
if not e then return {used, 'unknown', '', {}} end
return {used, e.status == 'cancelled' and 'cancelled' or 'ended', e.facts, {}}
