-- The RQ queue and its jobs, written as RQ 3.0 writes them; iogate never reads the jobs. A job's data stays
-- uncompressed, which RQ reads too: all its fields are then at most 64 bytes, and the hash costs 0.5 KB, not 2 KB.
local doorbell = false

local function rq_job(uid)
  redis.call('HSET', $rq_job .. uid, 'created_at', stamp(),
    'data', '["' .. $job_function .. '", null, ["' .. uid .. '"], {}]',
    'success_callback_name', '', 'failure_callback_name', '', 'stopped_callback_name', '',
    'started_at', '', 'ended_at', '', 'last_heartbeat', '', 'worker_name', '', 'group_id', '',
    'origin', $queue, 'description', $job_function .. "('" .. uid .. "')",
    'enqueued_at', stamp(), 'timeout', -1, 'result_ttl', $rq_result_s, 'failure_ttl', $rq_result_s,
    'status', 'queued')
end

-- Each job goes to the end of the queue, that of a woken run too: however many runs of one API wake at once,
-- at most $queued_in_rq of them are ahead of another API's call.
local function rq_enqueue(uid)
  rq_job(uid)
  if redis.call('RPUSH', $rq_queue, uid) == 1 then
    redis.call('SADD', $rq_queues, $rq_queue)
    doorbell = true
  end
end

-- Wakes one worker that has room; if its take leaves runs in the queue, it wakes the next. Also when the queue held
-- runs before: a worker that had room may have been told nothing. One that does not listen any more is forgotten.
local function ring()
  while doorbell do
    local worker = redis.pcall('SPOP', $idle)
    doorbell = type(worker) == 'string' and redis.call('PUBLISH', $wake_channel .. worker, '1') == 0
  end
end
