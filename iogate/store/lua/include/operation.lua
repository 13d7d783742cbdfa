-- Idempotent operations of operators. A repetition with the same key returns the first result and does nothing
-- more, whatever the state of the run is then. '' is no key.
local function answered(key)
  local known = key ~= '' and redis.pcall('GET', key)
  return type(known) == 'string' and known or nil
end

local function answer_once(key, answer)
  if key ~= '' then redis.call('SET', key, answer, 'EX', $operation_s) end
  return answer
end
