-- Rejects the script while the store is drained before a planned failover, which could lose its writes.
if redis.call('EXISTS', $drained) == 1 then
  return redis.error_reply('DRAINED ' .. string.format('%d', redis.call('PTTL', $drained)) .. ' ms left')
end
