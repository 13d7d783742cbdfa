-- Requests the end of a run: one that never started ends here, any other is ended by its worker.
-- keys: all keys of the run, its parent and children; RQ's, gate, timers, suspects, backlog, woken, outboxes,
--   operation
-- args: uid, reason, key of the operation or ''
-- returns: 'unknown' | 'ended' | 'asked' | 'cancelled'
-- invariant: the first reason is kept; the state of a leased run does not change.
-- include: drained time index queue states operation finish
local known = answered(ARGV[3])
if known then return known end
local answer = cancel(ARGV[1], ARGV[2])
save_loads()
save_index()
announce_ended()
ring()
if answer == 'asked' or answer == 'cancelled' then answer_once(ARGV[3], answer) end
return answer
