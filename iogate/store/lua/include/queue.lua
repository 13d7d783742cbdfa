-- RQ queue and jobs in the format of RQ 3.0; iogate never reads the jobs. The data of a job are not compressed,
-- which RQ accepts: all fields then have at most 64 bytes, and the hash takes 0.4 KB instead of 2 KB. RQ reads an absent
-- field as an empty one, so that fields are written only with a value: a job is written for each call.
-- needs: clock
local doorbell = false

local function rq_job(uid)
  redis.call('HSET', $rq_job .. uid, 'created_at', stamp(),
    'data', '["' .. $job_function .. '", null, ["' .. uid .. '"], {}]',
    'origin', $queue, 'description', $job_function .. "('" .. uid .. "')",
    'enqueued_at', stamp(), 'timeout', -1, 'result_ttl', $rq_result_s, 'failure_ttl', $rq_result_s,
    'status', 'queued')
end

-- Each job goes to the end of the queue, also for woken runs, so that at most $queued_in_rq runs of one API are
-- ahead of a call of another API.
local function rq_enqueue(uid)
  rq_job(uid)
  if redis.call('RPUSH', $rq_queue, uid) == 1 then
    redis.call('SADD', $rq_queues, $rq_queue)
    doorbell = true
  end
end

-- Wakes one idle worker; if its take leaves runs in the queue, that take wakes the next one. Workers that no
-- longer listen are removed.
local function ring()
  while doorbell do
    local worker = redis.pcall('SPOP', $idle)
    doorbell = type(worker) == 'string' and redis.call('PUBLISH', $wake_channel .. worker, '1') == 0
  end
end
