-- Executions and results in the format of RQ 3.0.
-- An id has 32 hexadecimal digits; the token is unique among the executions of a job.
local function rq_execution(token)
  return string.format('%032x', token)
end

-- Ended executions are collected for one ZREM and one SREM per script and worker.
local ended_executions = {}

local function rq_end_execution(uid, token, worker)
  local execution = uid .. ':' .. rq_execution(token)
  redis.call('DEL', $rq_execution .. execution, $rq_executions .. uid)
  local list = ended_executions[worker] or {}
  ended_executions[worker] = list
  list[#list + 1] = execution
end

local function rq_save_executions()
  for worker, list in pairs(ended_executions) do
    redis.call('ZREM', $rq_started, unpack(list))
    local key = $rq_worker .. worker .. ':executions'
    redis.call('SREM', key, unpack(list))
    if redis.call('EXISTS', $rq_worker .. worker) == 1 and redis.call('EXISTS', key) == 0 then
      redis.call('HSET', $rq_worker .. worker, 'state', 'idle')
    end
  end
end

-- Removes a job completely, before parking or before it is written again.
local function rq_forget(uid)
  redis.call('DEL', $rq_job .. uid, $rq_results .. uid, $rq_executions .. uid)
  redis.call('ZREM', $rq_finished, uid)
  redis.call('ZREM', $rq_failed, uid)
  redis.call('ZREM', $rq_canceled, uid)
  redis.call('ZREM', $rq_deferred, uid)
  redis.call('ZREM', $rq_scheduled, uid)
  redis.call('ZREM', $rq_ready, uid)
end
