-- Outboxes of the sinks: bounded lists. If one is full, its oldest entries are dropped and counted.
-- needs: index
local started = {}

local function outbox_push(sink, events)
  local size
  each_slice(events, 1000, function(...) size = redis.pcall('RPUSH', $outbox .. sink, ...) end)
  if type(size) ~= 'number' then
    -- Another program has overwritten the key; delivery repairs it, and the run continues.
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

local function ring_outboxes()
  for _, sink in ipairs(started) do redis.call('PUBLISH', $outbox_channel, sink) end
  started = {}
end
