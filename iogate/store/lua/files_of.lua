-- Returns the id of the files of a run.
-- keys: run, parked, end
-- args: uid
-- returns: id of the files, '' or nil if it has none; nil if there is no run
-- invariant: reads only, in one step, because the run may be parked, continued or ended in between.
-- include: ended
local uid = ARGV[1]
local live = redis.call('HMGET', $run .. uid, 'api', 'fl')
if live[1] then return live[2] end
local packed = redis.call('GET', $parked .. uid)
if packed then
  local fields = cmsgpack.unpack(packed)[1]
  for i = 1, #fields, 2 do
    if fields[i] == 'fl' then return fields[i + 1] end
  end
  return nil
end
local e = ended_record(uid)
return e and e.files
