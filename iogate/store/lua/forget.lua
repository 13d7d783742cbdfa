-- Removes runs that do not exist any more from the index of an API.
-- keys: index; per run: run, parked, end
-- args: API, uid…
-- returns: number of removed runs
-- invariant: a run that exists stays.
local gone = {}
for i = 2, #ARGV do
  if redis.call('EXISTS', $run .. ARGV[i], $parked .. ARGV[i], $end .. ARGV[i]) == 0 then gone[#gone + 1] = ARGV[i] end
end
if #gone > 0 then redis.call('ZREM', $index .. ARGV[1], unpack(gone)) end
return #gone
