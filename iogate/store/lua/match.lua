-- Gives the next events to the matcher: the one process whose lease has not ended.
-- keys: matcher, events
-- args: owner, limit, most bytes
-- returns: {1 where it is the matcher, 1 where more events wait, 'number event'…}; the number of what is no event is 0
-- invariant: nothing leaves the list here; the lease goes to another only once it has ended.
-- include: drained time bus
local owner = ARGV[1]
local m = redis.call('HMGET', $matcher, 'owner', 'until')
local left_ms = (tonumber(m[2]) or 0) - now_ms
if m[1] ~= owner and left_ms > 0 then return {0, 0} end
-- Half of the lease is enough for another second: each write is an fsync.
if m[1] ~= owner or left_ms < $matcher_ms / 2 or left_ms > $matcher_ms then
  redis.call('HSET', $matcher, 'owner', owner, 'until', now_ms + $matcher_ms)
end
local answer, size, limit, most = {1, 0}, 0, tonumber(ARGV[2]), tonumber(ARGV[3])
each_event(function(number, _, entry)
  size = size + #entry
  if #answer - 2 == limit or (#answer > 2 and size > most) then
    answer[2] = 1
    return true
  end
  answer[#answer + 1] = number > 0 and entry or '0 ' .. entry
end)
return answer
