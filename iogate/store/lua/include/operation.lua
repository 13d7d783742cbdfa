-- What a person asks for carries a key. Asked for again under the same key, since the answer was lost, it is answered
-- as before and nothing more is done, whatever has become of the run meanwhile. '' is no key.
local function answered(key)
  local known = key ~= '' and redis.pcall('GET', key)
  return type(known) == 'string' and known or nil
end

local function answer_once(key, answer)
  if key ~= '' then redis.call('SET', key, answer, 'EX', $operation_s) end
  return answer
end
