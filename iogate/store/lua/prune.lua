-- Deletes ended runs before their retention is over.
-- keys: per run: end, big, frames, values, RQ's job and results; index
-- args: ms, uid…
-- returns: how many were deleted
-- invariant: only a run that ended before that moment goes, so that a repetition deletes nothing more; it only
--   deletes, so that a full server lets it. What fails for one run, since an outsider put something else where its
--   keys belong, fails for that run alone (`pcall`).
-- include: ended
local before, count = tonumber(ARGV[1]), 0
local function prune(uid)
  local e = ended_record(uid)
  if not e or tonumber(e.ended) >= before then return end
  redis.call('DEL', $end .. uid, $big .. uid, $frames .. uid, $values .. uid, $rq_job .. uid, $rq_results .. uid)
  redis.call('ZREM', $index .. e.status, uid)
  count = count + 1
end
for i = 2, #ARGV do pcall(prune, ARGV[i]) end
return count
