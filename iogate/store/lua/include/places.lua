-- Places of a concurrency key: the runs that have one, in a hash of the API from the key to their uids. A run has a
-- place from the moment when it may enter the queue until its end, whatever it waits for meanwhile.

-- Takes a place for a run; returns false if none is free, or others wait for one.
local function take_place(api, key, uid, most)
  local text = redis.call('HGET', $holders .. api, key)
  if text then
    local _, count = string.gsub(text, '%d+', '')
    if count >= most or redis.call('EXISTS', $lane .. api .. ':' .. key) == 1 then return false end
    uid = text .. ' ' .. uid
  end
  redis.call('HSET', $holders .. api, key, uid)
  return true
end
