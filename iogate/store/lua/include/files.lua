-- Files of runs: one hash per call with the contents in chunks, and beside it the runs that need them, by the time
-- until which they do. A run that has not ended needs them without limit, an ended one until its retention.
-- needs: clock

local function keep_files(id)
  local last = redis.call('ZREVRANGE', $file_runs .. id, 0, 0, 'WITHSCORES')
  if not last[1] then
    redis.call('UNLINK', $files .. id)
  elseif last[2] == 'inf' then
    redis.call('PERSIST', $files .. id)
    redis.call('PERSIST', $file_runs .. id)
  else
    local left = math.max(1, tonumber(last[2]) - now_ms)
    redis.call('PEXPIRE', $files .. id, left)
    redis.call('PEXPIRE', $file_runs .. id, left)
  end
end

local function need_files(id, uid, until_ms)
  redis.call('ZADD', $file_runs .. id, until_ms, uid)
  keep_files(id)
end

local function release_files(id, uid)
  redis.call('ZREM', $file_runs .. id, uid)
  keep_files(id)
end
