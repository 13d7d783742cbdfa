-- Outboxes of the sinks: bounded lists; where one is full, its oldest entries make room and are counted.
local started = {}

local function put_aside(sink, events)
  local size = redis.pcall('RPUSH', $outbox .. sink, unpack(events))
  if type(size) == 'table' then
    -- An outsider's: the sink's courier clears it away, and the run goes on.
    return
  end
  if size == #events then
    redis.call('SADD', $sinks, sink)
    started[#started + 1] = sink
  end
  local over = size - $outbox_entries
  if over > 0 then
    redis.call('LTRIM', $outbox .. sink, over, -1)
    redis.call('HINCRBY', $sink .. sink, 'gone', over)
    redis.call('HINCRBY', $sink .. sink, 'dropped', over)
  end
end

local function ring_couriers()
  for _, sink in ipairs(started) do redis.call('PUBLISH', $outbox_channel, sink) end
  started = {}
end
