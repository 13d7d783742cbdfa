-- Puts matched events into the inboxes of the runs that want them, and forgets what is matched.
-- keys: matcher, events, per run: run, wanted, inbox, RQ's; timers, gates
-- args: owner, number up to which events are forgotten (0: none), MessagePack list of [number, uid, frame]
-- returns: 1, and one more for each delivery that found a full inbox; 0 where another process is the matcher:
--   nothing was done
-- invariant: a subscription gets each event once, in order, however often this is repeated: it knows the
--   number of the last one that it got, and what was published before it began. What fails for one run, since
--   an outsider put something else where its keys belong, fails for that run alone (`pcall`).
-- include: drained time index queue rq room states record inbox bus
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

-- A server that takes no writes says so here, before anything is forgotten: what fails below is one run's.
redis.call('HSET', $matcher, 'until', now_ms + $matcher_ms)
for _, delivery in ipairs(deliveries) do pcall(deliver, unpack(delivery)) end
if matched > 0 then redis.call('LTRIM', $events, matched, -1) end
save_loads()
save_index()
tell()
ring()
return 1 + lost
