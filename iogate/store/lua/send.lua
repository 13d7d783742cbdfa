-- Gives the oldest entries of an outbox to its courier, or removes what the courier is done with.
-- keys: outbox, sink
-- args: 'take', sink, owner, limit | 'done', sink, owner, number up to which entries go
-- returns: {how many entries have left, entry…} | 1, 0 where another courier has the lease
-- invariant: only the courier with the lease removes entries; a repeated 'done' removes nothing more.
-- include: drained time
local action, owner = ARGV[1], ARGV[3]
local key, list = $sink .. ARGV[2], $outbox .. ARGV[2]
-- What an outsider left in their place would hold up the sink for ever.
if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
if redis.call('TYPE', list).ok ~= 'list' then redis.call('DEL', list) end
local s = redis.call('HMGET', key, 'owner', 'until', 'gone')
local gone = tonumber(s[3]) or 0
if action == 'done' then
  if s[1] ~= owner then return 0 end
  local count = tonumber(ARGV[4]) - gone
  if count > 0 then
    count = math.min(count, redis.call('LLEN', list))
    redis.call('LTRIM', list, count, -1)
    redis.call('HSET', key, 'gone', gone + count)
  end
  redis.call('HSET', key, 'until', now_ms + $outbox_lease_ms)
  return 1
end
if redis.call('EXISTS', list) == 0 then return {gone} end
if s[1] and s[1] ~= owner and (tonumber(s[2]) or 0) > now_ms then return {gone} end
redis.call('HSET', key, 'owner', owner, 'until', now_ms + $outbox_lease_ms)
return {gone, unpack(redis.call('LRANGE', list, 0, tonumber(ARGV[4]) - 1))}
