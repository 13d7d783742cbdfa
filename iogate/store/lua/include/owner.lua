-- Owners of APIs. The gates of the project `default` have no field for it, as in stores of earlier releases.

-- Returns the project that owns an API or a schedule, or owned it when it was deleted.
local function owner(api) return redis.call('HGET', $gate .. api, 'project') or 'default' end

-- Returns 'foreign' with API and owner of each API from ARGV[first] on that another project owns; nil if there is
-- none. A deleted API counts as long as it has runs on hold. `project`: '' for any.
local function foreign_from(first, project)
  if project == '' then return nil end
  local found = {'foreign'}
  for i = first, #ARGV do
    local other = owner(ARGV[i])
    if other ~= project then
      local g = redis.call('HMGET', $gate .. ARGV[i], 'digest', 'hold')
      if g[1] or g[2] then
        found[#found + 1] = ARGV[i]
        found[#found + 1] = other
      end
    end
  end
  return #found > 1 and found or nil
end
