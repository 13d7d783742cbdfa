-- A lease that was lost. One loss speaks against no run: it queues again. A run that loses its lease once more at
-- the same point is a suspect: it will be taken alone, in a process of its own. A death there counts, and the last
-- one faults the run in place, so that it cannot kill its neighbours for ever. Where no living parent saw the
-- worker die (the machine went, or the parent was killed), no run is more suspect than any other: such a loss makes
-- a suspect only as the $unseen_losses-th at one point, and never counts as a death.
--
-- A run that resumes an effect commits that first: a loss one sequence number later is at the same point. A run
-- that gets on between losses is a suspect after $seen_losses that were seen.
--
--     lease --lost--> queue --lease--> lost again --> suspect --solitary lease--> death, seen --> counted

-- Notes the loss; returns whether the run is a suspect from here on. `los` holds the sequence number of the last
-- loss, the losses at that point, and all losses that were seen.
local function is_suspect(uid, r, seen)
  local at, here, all = string.match(redis.call('HGET', $run .. uid, 'los') or '', '^(%d+):(%d+):(%d+)$')
  here = at and r.seq <= tonumber(at) + 1 and tonumber(here) + 1 or 1
  all = (tonumber(all) or 0) + (seen and 1 or 0)
  redis.call('HSET', $run .. uid, 'los', string.format('%d:%d:%d', r.seq, here, all))
  return here >= (seen and 2 or $unseen_losses) or all >= $seen_losses
end

local function lose_lease(uid, poison, exc, seen)
  redis.call('ZREM', $leases, uid)
  local r = record(uid)
  if not r or r.state ~= 'lease' then return end
  local load = load_of(r.api)
  load.run = math.max(0, load.run - 1)
  rq_end_execution(uid, r.token, r.worker)
  if r.solitary and seen then r.deaths = r.deaths + 1 end
  if r.deaths >= $deaths then
    index(uid, r.created, r.status, 'faulted')
    rq_outcome(uid, r, 'faulted', exc)
    tell_of(uid, r, {line('workflow.faulted', nil, '{"error":' .. poison .. '}')})
    finish(uid, r, 'faulted', '', poison, fold_tasks(uid), fold_journal(uid))
    return
  end
  redis.call('HSET', $run .. uid, 'dth', r.deaths, 'wkr', '', 'lft', left_by(r))
  if r.solitary or is_suspect(uid, r, seen) then
    rq_forget(uid)
    redis.call('HSET', $run .. uid, 'pl', 'suspect')
    redis.call('RPUSH', $suspects, uid)
  else
    wake(uid, r.api)
  end
end
