-- Ends overrides, so that the values in git apply.
-- keys: gate of each API, expiries, live
-- args: api…
-- returns: number of removed overrides
-- invariant: an API without a value in git keeps its own switch.
-- include: time
local count = 0
for _, api in ipairs(ARGV) do
  local g = redis.call('HMGET', $gate .. api, 'override', 'base')
  if g[1] and g[1] ~= '' then
    count = count + 1
    redis.call('ZREM', $expiries, api)
    redis.call('HSET', $gate .. api, 'override', '', 'until', '', 'on', g[2])
    redis.call('HDEL', $gate .. api, 'author', 'reason', 'at')
  end
end
if count > 0 then
  redis.call('HINCRBY', $live, 'changes', 1)
  redis.call('PUBLISH', $change_channel, 'gates')
end
return count
