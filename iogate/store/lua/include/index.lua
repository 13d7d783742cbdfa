-- Index of runs by status. Changes are collected and written once per script, with one ZREM and one ZADD per
-- status.
local leaving, entering, moved = {}, {}, {}

local function each_slice(list, size, write)
  for first = 1, #list, size do
    write(unpack(list, first, math.min(first + size - 1, #list)))
  end
end

local function save_index()
  for status, list in pairs(leaving) do
    each_slice(list, 1000, function(...) redis.call('ZREM', $index .. status, ...) end)
  end
  for status, list in pairs(entering) do
    each_slice(list, 1000, function(...) redis.call('ZADD', $index .. status, ...) end)
  end
  leaving, entering, moved = {}, {}, {}
end

local function index(uid, created, from, to)
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
    local list = entering[to] or {}
    entering[to] = list
    list[#list + 1] = created
    list[#list + 1] = uid
  end
end
