-- The index of runs by status. Moves are gathered and written once a script: one ZREM and one ZADD a
-- status, however large the batch. A run that moves twice in one script is moved once, to the last.
local moves = {}

local function index(uid, created, from, to)
  local move = moves[uid]
  if move then
    move[3] = to
  elseif from ~= to then
    moves[uid] = {created, from, to}
  end
end

local function each_slice(list, size, write)
  for first = 1, #list, size do
    write(unpack(list, first, math.min(first + size - 1, #list)))
  end
end

local function save_index()
  local leaving, entering = {}, {}
  for uid, move in pairs(moves) do
    local created, from, to = move[1], move[2], move[3]
    if from and from ~= to then
      local list = leaving[from] or {}
      leaving[from] = list
      list[#list + 1] = uid
    end
    if to and from ~= to then
      local list = entering[to] or {}
      entering[to] = list
      list[#list + 1] = created
      list[#list + 1] = uid
    end
  end
  for status, list in pairs(leaving) do
    each_slice(list, 1000, function(...) redis.call('ZREM', $index .. status, ...) end)
  end
  for status, list in pairs(entering) do
    each_slice(list, 1000, function(...) redis.call('ZADD', $index .. status, ...) end)
  end
end
