-- Cursors over indexes of runs, newest first. A position is the time of creation by the clock of the store, and the
-- uid; a run keeps it for life, so that a listing neither loses nor repeats runs whose status changes.

-- Returns whether a position comes later in a listing than another one.
local function is_behind(created, uid, other_created, other_uid)
  if created ~= other_created then return created < other_created end
  return uid < other_uid
end

-- Returns how many members of an index that were created at the same time as `uid` are not behind it.
local function count_until(key, created, uid)
  local function is_before(n)
    local member = redis.call('ZREVRANGEBYSCORE', key, created, created, 'LIMIT', n, 1)[1]
    return member and member >= uid
  end
  local low, high = 0, 1
  while is_before(high - 1) do low, high = high, high * 2 end
  while low + 1 < high do
    local middle = math.floor((low + high) / 2)
    if is_before(middle - 1) then low = middle else high = middle end
  end
  return low
end

-- Opens a cursor at the first run behind `after`, a pair of time and uid, or nil. `from` and `to` bound the time;
-- `size` members are read at once.
local function open_cursor(key, from, to, after, size)
  local cursor = {key = key, from = from, to = to, size = size, skip = 0, at = 1, page = {}, more = true}
  if after and (to == '+inf' or after[1] <= to) then
    cursor.to = after[1]
    cursor.skip = count_until(key, after[1], after[2])
  end
  return cursor
end

-- Opens a cursor over the runs with an attribute, which `hash` stands for, in the same way.
local function open_attribute_cursor(key, hash, from, to, after, size)
  local time = '%0' .. $attribute_time .. 'd'
  local cursor = {key = key, hash = hash, size = size, skip = 0, at = 1, page = {}, more = true}
  cursor.from = '[' .. hash .. (from == '-inf' and '' or string.format(time, from))
  cursor.to = '[' .. hash .. (to == '+inf' and '' or string.format(time, to)) .. '\255'
  if after and (to == '+inf' or after[1] <= to) then
    cursor.to = '(' .. hash .. string.format(time, after[1]) .. after[2]
  end
  return cursor
end

local function read_page(cursor)
  if not cursor.hash then
    return redis.call('ZREVRANGEBYSCORE', cursor.key, cursor.to, cursor.from, 'WITHSCORES', 'LIMIT', cursor.skip,
      cursor.size)
  end
  local page = {}
  for _, member in ipairs(redis.call('ZREVRANGEBYLEX', cursor.key, cursor.to, cursor.from, 'LIMIT', cursor.skip,
    cursor.size)) do
    page[#page + 1] = string.sub(member, $attribute_hash + $attribute_time + 1)
    page[#page + 1] = string.sub(member, $attribute_hash + 1, $attribute_hash + $attribute_time)
  end
  return page
end

-- Returns time and uid of the next run without advancing; nil at the end.
local function peek_at(cursor)
  if cursor.at > #cursor.page then
    if not cursor.more then return nil end
    local page = read_page(cursor)
    cursor.page, cursor.at, cursor.skip, cursor.more = page, 1, cursor.skip + #page / 2, #page == 2 * cursor.size
    if #page == 0 then return nil end
  end
  return tonumber(cursor.page[cursor.at + 1]), cursor.page[cursor.at]
end

-- Returns the cursor whose next run comes first in a listing of all, and the time and uid of that run; nil at the end.
local function first_of(cursors)
  local found, created, uid
  for _, cursor in ipairs(cursors) do
    local its_created, its_uid = peek_at(cursor)
    if its_uid and (not found or is_behind(created, uid, its_created, its_uid)) then
      found, created, uid = cursor, its_created, its_uid
    end
  end
  return found, created, uid
end

local function advance(cursor) cursor.at = cursor.at + 2 end
