-- Reads the journal of a live run after an entry.
-- keys: run, journal, parked
-- args: uid, number of the entry, maximum number of entries
-- returns: {number of the newest entry, number of the first returned entry, entry…}; nil if there is no live run
-- invariant: reads only.
local uid, after, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local v = redis.call('HMGET', $run .. uid, 'pl', 'jdr')
local dropped, size, folded = tonumber(v[2]) or 0, 0, nil
if v[1] then
  size = redis.call('LLEN', $journal .. uid)
else
  local packed = redis.call('GET', $parked .. uid)
  if not packed then return nil end
  local run, _, journal = unpack(cmsgpack.unpack(packed))
  for i = 1, #run, 2 do
    if run[i] == 'jdr' then dropped = tonumber(run[i + 1]) or 0 end
  end
  size, folded = #journal, journal
end
local skipped = math.max(0, after - dropped)
local last = math.min(size, skipped + most)
local found = {dropped + size, dropped + skipped + 1}
if last <= skipped then return found end
local entries = folded or redis.call('LRANGE', $journal .. uid, skipped, last - 1)
for i = 1, last - skipped do found[i + 2] = entries[folded and skipped + i or i] end
return found
