-- Reads which API started a run.
-- keys: run, parked, end
-- args: uid
-- returns: id of the API; nil where there is no run, or a record that cannot be read
-- invariant: reads only, in one step, and by the same commands whatever there is; no large part is read, and of a
--   packed record nothing behind the id is decoded. A full server answers it.
local uid = ARGV[1]
local live = redis.pcall('HGET', $run .. uid, 'api')
local folded = redis.pcall('GET', $parked .. uid)
local ended = redis.pcall('GET', $end .. uid)
-- The second and third argument of `unpack_limit`: how many values, and how long the head of the array is.
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
