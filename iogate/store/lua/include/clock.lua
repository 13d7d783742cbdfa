-- Time of the store, read once per script: the clock of leases, timers and RQ. It is the clock of Redis and never
-- decreases: if that clock is set back, `take` records by how much the store's time is ahead of it. A script includes
-- `time`, which corrects the clock by that, unless it finds out in another way that there is nothing to correct.
local clock, floor = redis.call('TIME'), math.floor
local raw_ms = tonumber(clock[1]) * 1000 + floor(tonumber(clock[2]) / 1000)
local ahead_ms, now_s, now_us, now_ms, float_cache

local function set_ahead(ms)
  ahead_ms, now_ms = ms, raw_ms + ms
  now_s = floor(now_ms / 1000)
  now_us = now_ms % 1000 * 1000 + tonumber(clock[2]) % 1000
  float_cache = nil
end

-- Sets the store's time ahead of the clock by as much as `take` has recorded.
local function correct_clock()
  local noted = redis.pcall('GET', $clock_ahead)
  set_ahead(type(noted) == 'string' and #noted < 12 and string.match(noted, '^%d+$') and tonumber(noted) or 0)
end
set_ahead(0)

local function now_float()
  float_cache = float_cache or string.format('%d.%06d', now_s, now_us)
  return float_cache
end

-- RQ's time format. Days to a civil date by Hinnant's algorithm, since Redis's Lua has no os.date.
local stamp_cache
local function stamp()
  if stamp_cache then return stamp_cache end
  local days = floor(now_s / 86400)
  local rest = now_s - days * 86400
  local z = days + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local day = doy - floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  stamp_cache = string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day,
    floor(rest / 3600), floor(rest / 60) % 60, rest % 60, now_us)
  return stamp_cache
end
