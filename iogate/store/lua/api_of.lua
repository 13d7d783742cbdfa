-- Returns the API that started a run.
-- keys: run, parked, end
-- args: uid
-- returns: id of the API; nil if there is no run, or its record is unreadable
-- invariant: reads only, and with the same commands in each case, so that it takes the same time; no large part is
--   read, and a packed record is decoded up to the id. Works on a full server.
local uid = ARGV[1]
local live = redis.pcall('HGET', $run .. uid, 'api')
local folded = redis.pcall('GET', $parked .. uid)
local ended = redis.pcall('GET', $end .. uid)
-- Arguments of `unpack_limit`: number of values, and length of the array header.
local function unpacked()
  if type(folded) == 'string' then
    local _, fields = cmsgpack.unpack_limit(folded, 1, 1)
    for i = 1, #fields, 2 do
      if fields[i] == 'api' then return fields[i + 1] end
    end
  elseif type(ended) == 'string' then
    local _, _, api = cmsgpack.unpack_limit(ended, 2, 3)
    return api
  end
end
if type(live) == 'string' then return live end
local known, api = pcall(unpacked)
return known and type(api) == 'string' and api or nil
