-- Child runs. They belong to the API of their parent and are queued like new calls. A hold does not apply to them,
-- since their parent has started: they are then queued like woken runs.
-- needs: clock index states files finish

-- Returns whether another run has the uid of one of these children; a seal of facts is valid for one uid only.
local function uids_are_taken(children)
  local drawn = {}
  for _, child in ipairs(children) do
    local uid = child[1]
    if drawn[uid] or redis.call('EXISTS', $run .. uid, $parked .. uid, $end .. uid) > 0 then return true end
    drawn[uid] = true
  end
  return false
end

local function family_of(uid)
  return redis.call('HGET', $run .. uid, 'fam') or uid
end

-- Returns whether the family of a run is at its limit, or was and has not ended completely since.
local function family_is_full(uid, count)
  local family = family_of(uid)
  local live = tonumber(redis.call('HGET', $families, family)) or 0
  if live + count <= $family_runs then return false end
  if live < $family_closed and live > 0 then redis.call('HINCRBY', $families, family, $family_closed) end
  return true
end

-- Starts a child, unless it is scheduled and the queue is full. Scheduled runs do not belong to the family of
-- their standing run.
local function start_child(parent, r, scheduled, uid, frame, facts, input, awaits)
  local load = load_of(r.api)
  local room = scheduled and tonumber(redis.call('HGET', $gate .. r.api, 'queued') or '')
  if room and load.inq + load.bl >= room then return false end
  if not scheduled then
    local family = family_of(parent)
    redis.call('HSET', $run .. uid, 'fam', family)
    redis.call('HINCRBY', $families, family, 1)
  end
  redis.call('HSET', $run .. uid, 'api', r.api, 'f', facts, 'in', input, 'crt', now_ms, 'ret', r.retention,
    'st', 'pending', 'dep', r.depth + 1)
  if (r.files or '') ~= '' then
    redis.call('HSET', $run .. uid, 'fl', r.files)
    need_files(r.files, uid, 'inf')
  end
  index(uid, r.api, now_ms, nil, 'pending')
  if awaits == 1 then
    redis.call('HSET', $run .. uid, 'par', parent, 'pfr', frame)
    redis.call('HSET', $children .. parent, frame, uid)
    redis.call('HSET', $run .. parent, 'ext', 1)
    r.reaches = '1'
  end
  line_up(uid, r.api, load.from and 'woken' or 'backlog')
  return true
end

local function abandon_child(parent, frame)
  local child = redis.call('HGET', $children .. parent, frame)
  if not child then return end
  redis.call('HDEL', $children .. parent, frame)
  cancel(child, 'its parent ' .. parent .. ' does not wait for it any more')
end
