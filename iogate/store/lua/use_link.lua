-- Uses a one-time link: records the use and delivers its event to the run, together or not at all.
-- keys: link, run, parked, end, wanted, inbox, timers, gate, index, RQ's, backlog, woken, full
-- args: uid, name, sealed event, end of the link in ms, id of the use
-- returns: 'ok' | 'used' | 'expired' | 'ended' | 'cancelled' | 'unknown' | 'memory'
-- invariant: one use of a link succeeds. A repetition with the id of that use returns 'ok' and delivers nothing.
-- include: drained time index queue states record inbox one_time_links
local uid, name, event, ends_ms, use = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local key = $link .. uid .. ':' .. name
local v = redis.call('HMGET', key, 'use', 'spent')
if v[2] and ends_ms <= tonumber(v[2]) then return 'used' end
if v[1] then return v[1] == use and 'ok' or 'used' end
if now_ms >= ends_ms then return 'expired' end
local r = record(uid)
if not r then return redis.call('EXISTS', $end .. uid) == 1 and 'ended' or 'unknown' end
if r.cancelled then return 'cancelled' end
if redis.call('EXISTS', $full) == 1 then return 'memory' end
redis.call('HSET', key, 'use', use)
local left_ms = ends_ms - now_ms
if not deliver_link(uid, r, $link_event .. name, event) then
  -- The run may begin to listen after the end of the link.
  redis.call('HSET', key, 'event', event)
  left_ms = left_ms + $link_event_ms
end
redis.call('PEXPIRE', key, math.ceil(left_ms))
save_loads()
save_index()
notify_workers()
ring()
return 'ok'
