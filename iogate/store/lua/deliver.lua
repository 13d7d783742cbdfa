-- Delivers matched events to the inboxes of the runs, and removes matched events.
-- keys: matcher, events, per run: run, wanted, inbox, RQ's; timers, gates
-- args: owner, number up to which events are removed (0: none), MessagePack list of [number, uid, frame]
-- returns: 1 plus the number of deliveries to full inboxes; 0 without any change if another process is the matcher
-- invariant: idempotent. A subscription gets each event once, in order, because it stores the number of its last
--   event. An error of one run, whose keys another program has overwritten, affects that run only (`pcall`).
-- include: drained time index queue states record inbox bus
if redis.call('HGET', $matcher, 'owner') ~= ARGV[1] then return 0 end
local upto = tonumber(ARGV[2])
local deliveries = cmsgpack.unpack(ARGV[3])

local last = upto
for _, delivery in ipairs(deliveries) do last = math.max(last, delivery[1]) end
local events, matched = {}, 0
each_event(function(number, event)
  if number > last then return true end
  events[number] = event
  if number <= upto then matched = matched + 1 end
end)

local lost = 0
local function deliver(number, uid, frame)
  local wanted = redis.call('HGET', $wanted .. uid, frame)
  local since, rest = string.match(wanted or '', '^(%d+)(\n.*)$')
  local event = events[number]
  local r = event and since and number > tonumber(since) and record(uid)
  if r then
    redis.call('HSET', $wanted .. uid, frame, string.format('%d', number) .. rest)
    if r.posted >= $inbox_entries and redis.call('LLEN', $inbox .. uid) >= $inbox_entries then
      lost = lost + 1
    else
      post(uid, r, frame, 'event', event)
    end
  end
end

-- A server that rejects writes fails here, before any event is removed; errors below are of single runs.
redis.call('HSET', $matcher, 'until', now_ms + $matcher_ms)
for _, delivery in ipairs(deliveries) do pcall(deliver, unpack(delivery)) end
if matched > 0 then redis.call('LTRIM', $events, matched, -1) end
save_loads()
save_index()
notify_workers()
ring()
return 1 + lost
