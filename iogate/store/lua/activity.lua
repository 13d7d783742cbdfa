-- Records changes by operators: the beginning of each before it happens, and its outcome afterwards.
-- keys: activity
-- args: 'begin', JSON of the entry | 'end', number of the entry, JSON of its outcome
-- returns: begin: number of the entry; end: 1 if the entry is still kept, else 0
-- invariant: numbers grow with time; at most $activity_kept entries are kept, and none for longer than $activity_ms.
--   A drained store records as well: to open it again is a change, too.
-- include: time
if ARGV[1] == 'end' then
  if not redis.call('HGET', $activity, ARGV[2]) then return 0 end
  redis.call('HSET', $activity, ARGV[2] .. ':end', string.format('%.0f ', now_ms) .. ARGV[3])
  return 1
end
local number = redis.call('HINCRBY', $activity, 'last', 1)
redis.call('HSET', $activity, number, string.format('%.0f ', now_ms) .. ARGV[2])
redis.call('PEXPIRE', $activity, $activity_ms)
local first = tonumber(redis.call('HGET', $activity, 'first') or 1)
for _ = 1, 100 do
  local entry = first < number and redis.call('HGET', $activity, first)
  local old = entry and now_ms - (tonumber(string.match(entry, '^%d+')) or 0) > $activity_ms
  if first >= number or (entry and not old and number - first < $activity_kept) then break end
  redis.call('HDEL', $activity, first, first .. ':end')
  first = first + 1
end
redis.call('HSET', $activity, 'first', first)
return number
