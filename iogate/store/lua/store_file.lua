-- Stores a chunk of a file that came with a call, before the call is accepted.
-- keys: files, full, drained
-- args: id of the files, field, chunk
-- returns: {'ok'} | {'memory'|'drained', ms}
-- invariant: idempotent. What no run needs expires $upload_ms after the last chunk; `accept` removes this limit.
if redis.call('EXISTS', $full) == 1 then return {'memory', redis.call('PTTL', $full)} end
if redis.call('EXISTS', $drained) == 1 then return {'drained', redis.call('PTTL', $drained)} end
redis.call('HSET', $files .. ARGV[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', $files .. ARGV[1], $upload_ms)
return {'ok'}
