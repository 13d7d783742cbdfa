-- Ended jobs in RQ: status, registry and result, for $rq_result_s.
-- needs: clock rq
local finished = {}
local succeeded, failed, worked, finished_now, counted = 0, 0, 0, nil, nil

local function rq_result(uid, kind, r, exc)
  if not finished_now then
    redis.call('ZREMRANGEBYSCORE', $rq_finished, '-inf', now_s)
    finished_now = redis.call('ZCARD', $rq_finished)
  end
  if finished_now >= $rq_results_kept and kind == 1 then return end
  local fields = {'type', kind, 'worker_name', r.worker}
  if exc ~= '' then
    fields[5], fields[6] = 'exc_string', exc
  end
  local n = #fields
  fields[n + 1], fields[n + 2] = 'execution_id', rq_execution(r.token)
  fields[n + 3], fields[n + 4] = 'execution_started_at', r.leased
  fields[n + 5], fields[n + 6] = 'execution_ended_at', now_float()
  redis.call('XADD', $rq_results .. uid, 'MAXLEN', '~', 10, '*', unpack(fields))
  redis.call('EXPIRE', $rq_results .. uid, $rq_result_s)
end

-- Every job has a status. If all three fields are new, another program has deleted the job.
local function rq_close(uid, status)
  local key = $rq_job .. uid
  if redis.call('HSET', key, 'status', status, 'ended_at', stamp(), 'last_heartbeat', stamp()) == 3 then
    redis.call('DEL', key)
    return
  end
  redis.call('EXPIRE', key, $rq_result_s)
end

local function rq_outcome(uid, r, status, exc)
  if status == 'completed' or status == 'faulted' then counted = r.worker end
  if status == 'completed' then
    succeeded = succeeded + 1
    rq_result(uid, 1, r, '')
    if finished_now < $rq_finished_kept then
      rq_close(uid, 'finished')
      finished[#finished + 1] = now_s + $rq_result_s
      finished[#finished + 1] = uid
      finished_now = finished_now + 1
    else
      redis.call('DEL', $rq_job .. uid)
    end
  elseif status == 'faulted' then
    failed = failed + 1
    rq_close(uid, 'failed')
    rq_result(uid, 2, r, exc)
    redis.call('ZADD', $rq_failed, now_s + $rq_result_s, uid)
  else
    rq_close(uid, 'canceled')
    redis.call('ZADD', $rq_canceled, now_s, uid)
  end
  if r.leased ~= '' then worked = worked + tonumber(now_float()) - tonumber(r.leased) end
end

-- All runs of one batch belong to one worker.
local function rq_count()
  if #finished > 0 then redis.call('ZADD', $rq_finished, unpack(finished)) end
  if succeeded + failed == 0 or redis.call('EXISTS', $rq_worker .. counted) == 0 then return end
  if succeeded > 0 then redis.call('HINCRBY', $rq_worker .. counted, 'successful_job_count', succeeded) end
  if failed > 0 then redis.call('HINCRBY', $rq_worker .. counted, 'failed_job_count', failed) end
  redis.call('HINCRBYFLOAT', $rq_worker .. counted, 'total_working_time', string.format('%.6f', worked))
end
