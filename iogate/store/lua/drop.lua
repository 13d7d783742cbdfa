-- Removes programs and contents that no publish has stored after a time.
-- keys: blobs; each program or content
-- args: that time in s, key…
-- returns: number of removed ones
-- invariant: one that a publish has stored again stays: a publish sets the time before it looks what is stored.
local gone = 0
for i = 2, #ARGV do
  local at = redis.call('ZSCORE', $blobs, ARGV[i])
  if at and tonumber(at) <= tonumber(ARGV[1]) then
    redis.call('DEL', ARGV[i])
    redis.call('ZREM', $blobs, ARGV[i])
    gone = gone + 1
  end
end
return gone
