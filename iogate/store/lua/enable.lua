-- Enables or disables APIs, effective for the next call.
-- keys: gates, gate of each API, expiries, live
-- args: '1' or '0', author, reason, ttl ms ('' none), api…
-- returns: APIs without a gate; if there are any, nothing was changed
-- invariant: the switch of an API without a value in git is changed; otherwise, or with a ttl, it is an override.
-- include: drained time
local wanted, author, reason, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local unknown = {}
for i = 5, #ARGV do
  if redis.call('SISMEMBER', $gates, ARGV[i]) == 0 then unknown[#unknown + 1] = ARGV[i] end
end
if #unknown > 0 then return unknown end

for i = 5, #ARGV do
  local key = $gate .. ARGV[i]
  local g = redis.call('HMGET', key, 'git', 'own')
  local git, own = g[1], g[2]
  local override, expires = wanted, ''
  redis.call('ZREM', $expiries, ARGV[i])
  if ttl ~= '' then
    expires = now_ms + tonumber(ttl)
    redis.call('ZADD', $expiries, expires, ARGV[i])
  elseif git == '' then
    own, override = wanted, ''
  elseif git == wanted then
    override = ''
  end
  redis.call('HSET', key, 'own', own, 'base', git == '' and own or git, 'override', override, 'until', expires,
    'on', wanted, 'author', author, 'reason', reason, 'at', now_ms)
end
redis.call('HINCRBY', $live, 'changes', 1)
redis.call('PUBLISH', $change_channel, 'gates')
return {}
