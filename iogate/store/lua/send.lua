-- Returns the oldest entries of an outbox to the worker that delivers it, or removes delivered entries.
-- keys: outbox, sink
-- args: 'take', sink, owner, limit | 'done', sink, owner, number up to which entries are removed
-- returns: {number of entries removed so far, entry…} | 1, 0 if another owner has the lease
-- invariant: only the owner of the lease removes entries; 'done' is idempotent.
-- include: drained time
local action, owner = ARGV[1], ARGV[3]
local key, list = $sink .. ARGV[2], $outbox .. ARGV[2]
-- A key of another type, written by another program, would block the sink.
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
