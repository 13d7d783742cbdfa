-- Ends a run: its hash and all beside it become one packed string that expires with the retention.
-- Parts over $inline_bytes stand in a hash beside it. Order of the packed fields: `runs.Ended`.
local ended = {}

local function fold_tasks(uid)
  local rows = {}
  local flat = redis.call('HGETALL', $tasks .. uid)
  for i = 1, #flat, 2 do
    local row = cmsgpack.unpack(flat[i + 1])
    rows[#rows + 1] = {row.o, flat[i], row.n, row.s, row.b, row.e, row.a, row.c}
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  return rows
end

local function fold_journal(uid)
  return table.concat(redis.call('LRANGE', $journal .. uid, 0, -1), '\n')
end

local function finish(uid, r, status, output, err, tasks, journal)
  local own = redis.call('HMGET', $run .. uid, 'in', 'jdr')
  local parts = {input = own[1] or '', output = output, error = err,
    tasks = #tasks > 16 and cmsgpack.pack(tasks) or '', journal = journal}
  local big = {}
  for name, part in pairs(parts) do
    if #part > $inline_bytes then
      big[#big + 1] = name
      big[#big + 1] = part
      parts[name] = ''
    end
  end
  if #big > 0 then
    redis.call('HSET', $big .. uid, unpack(big))
    redis.call('PEXPIRE', $big .. uid, r.retention)
  end
  if #tasks > 16 and parts.tasks == '' then tasks = {} end
  redis.call('SET', $end .. uid, cmsgpack.pack({status, r.api, r.facts, r.created, r.started, now_ms,
    r.attempt, r.token, r.seq, r.retention, r.deaths, r.reason, parts.input, parts.output, parts.error,
    tasks, parts.journal, #big > 0 and 1 or 0, tonumber(own[2]) or 0}), 'PX', r.retention)
  redis.call('DEL', $run .. uid, $frames .. uid, $values .. uid, $tasks .. uid, $journal .. uid)
  ended[#ended + 1] = uid
end

local function announce_ended()
  if #ended > 0 then redis.call('PUBLISH', $ended_channel, table.concat(ended, ' ')) end
end
