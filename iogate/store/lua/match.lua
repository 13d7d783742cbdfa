-- Returns the next events to the matcher, the process that holds its lease.
-- keys: matcher, events
-- args: owner, limit, maximum size in bytes
-- returns: {1 if it is the matcher, 1 if more events wait, 'number event'…}; an invalid entry has the number 0
-- invariant: no event is removed; another process gets the lease only after its end.
-- include: drained time bus
local owner = ARGV[1]
local m = redis.call('HMGET', $matcher, 'owner', 'until')
local left_ms = (tonumber(m[2]) or 0) - now_ms
if m[1] ~= owner and left_ms > 0 then return {0, 0} end
-- Renew only after half of the lease, because each write is an fsync.
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
