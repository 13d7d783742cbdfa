-- Reads the messages of a leased run.
-- keys: run, inbox
-- args: uid, token
-- returns: {number of the first, 'frame kind data'…}; nil if the lease is lost
-- invariant: reads only.
-- include: record messages
local r = record(ARGV[1])
if not r or r.state ~= 'lease' or r.token ~= tonumber(ARGV[2]) then return nil end
local first, found = messages(ARGV[1], r)
return {first, unpack(found)}
