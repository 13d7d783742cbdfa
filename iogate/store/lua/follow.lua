-- Reads the journal of a run from an entry on.
-- keys: run, journal, parked, end, big
-- args: uid, number of the entry before the first one, maximum number of entries
-- returns: {1 for a live run else 0, number of the newest entry, number of the first returned entry, entry…}; nil if
--   there is no run
-- invariant: reads only, in one step, because the run may end or be retried in between; loads no other part of it.
-- include: ended
local uid, after, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Returns the page of a journal with `size` entries, after `dropped` older ones; `read` returns those from an index on.
local function page_of(live, dropped, size, read)
  local skipped = math.max(0, after - dropped)
  local last = math.min(size, skipped + most)
  local found = {live, dropped + size, dropped + skipped + 1}
  if last <= skipped then return found end
  for _, entry in ipairs(read(skipped + 1, last)) do found[#found + 1] = entry end
  return found
end

local function live_page()
  local v = redis.call('HMGET', $run .. uid, 'pl', 'jdr')
  if v[1] then
    return page_of(1, tonumber(v[2]) or 0, redis.call('LLEN', $journal .. uid), function(first, last)
      return redis.call('LRANGE', $journal .. uid, first - 1, last - 1)
    end)
  end
  local packed = redis.call('GET', $parked .. uid)
  if not packed then return nil end
  local run, _, journal = unpack(cmsgpack.unpack(packed))
  local dropped = 0
  for i = 1, #run, 2 do
    if run[i] == 'jdr' then dropped = tonumber(run[i + 1]) or 0 end
  end
  return page_of(1, dropped, #journal, function(first, last) return {unpack(journal, first, last)} end)
end

-- The journal of an ended run is one text with a line per entry.
local function ended_page()
  local e = ended_record(uid)
  if not e then return nil end
  local text = e.big == 1 and redis.call('HGET', $big .. uid, 'journal') or e.journal
  local ends, from = {}, 1
  while from <= #text do
    local line_end = string.find(text, '\n', from, true) or #text + 1
    ends[#ends + 1] = line_end
    from = line_end + 1
  end
  return page_of(0, tonumber(e.dropped) or 0, #ends, function(first, last)
    local lines = {}
    for i = first, last do lines[#lines + 1] = string.sub(text, (ends[i - 1] or 0) + 1, ends[i] - 1) end
    return lines
  end)
end

return live_page() or ended_page()
