-- Reading of the inbox of a run (`inbox.lua`).

-- Returns the number of the first message, the first messages, and their size: at most $inbox_read, and none after
-- $take_bytes, because the run stores the results of all of them in one commit.
local function messages(uid, r)
  if r.posted == 0 then return 0, {}, 0 end
  local found, bytes = {}, 0
  while #found < $inbox_read and bytes < $take_bytes do
    local part = redis.call('LRANGE', $inbox .. uid, #found, #found + 7)
    for _, message in ipairs(part) do
      found[#found + 1] = message
      bytes = bytes + #message
    end
    if #part < 8 then break end
  end
  return r.posted - redis.call('LLEN', $inbox .. uid) + 1, found, bytes
end

local function has_messages(uid, r)
  return r.posted > 0 and redis.call('EXISTS', $inbox .. uid) == 1
end
