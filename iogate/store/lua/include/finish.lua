-- Ends a run: its hash and related keys become one packed string that expires with the retention.
-- Parts over $inline_bytes are stored in a second hash. Order of the packed fields: `ended.lua`.
-- A faulted run keeps its frames and values for the retention, so that it can be retried. Subscriptions, inbox
-- and awaited children end with the run; its parent gets a message.
-- needs: clock index states lanes record inbox journal outcome after files statistics
local ended = {}
local cancel

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

local function unsubscribe(uid, frame)
  local wanted = redis.call('HGET', $wanted .. uid, frame)
  if not wanted then return nil end
  local since, types = string.match(wanted, '^(%d+)\n(.-)\n')
  for kind in string.gmatch(types .. ' ', '(.-) ') do
    redis.call('HDEL', $wants .. kind, uid .. ':' .. frame)
  end
  redis.call('HDEL', $wanted .. uid, frame)
  return tonumber(since)
end

-- Sends the result of a run to its parent, if the parent still waits for it.
-- `seal` is made by the worker that ended the run; a result from a script has none.
local function notify_parent(uid, parent, frame, status, output, err, seal)
  local children = $children .. parent
  if redis.call('HGET', children, frame) ~= uid then return end
  redis.call('HDEL', children, frame)
  local r = record(parent)
  if not r then return end
  post(parent, r, frame, 'child', '{"status":"' .. status .. '","output":' .. (output ~= '' and output or 'null') ..
    ',"error":' .. (err ~= '' and err or 'null') ..
    (seal and ',"seal":"' .. seal .. '"' or '') .. '}')
end

local function end_relations(uid)
  for _, frame in ipairs(redis.call('HKEYS', $wanted .. uid)) do unsubscribe(uid, frame) end
  local children = redis.call('HVALS', $children .. uid)
  redis.call('DEL', $wanted .. uid, $inbox .. uid, $children .. uid)
  for _, child in ipairs(children) do cancel(child, 'its parent ' .. uid .. ' has ended') end
end

-- Sets the next tick of a schedule that follows the end of its run. A standing run, which revision 0 marks, may fault
-- before it listens, for example for lack of a secret: the next one then starts after 60 times the delay.
local function tick_again(uid, api, r, status)
  local chained, again = string.match(redis.call('HGET', $chains, api) or '', '^(%d+) (%d+)$')
  if chained ~= uid then return end
  redis.call('HDEL', $chains, api)
  local has_listened = status ~= 'faulted' or r.seq > 1 or r.reaches or string.sub(r.facts, 1, 3) ~= '[0,'
  redis.call('ZADD', $ticks, now_ms + (has_listened and 1 or 60) * again, api)
end

local function finish(uid, r, status, output, err, tasks, journal, seal)
  count_end(uid, r, status, r.group)
  local own = redis.call('HMGET', $run .. uid, 'in', 'jdr', 'par', 'pfr', 'sch', 'fam', 'ck', 'wk', 'aft', 'mrg', 'at')
  local parts = {input = own[1] or '', output = output, error = err, tasks = '', journal = journal}
  -- The body, all but the error, is apart from the head, which lists read, unless it is small.
  local is_apart = #parts.input + #parts.output + #journal > $body_bytes
  local has_rows = #tasks > 16 or is_apart and #tasks > 0
  if has_rows then parts.tasks = cmsgpack.pack(tasks) end
  -- A large output that equals the input is stored once; `views` decodes the mark, which is not JSON.
  if #output > $inline_bytes and output == parts.input then parts.output = '=' end
  local big = {}
  for name, part in pairs(parts) do
    -- A compressed part is not text, so it cannot be part of the record, even if it is small.
    if #part > $inline_bytes or string.byte(part) == 120 or is_apart and name ~= 'error' and #part > 1 then
      big[#big + 1] = name
      big[#big + 1] = part
      parts[name] = ''
    end
  end
  if #big > 0 then
    redis.call('HSET', $big .. uid, unpack(big))
    redis.call('PEXPIRE', $big .. uid, r.retention)
  end
  if has_rows and parts.tasks == '' then tasks = {} end
  redis.call('SET', $end .. uid, cmsgpack.pack({status, r.api, r.facts, r.created, r.started, now_ms,
    r.attempt, r.token, r.seq, r.retention, r.deaths, r.reason, parts.input, parts.output, parts.error,
    tasks, parts.journal, #big > 0 and 1 or 0, tonumber(own[2]) or 0, r.posted, r.depth,
    own[3] or '', own[7] or '', tonumber(own[10]) or 0, r.files or '', own[11] or ''}), 'PX', r.retention)
  if r.files then need_files(r.files, uid, now_ms + r.retention) end
  if status == 'faulted' then
    redis.call('PEXPIRE', $frames .. uid, r.retention)
    redis.call('PEXPIRE', $values .. uid, r.retention)
    redis.call('DEL', $run .. uid, $tasks .. uid, $journal .. uid)
  else
    redis.call('DEL', $run .. uid, $frames .. uid, $values .. uid, $tasks .. uid, $journal .. uid)
  end
  ended[#ended + 1] = uid
  if own[6] and redis.call('HINCRBY', $families, own[6], -1) % $family_closed == 0 then
    redis.call('HDEL', $families, own[6])
  end
  if r.reaches then
    end_relations(uid)
    redis.call('PEXPIRE', $recorded .. uid, r.retention)
  end
  if own[5] then tick_again(uid, own[5], r, status) end
  if own[7] then leave_place(uid, r.api, own[7]) end
  if own[8] then close_window(uid, r.api, own[8]) end
  if own[9] then after_end(uid, r, status, own[9]) end
  if own[3] then notify_parent(uid, own[3], own[4], status, output, err, seal) end
end

-- Requests the end of a run: one that never started ends here, any other is ended by its worker.
cancel = function(uid, reason)
  local r = record(uid)
  if not r then return redis.call('EXISTS', $end .. uid) == 1 and 'ended' or 'unknown' end
  if not r.cancelled then
    redis.call('HSET', $run .. uid, 'cxl', reason)
    r.reason = reason
  end
  if r.state == 'lease' then
    redis.call('PUBLISH', $cancel_channel, uid)
  elseif r.seq == 0 and r.state ~= 'suspect' then
    withdraw(uid, r)
    index(uid, r.api, r.created, r.status, 'cancelled')
    rq_outcome(uid, r, 'cancelled', '')
    local detail = r.reason ~= '' and '{"reason":' .. quoted(r.reason) .. '}'
    write_lifecycle(uid, r, {journal_entry('workflow.cancelled', nil, detail)})
    finish(uid, r, 'cancelled', '', '', fold_tasks(uid), fold_journal(uid))
    return 'cancelled'
  elseif r.state == 'timer' or r.state == 'suspended' or r.state == 'lane' then
    withdraw(uid, r)
    redis.call('HDEL', $run .. uid, 'sus')
    wake(uid, r.api)
  end
  return 'asked'
end

local function announce_ended()
  if #ended > 0 then redis.call('PUBLISH', $ended_channel, table.concat(ended, ' ')) end
  save_statistics()
  notify_workers()
  ring_callbacks()
end
