-- Publishing on the event bus. An event is a list entry after its number; an event without any subscription to
-- its type is not stored.
local rung = false

-- Number of the last published event: a new subscription gets only later ones.
local function published()
  return tonumber(redis.call('HGET', $matcher, 'published')) or 0
end

-- Returns false for a duplicate by fingerprint; `print` is empty for an event that needs no deduplication.
local function publish(print, kind, event)
  if print ~= '' and not redis.call('SET', $seen .. print, '1', 'NX', 'EX', $seen_s) then return false end
  if redis.call('EXISTS', $wants .. kind, $wants) > 0 then
    local number = redis.call('HINCRBY', $matcher, 'published', 1)
    redis.call('RPUSH', $events, string.format('%d ', number) .. event)
    rung = true
  end
  return true
end

-- Calls `visit` with number, event and entry, oldest first, until it returns true. An entry of another program
-- has the number 0, and is removed with the events around it.
local function each_event(visit)
  local first, highest = 0, published()
  while true do
    local entries = redis.call('LRANGE', $events, first, first + 15)
    for _, entry in ipairs(entries) do
      local digits = string.match(entry, '^(%d+) ') or ''
      local number = #digits < 16 and tonumber(digits) or 0
      if number > highest then number = 0 end
      if visit(number, string.sub(entry, #digits + 2), entry) then return end
    end
    if #entries < 16 then return end
    first = first + 16
  end
end

local function ring_bus()
  if rung then redis.call('PUBLISH', $events_channel, '1') end
end
