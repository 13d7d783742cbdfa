-- Index of runs by their attributes: a sorted set per API, whose members are the hash of name and value of an attribute,
-- the creation of the run and its uid. Members of one attribute are therefore in the order of listings.
-- A run has its attributes packed in one field: the hashes, then their JSON.

local function attribute_members(uid, created, packed)
  local members = {}
  for hash in string.gmatch(string.match(packed, '^%x*'), string.rep('%x', $attribute_hash)) do
    members[#members + 1] = hash .. string.format('%0' .. $attribute_time .. 'd', created) .. uid
  end
  return members
end

local function index_attributes(uid, api, created, packed)
  for _, member in ipairs(attribute_members(uid, created, packed)) do
    redis.call('ZADD', $attributes .. api, 0, member)
  end
end

local function forget_attributes(uid, api, created, packed)
  for _, member in ipairs(attribute_members(uid, created, packed)) do
    redis.call('ZREM', $attributes .. api, member)
  end
end
