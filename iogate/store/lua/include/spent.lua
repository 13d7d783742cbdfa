-- Processor time that the script has used. Redis before 7.0 has no `os`: there only the numbers of runs are bounded.
local has_clock, processor_s = pcall(function() return os.clock end)
local began_s = has_clock and processor_s() or 0

local function spent_ms()
  return has_clock and (processor_s() - began_s) * 1000 or 0
end
