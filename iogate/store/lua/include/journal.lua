-- The journal of a run: its last $journal_entries lines. What becomes of a run in the store itself, without a
-- worker, is told here: a line each, and for every sink that wants the lifecycle an entry of its outbox, from
-- which the courier makes the standard's events. The number of the line names them, so each is told once.
local audience

local function write_lines(uid, lines)
  local size = redis.call('RPUSH', $journal .. uid, unpack(lines))
  redis.call('PUBLISH', $journal_channel .. uid, '')
  local dropped = size - $journal_entries
  if dropped <= 0 then return size end
  redis.call('LTRIM', $journal .. uid, -$journal_entries, -1)
  redis.call('HINCRBY', $run .. uid, 'jdr', dropped)
  return $journal_entries
end

local function quoted(text)
  return (string.gsub(cjson.encode(text), '\\/', '/'))
end

-- Of a run, or of one of its tasks; `detail` is JSON.
local function line(kind, task, detail)
  return string.format('{"at":%d,"kind":"%s"', now_ms, kind) ..
    (task and ',"reference":' .. quoted(task.reference) .. ',"name":' .. quoted(task.name) or '') ..
    (detail and ',"detail":' .. detail or '') .. '}'
end

local function who_wants_lifecycle()
  if audience then return audience end
  audience = {}
  -- Where an outsider put something else, nobody is known until a worker names its sinks again.
  for _, sink in ipairs(redis.pcall('SMEMBERS', $sinks)) do
    if redis.pcall('HGET', $sink .. sink, 'lifecycle') == '1' then audience[#audience + 1] = sink end
  end
  return audience
end

local function tell_of(uid, r, lines)
  local size = write_lines(uid, lines)
  -- A commit that ends the run at once must look for these lines.
  redis.call('HSET', $run .. uid, 'ext', 1)
  r.reaches = '1'
  local known, facts = pcall(cjson.decode, r.facts)
  if #who_wants_lifecycle() == 0 or not known or type(facts) ~= 'table' then return end
  -- Revision 0 is that of a standing run, of which no sink is told.
  if facts[1] == 0 then return end
  local before = (tonumber(redis.call('HGET', $run .. uid, 'jdr')) or 0) + size - #lines
  local entries = {}
  for i, each in ipairs(lines) do
    entries[i] = '{"uid":"' .. uid .. '","workflow":' .. quoted(facts[2] or '') ..
      ',"number":' .. string.format('%d', before + i) .. ',"line":' .. each .. '}'
  end
  for _, sink in ipairs(audience) do put_aside(sink, entries) end
  ring_couriers()
end

-- Tasks that have begun and have not ended, in the order in which they first began.
local function under_way(uid)
  local tasks, flat = {}, redis.call('HGETALL', $tasks .. uid)
  for i = 1, #flat, 2 do
    local known, row = pcall(cmsgpack.unpack, flat[i + 1])
    if known and type(row) == 'table' and (row.s == 'running' or row.s == 'waiting') then
      tasks[#tasks + 1] = {order = row.o, reference = flat[i], name = row.n, status = row.s}
    end
  end
  table.sort(tasks, function(a, b) return a.order < b.order end)
  return tasks
end
