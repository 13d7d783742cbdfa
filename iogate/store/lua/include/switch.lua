-- Switch of an API in a new revision. `own` is the switch that `enable` and `disable` set if git has no value, `by`
-- is who set it, when and why: 'MS AUTHOR', a line break, the reason; `override` has precedence over git's value.
--
-- No revision undoes the switch of a person: an override lasts until a command ends it or its time is over, except
-- that one that enables ends once git agrees. The other way would let a rollback, or a merge that agreed for a
-- while, enable what a person has disabled.
-- needs: clock states
local function person_of(author, reason, at)
  return string.format('%d ', tonumber(at) or 0) .. string.gsub(author or '', '%c', ' ') .. '\n' .. (reason or '')
end

local function switch_of(api, git, clear, is_rollback)
  local key = $gate .. api
  local was = redis.call('HMGET', key, 'git', 'own', 'override', 'until', 'by', 'author', 'reason', 'at', 'hold')
  local before, own, override, expires, by = was[1], was[2] or '0', was[3] or '', was[4] or '', was[5]
  local person = person_of(was[6], was[7], was[8])
  local held = was[9] and is_held(load_of(api))
  -- Earlier releases did not write `by`.
  if not by and before == '' and own == '0' and override .. expires == '' and was[6] and was[6] ~= 'iogate' then
    by = person
  end
  if redis.call('SREM', $deleted, api) == 1 and not is_rollback then
    own, override, expires, by = '0', held and '3' or git == '1' and '0' or '', '', false
    if held then set_hold(api, load_of(api), $held_ms, 0) end
    redis.call('HSET', key, 'author', 'iogate', 'reason', 'it was deleted and came back', 'at', now_ms)
  elseif clear or expires ~= '' and now_ms >= tonumber(expires) then
    override, expires, by = '', '', not clear and by
    redis.call('HDEL', key, 'author', 'reason', 'at')
  end
  if before and before ~= '' and git == '' then
    -- From now on `enable` and `disable` own the switch, which stays as it is.
    own, by = before, false
    if expires == '' and (override == '0' or override == '1') then own, override, by = override, '', person end
  elseif before == '' and git == '1' and own == '0' and override == '' and by then
    -- A merge that adds `enabled: true` does not enable an API that a person has disabled.
    local at, author, reason = string.match(by, '^(%d+) ([^\n]*)\n(.*)$')
    override = '0'
    redis.call('HSET', key, 'author', author or '', 'reason', reason or '', 'at', at or now_ms)
  elseif override == '1' and expires == '' and git == '1' then
    override = ''
  end
  if by and git == '' then redis.call('HSET', key, 'by', by) else redis.call('HDEL', key, 'by') end
  local holds = override == '2' or override == '3'
  if held and not holds then end_hold(api, load_of(api)) end
  if holds and not held then set_hold(api, load_of(api), tonumber(expires) or $held_ms, 0) end
  if expires == '' then redis.call('ZREM', $expiries, api) else redis.call('ZADD', $expiries, expires, api) end
  loads[api] = nil -- the caller writes new limits
  return own, override, expires
end
