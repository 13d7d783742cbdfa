-- Indexes of runs by their creation: one per status, and one per API with all runs of the API. Changes are collected
-- and written once per script, with one ZREM and one ZADD per index.
local leaving, entering, moved, has_apis = {}, {}, {}, nil

local function each_slice(list, size, write)
  for first = 1, #list, size do
    write(unpack(list, first, math.min(first + size - 1, #list)))
  end
end

local function save_index()
  for name, list in pairs(leaving) do
    each_slice(list, 1000, function(...) redis.call('ZREM', $index .. name, ...) end)
  end
  for name, list in pairs(entering) do
    each_slice(list, 1000, function(...) redis.call('ZADD', $index .. name, ...) end)
  end
  leaving, entering, moved = {}, {}, {}
end

local function enter(name, uid, created)
  local list = entering[name] or {}
  entering[name] = list
  list[#list + 1] = created
  list[#list + 1] = uid
end

-- Adds a run to the index of its API, where it may be already.
local function index_by_api(uid, api, created)
  if api and created then enter(api, uid, created) end
end

-- Returns whether the indexes by API hold all runs. In a store of an earlier release they do not until an audit has
-- read all runs; until then each change of a status adds the run, so that none moves past that audit.
local function is_indexed_by_api()
  if has_apis == nil then has_apis = redis.call('EXISTS', $api_index) == 1 end
  return has_apis
end

local function index(uid, api, created, from, to)
  if from == to then return end
  -- Collected changes are not ordered, so a second change of a run needs the first one to be written.
  if moved[uid] then save_index() end
  moved[uid] = true
  if from then
    local list = leaving[from] or {}
    leaving[from] = list
    list[#list + 1] = uid
  end
  if to then
    enter(to, uid, created)
    if not from or not is_indexed_by_api() then index_by_api(uid, api, created) end
  end
end
