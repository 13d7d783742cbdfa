-- Publishes events, unless memory is above the watermark.
-- keys: seen, events, wants, matcher, full
-- args: MessagePack list of [fingerprint, type, event]
-- returns: number of new events; -1 if nothing is accepted
-- invariant: an event that was published within $seen_s is not published again.
-- include: drained bus
if redis.call('EXISTS', $full) == 1 then return -1 end
local count = 0
for _, event in ipairs(cmsgpack.unpack(ARGV[1])) do
  if publish(event[1], event[2], event[3]) then count = count + 1 end
end
ring_bus()
return count
