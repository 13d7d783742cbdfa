-- Asks for a run's end: one that never started ends here, any other is told by its worker.
-- keys: run and all beside it, RQ's, gate, timers, suspects, backlog, woken; parent and children alike; outboxes, operation
-- args: uid, reason, key of the operation or ''
-- returns: 'unknown' | 'ended' | 'asked' | 'cancelled'
-- invariant: the first reason stays; a run under lease is never moved from here.
-- include: drained time index queue rq room states record inbox outbox journal outcome finish operation
local known = answered(ARGV[3])
if known then return known end
local answer = cancel(ARGV[1], ARGV[2])
save_loads()
save_index()
announce_ended()
ring()
if answer == 'asked' or answer == 'cancelled' then answer_once(ARGV[3], answer) end
return answer
