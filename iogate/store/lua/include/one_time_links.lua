-- Events of one-time links. The hash of a link exists once it was used: `use` is the id of that use, and `event`
-- its event, until a task of the run listens for it. After a retry that has renewed the link, `spent` is the end of the
-- URL that was used, and `use` belongs to a later one.
-- needs: inbox
local function listens_for(types, kind)
  for each in string.gmatch(types .. ' ', '(.-) ') do
    if each == kind or each == '' then return true end
  end
  return false
end

-- Delivers the event to each task of the run that listens for it; returns whether there was any.
local function deliver_link(uid, r, kind, event)
  local posted, flat = false, redis.call('HGETALL', $wanted .. uid)
  for i = 1, #flat, 2 do
    local types = string.match(flat[i + 1], '^%d+\n(.-)\n')
    if types and listens_for(types, kind) then
      post(uid, r, flat[i], 'event', event)
      posted = true
    end
  end
  return posted
end

-- Delivers events of used links to the new subscriptions `wants` of a commit: lists of frame, types and filters.
local function offer_links(uid, r, wants)
  local offered = {}
  for _, wanted in ipairs(wants) do
    for _, kind in ipairs(wanted[2]) do
      if string.sub(kind, 1, #$link_event) == $link_event then
        local key = $link .. uid .. ':' .. string.sub(kind, #$link_event + 1)
        local event = offered[key] or redis.pcall('HGET', key, 'event')
        if type(event) == 'string' then
          offered[key] = event
          post(uid, r, wanted[1], 'event', event)
          r.posted = r.posted + 1
        end
      end
    end
  end
  for key in pairs(offered) do redis.call('HDEL', key, 'event') end
end
