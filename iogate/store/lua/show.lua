-- Reads one run, without its data if they are larger than wanted.
-- keys: run, tasks, parked, end, big
-- args: uid, most bytes of stored data: input, output, error and tasks that are apart from the record; '1' to read no
--   input, unless it is the output, too
-- returns: {record, tasks, folded run or nil, ended record or nil, large parts, bytes of the data that are left out}
-- invariant: reads only, in one step, because the run may change in between. Works on a full server, unlike a
--   transaction.
local uid, most, only_results = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local run, big = $run .. uid, $big .. uid

-- Fields of a live run that `views.live_view` shows, without its input.
local SHOWN = {'api', 'f', 'crt', 'sta', 'att', 'ret', 'dth', 'cxl', 'st', 'pl', 'wkr', 'due', 'ddl', 'par', 'mrg',
  'at', 'wt', 'ck'}

-- Returns fields and values of a hash; none of a field that it does not have.
local function fields_of(key, names)
  local found, values = {}, redis.call('HMGET', key, unpack(names))
  for i, name in ipairs(names) do
    if values[i] then
      found[#found + 1] = name
      found[#found + 1] = values[i]
    end
  end
  return found
end

if redis.call('EXISTS', run) == 1 then
  local size = only_results and 0 or redis.call('HSTRLEN', run, 'in')
  local tasks = redis.call('HGETALL', $tasks .. uid)
  if size <= most and not only_results then return {redis.call('HGETALL', run), tasks, false, false, {}, 0} end
  return {fields_of(run, SHOWN), tasks, false, false, {}, size}
end
local folded = redis.call('GET', $parked .. uid)
if folded then return {{}, {}, folded, false, {}, 0} end
local ended = redis.call('GET', $end .. uid)
if not ended or redis.call('EXISTS', big) == 0 then return {{}, {}, false, ended, {}, 0} end

-- The output of a record is '=' if it equals the input, which is stored once.
local function is_input_output()
  local packed = {cmsgpack.unpack_limit(ended, 14, 3)}
  return packed[15] == '='
end
local names, size = {'output', 'error', 'tasks'}, 0
if only_results then
  local known, is_both = pcall(is_input_output)
  only_results = not (known and is_both)
end
if not only_results then names[4] = 'input' end
for _, name in ipairs(names) do size = size + redis.call('HSTRLEN', big, name) end
if size > most then return {{}, {}, false, ended, {}, size} end
return {{}, {}, false, ended, fields_of(big, names), 0}
