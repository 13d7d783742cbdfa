-- Says which sinks the settings of a worker name, and forgets those that no worker has named for long.
-- keys: sinks, sink, outbox
-- args: name, '1' where it wants the lifecycle, name, …
-- returns: {name, entries, 1 where it is forgotten}…: those that nobody names, once when that begins and once
--   when they go
-- invariant: a sink goes only $sink_kept_ms after a worker saw that nobody names it, if nobody does meanwhile.
-- include: time
-- What an outsider left in their place is no set, and would fault each run that is told of.
if redis.call('TYPE', $sinks).ok ~= 'set' then redis.call('DEL', $sinks) end
for i = 1, #ARGV, 2 do
  redis.call('SADD', $sinks, ARGV[i])
  redis.call('HSET', $sink .. ARGV[i], 'named', now_ms, 'lifecycle', ARGV[i + 1])
  redis.call('HDEL', $sink .. ARGV[i], 'unnamed')
end
local answer = {}
local function report(sink, goes)
  answer[#answer + 1] = {sink, redis.call('LLEN', $outbox .. sink), goes}
end
for _, sink in ipairs(redis.call('SMEMBERS', $sinks)) do
  local v = redis.call('HMGET', $sink .. sink, 'named', 'unnamed')
  local unnamed = tonumber(v[2])
  if not unnamed and now_ms - (tonumber(v[1]) or 0) > $sink_named_ms then
    redis.call('HSET', $sink .. sink, 'unnamed', now_ms)
    report(sink, 0)
  elseif unnamed and now_ms - unnamed > $sink_kept_ms then
    report(sink, 1)
    redis.call('DEL', $sink .. sink, $outbox .. sink)
    redis.call('SREM', $sinks, sink)
  end
end
return answer
