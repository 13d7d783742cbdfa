-- Registers the sinks in the settings of a worker, and removes those that no worker has registered for long.
-- keys: sinks, sink, outbox
-- args: name, '1' if it wants lifecycle events, name, …
-- returns: {name, entries, 1 if it is removed}…: sinks that no worker names, once when that begins and once when
--   they are removed
-- invariant: a sink is removed $sink_kept_ms after a worker found it unnamed, unless it is registered meanwhile.
-- include: time
-- A key of another type, written by another program, would make scripts fail.
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
