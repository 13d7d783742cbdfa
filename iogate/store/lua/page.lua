-- Reads a part of a page of runs, newest first, from the smallest index that has all of them.
-- keys: index, mark of the indexes by API, attributes, gates, deleted; per run: run, parked, end
-- args: MessagePack of `run_index.Request`
-- returns: {number of runs that were looked at, created and uid of the last of them, 1 if no run is behind it else
--   0, head…}; `views.head_summary` names the parts of a head
-- invariant: reads only, in one step, so that a run whose status changes is in the part once; looks at no more
--   runs than fit into the budget. A head is read only of runs that are in all indexes that the filter names, and
--   whose record has the words of the filter.
-- include: spent heads cursors
local q = cmsgpack.unpack(ARGV[1])
local from, to = q.from or '-inf', q.to or '+inf'
local groups = {q.statuses}

-- A child has the API of its parent, and does not start before it. Only the fault of a run starts another one later.
if q.parent then
  local parent = head_of(q.parent, {})
  if parent then
    q.apis = q.apis or {parent.api}
    from = math.max(q.from or 0, tonumber(parent.created) or 0)
    if parent.ended and parent.status ~= 'faulted' then to = math.min(q.to or math.huge, tonumber(parent.ended)) end
  end
end
if q.apis and #q.apis <= $page_merged and redis.call('EXISTS', $api_index) == 1 then groups[2] = q.apis end

local function size_of(names)
  local size = 0
  for _, name in ipairs(names) do size = size + redis.call('ZCARD', $index .. name) end
  return size
end
-- The APIs whose runs may have the attribute.
local function attributed()
  local found = {}
  for _, set in ipairs(q.apis and {} or {$gates, $deleted}) do
    for _, api in ipairs(redis.call('SMEMBERS', set)) do found[#found + 1] = api end
  end
  local indexed = {}
  for _, api in ipairs(q.apis or found) do
    if redis.call('EXISTS', $attributes .. api) == 1 then indexed[#indexed + 1] = api end
  end
  return indexed
end
local driver = groups[2] and size_of(groups[2]) <= size_of(groups[1]) and 2 or 1

-- Returns whether a run is in an index of each other group; a group of all indexes needs no look.
local function is_in_all(uid)
  for number, names in ipairs(groups) do
    if number ~= driver and not (number == 1 and #names == $number_of_statuses) then
      local is_in = false
      for _, name in ipairs(names) do
        is_in = is_in or redis.call('ZSCORE', $index .. name, uid) ~= false
      end
      if not is_in then return false end
    end
  end
  return true
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names or {}) do set[name] = true end
  return set
end
local statuses, apis = set_of(q.statuses), q.apis and set_of(q.apis)

local function has_attribute(packed)
  if not q.where then return true end
  local known, found = pcall(cjson.decode, string.match(packed or '', '{.*'))
  return known and type(found) == 'table' and found[q.where[1]] == q.where[2]
end

local function has_facts(packed, head)
  if not (q.workflow or q.caller or q.revision or q.parent) then return true end
  local known, facts = pcall(cjson.decode, packed)
  if not known or type(facts) ~= 'table' then return false end
  local workflow, starter = tostring(facts[2]), string.match(tostring(facts[7]), '^(%d+)/')
  return (not q.workflow or workflow == q.workflow or string.match(workflow, '^[^:]*') == q.workflow)
    and (not q.caller or facts[4] == q.caller)
    and (not q.revision or facts[1] == q.revision)
    and (not q.parent or head.parent == q.parent or starter == q.parent)
end

local cursors = {}
if q.where then
  driver = 0
  for _, api in ipairs(attributed()) do
    cursors[#cursors + 1] = open_attribute_cursor($attributes .. api, q.where[3], from, to, q.after, 2 * q.limit)
  end
else
  for _, name in ipairs(groups[driver]) do
    local size = math.max(8, math.ceil(2 * q.limit / #groups[driver]))
    cursors[#cursors + 1] = open_cursor($index .. name, from, to, q.after, size)
  end
end
local heads, looked_at, spent, created, uid = {}, 0, 0, q.after and q.after[1] or 0, q.after and q.after[2] or ''
local cursor, next_created, next_uid = first_of(cursors)
while cursor and #heads < q.limit and (looked_at == 0 or spent < $page_budget and spent_ms() < $page_ms) do
  advance(cursor)
  -- A run may be in the indexes of two statuses until an audit.
  if next_uid ~= uid then
    created, uid, looked_at, spent = next_created, next_uid, looked_at + 1, spent + 1
    if is_in_all(uid) then
      local head = head_of(uid, q.words)
      spent = spent + (head and $page_head_cost or $page_look_cost)
      if head and statuses[head.status] and (not apis or apis[head.api]) and has_facts(head.facts, head)
        and has_attribute(head.attributes) then
        heads[#heads + 1] = {uid, head.status, head.api, head.facts, head.state, head.attempt or 1, head.created,
          head.started or 0, head.ended or 0, head.parent or '', head.error or '', head.reason or '', head.big or 0,
          head.attributes or ''}
      end
    end
  end
  cursor, next_created, next_uid = first_of(cursors)
end
return {looked_at, string.format('%.0f', created), uid, cursor and 0 or 1, unpack(heads)}
