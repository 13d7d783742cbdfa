-- Journal of a run: its last $journal_entries entries. Changes that the store itself makes to a run are written
-- here and, for every sink that wants lifecycle events, to its outbox, from which a worker makes the events of
-- the DSL. The number of the entry identifies them, so that each is sent once.
-- needs: clock outbox
local wanting_sinks

local function write_entries(uid, lines)
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

-- Returns an entry about a run, or about one of its tasks; `detail` is JSON.
local function journal_entry(kind, task, detail)
  return string.format('{"at":%d,"kind":"%s"', now_ms, kind) ..
    (task and ',"reference":' .. quoted(task.reference) .. ',"name":' .. quoted(task.name) or '') ..
    (detail and ',"detail":' .. detail or '') .. '}'
end

local function lifecycle_sinks()
  if wanting_sinks then return wanting_sinks end
  wanting_sinks = {}
  -- If another program has overwritten the key, there are no sinks until a worker registers them again.
  for _, sink in ipairs(redis.pcall('SMEMBERS', $sinks)) do
    if redis.pcall('HGET', $sink .. sink, 'lifecycle') == '1' then wanting_sinks[#wanting_sinks + 1] = sink end
  end
  return wanting_sinks
end

local function write_lifecycle(uid, r, lines)
  local size = write_entries(uid, lines)
  -- A commit that ends the run must include these entries.
  redis.call('HSET', $run .. uid, 'ext', 1)
  r.reaches = '1'
  local known, facts = pcall(cjson.decode, r.facts)
  if #lifecycle_sinks() == 0 or not known or type(facts) ~= 'table' then return end
  -- Revision 0 marks a standing run, whose lifecycle is not sent to sinks.
  if facts[1] == 0 then return end
  local before = (tonumber(redis.call('HGET', $run .. uid, 'jdr')) or 0) + size - #lines
  local entries = {}
  for i, each in ipairs(lines) do
    entries[i] = '{"uid":"' .. uid .. '","workflow":' .. quoted(facts[2] or '') ..
      ',"number":' .. string.format('%d', before + i) .. ',"line":' .. each .. '}'
  end
  for _, sink in ipairs(wanting_sinks) do outbox_push(sink, entries) end
  ring_outboxes()
end

-- Returns tasks that have started and not ended, in the order of their first start.
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
