-- Removes runs that do not exist any more from the indexes of an API.
-- keys: index, attributes; per run: run, parked, end
-- args: API, number of runs, uid…, member of the index of attributes…
-- returns: {number of runs removed from the index, number of members removed from the index of attributes}
-- invariant: a run that exists stays.
local function forget(key, first, last, offset)
  local gone = {}
  for i = first, last do
    local uid = string.sub(ARGV[i], offset)
    if redis.call('EXISTS', $run .. uid, $parked .. uid, $end .. uid) == 0 then gone[#gone + 1] = ARGV[i] end
  end
  if #gone > 0 then redis.call('ZREM', key, unpack(gone)) end
  return #gone
end
local last = 2 + tonumber(ARGV[2])
return {forget($index .. ARGV[1], 3, last, 1),
  forget($attributes .. ARGV[1], last + 1, #ARGV, $attribute_hash + $attribute_time + 1)}
