-- Deletes ended runs before their retention has passed.
-- keys: per run: end, big, frames, values, recorded, files, RQ's job and results; index
-- args: ms, uid…
-- returns: number of deleted runs
-- invariant: only runs that ended before that time are deleted, so that it is idempotent; it only deletes, so that
--   it works on a full server. An error of one run, whose keys another program has overwritten, affects that run
--   only (`pcall`).
-- include: time files ended attributes
local before, count = tonumber(ARGV[1]), 0
local function prune(uid)
  local e = ended_record(uid)
  if not e or tonumber(e.ended) >= before then return end
  redis.call('DEL', $end .. uid, $big .. uid, $frames .. uid, $values .. uid, $recorded .. uid, $rq_job .. uid,
    $rq_results .. uid)
  if redis.call('DEL', $after .. uid) == 1 then redis.call('ZREM', $callbacks, uid) end
  if (e.files or '') ~= '' then release_files(e.files, uid) end
  redis.call('ZREM', $index .. e.status, uid)
  redis.call('ZREM', $index .. e.api, uid)
  if (e.attributes or '') ~= '' then forget_attributes(uid, e.api, tonumber(e.created), e.attributes) end
  count = count + 1
end
for i = 2, #ARGV do pcall(prune, ARGV[i]) end
return count
