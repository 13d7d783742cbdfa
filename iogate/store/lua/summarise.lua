-- Reads the summaries of some runs.
-- keys: run, parked, end
-- args: number of fields of a live run, field…, uid…
-- returns: {fields of the live run, folded run or nil, ended record or nil} for each uid, flat
-- invariant: reads only, each run in one step; works on a full server.
local fields = {}
for i = 2, 1 + tonumber(ARGV[1]) do fields[#fields + 1] = ARGV[i] end
local answer = {}
for i = 2 + #fields, #ARGV do
  local uid, n = ARGV[i], #answer
  answer[n + 1] = redis.call('HMGET', $run .. uid, unpack(fields))
  answer[n + 2] = redis.call('GET', $parked .. uid)
  answer[n + 3] = redis.call('GET', $end .. uid)
end
return answer
