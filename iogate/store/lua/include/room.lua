-- Returns whether the RQ queue has room for another run of an API with this load.
local function may_queue(load)
  return load.inq < $queued_in_rq and load.inq + load.run < load.limit
end
