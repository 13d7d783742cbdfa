-- The index of runs by status. Moves are gathered and written once a script: one ZREM and one ZADD a
-- status, however large the batch.
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
  -- What is gathered has no order: a second move of a run waits for the first.
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
