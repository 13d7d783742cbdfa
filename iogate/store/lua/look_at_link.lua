-- Reads what the page of a one-time link shows.
-- keys: link, run, parked, end, wanted
-- args: uid, name
-- returns: {1 if the link was used, state of the run: 'live' | 'ended' | 'cancelled' | 'unknown', its facts,
--   {subscription…}}
-- invariant: reads only.
-- include: ended
local uid = ARGV[1]
local used = redis.call('EXISTS', $link .. uid .. ':' .. ARGV[2])
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
