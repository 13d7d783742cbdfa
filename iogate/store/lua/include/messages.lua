-- Reading of the inbox of a run (`inbox.lua`).

-- Returns the number of the first message, and the first $inbox_read messages.
local function messages(uid, r)
  if r.posted == 0 then return 0, {} end
  local size = redis.call('LLEN', $inbox .. uid)
  return r.posted - size + 1, redis.call('LRANGE', $inbox .. uid, 0, $inbox_read - 1)
end

local function has_messages(uid, r)
  return r.posted > 0 and redis.call('EXISTS', $inbox .. uid) == 1
end
