-- Refuses the script while the store is drained before a planned failover: what is written now could be lost.
if redis.call('EXISTS', $drained) == 1 then
  return redis.error_reply('DRAINED ' .. string.format('%d', redis.call('PTTL', $drained)) .. ' ms left')
end
