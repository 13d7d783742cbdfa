-- Lost leases. After its first loss a run is queued again. A run that loses its lease again at the same point is a
-- suspect: it runs alone, in a process of its own. A death there is counted, and the last one faults the run, so
-- that it cannot kill workers endlessly. If no living parent saw the worker die (the machine crashed, or the
-- parent was killed), only the $unseen_losses-th such loss at one point makes a suspect, and it is never counted
-- as a death.
--
-- A run commits before it resumes an effect, so a loss one sequence number later is at the same point. A run that
-- progresses between losses is a suspect after $seen_losses seen losses.
--
--     lease --lost--> queue --lease--> lost again --> suspect --solitary lease--> death, seen --> counted
-- needs: index rq states record journal outcome finish

-- Records the loss and returns whether the run is now a suspect. `los` holds the sequence number of the last
-- loss, the number of losses at that point, and the number of all seen losses.
local function is_suspect(uid, r, seen)
  local at, here, all = string.match(redis.call('HGET', $run .. uid, 'los') or '', '^(%d+):(%d+):(%d+)$')
  here = at and r.seq <= tonumber(at) + 1 and tonumber(here) + 1 or 1
  all = (tonumber(all) or 0) + (seen and 1 or 0)
  redis.call('HSET', $run .. uid, 'los', string.format('%d:%d:%d', r.seq, here, all))
  return here >= (seen and 2 or $unseen_losses) or all >= $seen_losses
end

local function end_lost_lease(uid, poison, exc, group, seen)
  redis.call('ZREM', $leases, uid)
  local r = record(uid)
  if not r or r.state ~= 'lease' then return end
  local load = load_of(r.api)
  load.run = math.max(0, load.run - 1)
  rq_end_execution(uid, r.token, r.worker)
  if r.solitary and seen then r.deaths = r.deaths + 1 end
  if r.deaths >= $deaths then
    index(uid, r.api, r.created, r.status, 'faulted')
    r.group = cmsgpack.unpack(group)
    rq_outcome(uid, r, 'faulted', exc)
    write_lifecycle(uid, r, {journal_entry('workflow.faulted', nil, '{"error":' .. poison .. '}')})
    finish(uid, r, 'faulted', '', poison, fold_tasks(uid), fold_journal(uid))
    return
  end
  redis.call('HSET', $run .. uid, 'dth', r.deaths, 'wkr', '', 'lft', last_worker_field(r))
  if r.solitary or is_suspect(uid, r, seen) then
    rq_forget(uid)
    redis.call('HSET', $run .. uid, 'pl', 'suspect')
    redis.call('RPUSH', $suspects, uid)
  else
    wake(uid, r.api)
  end
end
