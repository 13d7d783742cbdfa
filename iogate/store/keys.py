"""Every key of the store and how long it lives; nothing else in the package spells a key.

The Lua operations read the names and numbers of `LUA` as `$name`, which `scripts` replaces by
literals when it loads them, so that a key has one spelling in both languages.

    key                        type    holds                                          lives
    iogate:run:UID             hash    record of a run that has not ended             until it ends
    iogate:frames:UID          hash    head and frames, a field each                  until it ends (1)
    iogate:values:UID          hash    digest to a value over 64 KiB                  until it ends (1)
    iogate:tasks:UID           hash    reference to a packed row                      until it ends
    iogate:journal:UID         list    the last JOURNAL_ENTRIES lines                 until it ends
    iogate:parked:UID          string  all but values of a small run that waits       until it goes on
    iogate:end:UID             string  the whole record of an ended run, packed       retention
    iogate:big:UID             hash    its large parts                                retention
    iogate:runs:STATUS         zset    uid by creation: index of lists and counts     as the run; audit
    iogate:backlog:API         list    new runs that may not be in the RQ queue yet   until promoted
    iogate:woken:API           list    woken runs, likewise; they go before new ones  until promoted
    iogate:inbox:UID           list    messages that no commit has taken in           until it ends
    iogate:wanted:UID          hash    frame to its subscription                      until it ends
    iogate:children:UID        hash    frame to the uid of the child it waits for     until it ends
    iogate:families            hash    run to how many that it brought about live     until they end
    iogate:timers              zset    parked uid by due time                         until due
    iogate:leases              zset    leased uid by the lease's end                  until the commit
    iogate:suspects            list    runs of a dead worker                          until taken alone
    iogate:upkeep              string  when timers and leases were last looked at     for ever
    iogate:idle                set     workers that have room and wait for a run      until woken
    iogate:clock_ahead         string  ms of the store's time before its clock        for ever
    iogate:taken:WORKER        string  last answer to this worker's take              TAKEN_S
    iogate:events              list    published events, numbered                     until matched
    iogate:seen:HASH           string  an event was published (sender, source, id)    SEEN_S
    iogate:wants:TYPE          hash    "uid:frame" to filters; of no one type: ""     as the subscription
    iogate:matcher             hash    who matches, until when; last number           for ever
    iogate:outbox:SINK         list    events for a sink of the settings              until delivered (2)
    iogate:sink:SINK           hash    its courier, until when; entries gone, dropped (2)
    iogate:sinks               set     names of sinks                                 (2)
    iogate:schedules           hash    schedule to its kind, phase and JSON           as the revision
    iogate:ticks               zset    schedule by the moment of its next tick        as the revision
    iogate:chains              hash    schedule to the run whose end brings the next  until that end
    iogate:operation:HASH      string  answer to what a person asked for by an id     OPERATION_S
    iogate:idem:API:HASH       string  uid and fingerprint; void without the run      the API's ttl
    iogate:gate:API            hash    what accept judges by, and the API's load      until pruned
    iogate:gates               set     ids of all APIs that have a gate               as the gates
    iogate:deleted             set     ids of APIs that were deleted                  until they return
    iogate:expiries            zset    API by the end of its override                 until published
    iogate:drained             string  author and times of a drain                    as the drain asks
    iogate:full                string  set while memory is over the watermark         FULL_S
    iogate:live                hash    live revision: number, digest; change counter  for ever
    iogate:revision:N          hash    a published revision                           REVISIONS_KEPT
    iogate:revisions           list    their numbers, newest first                    REVISIONS_KEPT
    iogate:program:DIGEST      string  JSON of a definition, perhaps with signature   while needed; audit
    iogate:content:DIGEST      string  content of a resource                          while needed; audit
    iogate:blobs               zset    keys of programs and contents by last publish  as they
    iogate:format              string  number of the form of all this                 for ever
    iogate:keys                hash    public names of the link keys in use           for ever
    iogate:refused             hash    kind of object to how many did not verify      for ever
    iogate:process:KIND:ID     string  announcement of a gateway or worker            PROCESS_S
    iogate:processes:KIND      zset    ids by last announcement                       PROCESS_S

(1) Of a run that faulted: its retention longer, for `retry`.
(2) And until no worker's settings have named the sink for SINK_KEPT_MS.
RQ's own keys carry RQ's own lifetimes: job, result and finished entry RQ_RESULT_S after the end.
"""

from __future__ import annotations

import hashlib
from typing import Final

from iogate.errors import ERROR_TYPES

QUEUE: Final = "iogate"
"""The one RQ queue."""
RUNTIME_ERROR: Final = f"{ERROR_TYPES}runtime"
JOB_FUNCTION: Final = "iogate.worker.job.advance"

LEASE_MS: Final = 15_000
SILENCE_MS: Final = 5_000
"""Every worker takes at least each 250 ms. When none has for this long, the store itself was away, and the
leases of workers that could not renew get another LEASE_MS."""
LOOK_MS: Final = 1_000
"""How often the time of the last take is written, at least."""
SET_BACK_MS: Final = 1_000
"""The store's clock was set back if it shows so much less than at the last take."""
SET_BACK_MOST_MS: Final = 30 * 86_400_000
"""Beyond that, something else writes to the store."""
QUEUED_IN_RQ: Final = 64
"""Runs of one API in the RQ queue at once; the rest wait in its backlog."""
COMMIT_BYTES: Final = 64 * 1024**2
"""Of a user's data in one commit: the store does nothing else while it reads and writes it, and what takes
it longer than anyone waits would be sent for ever."""
TAKE_BYTES: Final = 8 * 1024**2
"""Of inputs and states in one take: it stops there, and goes on with the next."""
TAKE_MS: Final = 10
"""Processor time of one take, half of it for due timers and a quarter for lost leases; the next goes on."""
RECOVER_MS: Final = 10
"""Processor time of one call of `recover`, after which the next call goes on."""
JOURNAL_ENTRIES: Final = 1_000
TASK_ROWS: Final = 1_000
DEATHS: Final = 3
"""Deaths of a solitary worker after which a run is poisoned."""
UNSEEN_LOSSES: Final = 5
"""Losses of a lease at one point, without a parent that saw a worker die, that make a suspect: of a machine
that goes down four times during one call, no run is to blame."""
SEEN_LOSSES: Final = 5
"""Losses that were seen, at whatever point, that make a suspect: a run may get on between them."""
RQ_RESULT_S: Final = 500
RQ_HEARTBEAT_S: Final = 90
"""Lifetime of RQ's execution: its monitoring interval of 30 s plus a minute."""
RQ_RESULTS_KEPT: Final = 20_000
"""A one-entry stream costs up to 4.3 KB where the server preallocates: beyond this many, results are
left out, and RQ shows the job's status without a result."""
RQ_FINISHED_KEPT: Final = 100_000
"""Beyond this many finished jobs in RQ_RESULT_S, RQ's job is deleted at once (its `result_ttl=0`)."""
INLINE_BYTES: Final = 4_096
"""Parts of an ended run above this stand beside its record, so that lists stay cheap to read."""
FOLDED_PARTS: Final = 32
"""Frames, tasks or lines of a waiting run up to which they are folded into one string."""
TAKEN_S: Final = 60
OPERATION_S: Final = 86_400
FULL_S: Final = 10
PROCESS_S: Final = 15
SEEN_S: Final = 86_400
MATCHER_MS: Final = 5_000
INBOX_READ: Final = 256
"""Messages of one run that are read at once; the next ones when these are taken in."""
INBOX_ENTRIES: Final = 100_000
"""Messages that wait for one run; further events are lost to it."""
OUTBOX_ENTRIES: Final = 100_000
OUTBOX_LEASE_MS: Final = 15_000
SINK_NAMED_MS: Final = 15_000
"""Every worker names its sinks each 4 s: one that was not named for longer is in no worker's settings."""
SINK_KEPT_MS: Final = 86_400_000
"""For how long what waits for such a sink is kept: it may come back with the next deploy."""
REVISIONS_KEPT: Final = 50
FORMAT_NUMBER: Final = 2
"""Of the store's form: 1, of releases up to 0.9, has no seals and no number."""
FAMILY_RUNS: Final = 10_000
"""Runs that one run brings about, those of its children included, that live at once. What goes beyond starts
no more until all of them have ended: workflows that start themselves must come to an end."""
FAMILY_CLOSED: Final = 1_000_000_000
"""Added to the count of such a family."""

RUN: Final = "iogate:run:"
FRAMES: Final = "iogate:frames:"
VALUES: Final = "iogate:values:"
TASKS: Final = "iogate:tasks:"
JOURNAL: Final = "iogate:journal:"
END: Final = "iogate:end:"
BIG: Final = "iogate:big:"
INDEX: Final = "iogate:runs:"
BACKLOG: Final = "iogate:backlog:"
WOKEN: Final = "iogate:woken:"
PARKED: Final = "iogate:parked:"
INBOX: Final = "iogate:inbox:"
WANTED: Final = "iogate:wanted:"
CHILDREN: Final = "iogate:children:"
FAMILIES: Final = "iogate:families"
TIMERS: Final = "iogate:timers"
LEASES: Final = "iogate:leases"
SUSPECTS: Final = "iogate:suspects"
UPKEEP: Final = "iogate:upkeep"
IDLE: Final = "iogate:idle"
CLOCK_AHEAD: Final = "iogate:clock_ahead"
TAKEN: Final = "iogate:taken:"
EVENTS: Final = "iogate:events"
SEEN: Final = "iogate:seen:"
WANTS: Final = "iogate:wants:"
MATCHER: Final = "iogate:matcher"
OUTBOX: Final = "iogate:outbox:"
SINK: Final = "iogate:sink:"
SINKS: Final = "iogate:sinks"
SCHEDULES: Final = "iogate:schedules"
TICKS: Final = "iogate:ticks"
CHAINS: Final = "iogate:chains"
OPERATION: Final = "iogate:operation:"
IDEMPOTENCY: Final = "iogate:idem:"
GATE: Final = "iogate:gate:"
GATES: Final = "iogate:gates"
DELETED: Final = "iogate:deleted"
EXPIRIES: Final = "iogate:expiries"
FULL: Final = "iogate:full"
DRAINED: Final = "iogate:drained"
LIVE: Final = "iogate:live"
REVISION: Final = "iogate:revision:"
REVISIONS: Final = "iogate:revisions"
PROGRAM: Final = "iogate:program:"
CONTENT: Final = "iogate:content:"
BLOBS: Final = "iogate:blobs"
FORMAT: Final = "iogate:format"
KEYS: Final = "iogate:keys"
REFUSED: Final = "iogate:refused"
PROCESS: Final = "iogate:process:"
PROCESSES: Final = "iogate:processes:"

WAKE_CHANNEL: Final = "iogate:wake:"
"""With a worker's name: its doorbell, there is a run in the RQ queue for it."""
ENDED_CHANNEL: Final = "iogate:ended"
"""Uids that ended, space-separated."""
JOURNAL_CHANNEL: Final = "iogate:journal:"
"""With a uid: doorbell of those who follow the run's journal, an entry was written."""
CANCEL_CHANNEL: Final = "iogate:cancel"
"""A uid under lease whose end someone asked for."""
NEWS_CHANNEL: Final = "iogate:news"
"""A uid under lease for which something came into its inbox."""
EVENTS_CHANNEL: Final = "iogate:events"
"""Doorbell of the matcher: events were published."""
OUTBOX_CHANNEL: Final = "iogate:outbox"
"""Doorbell of the couriers: the name of a sink whose outbox was empty and is not any more."""
CONFIRM_CHANNEL: Final = "iogate:confirm"
"""Heard by nobody: a message goes to the replicas, so that WAIT has something to wait for."""
CHANGE_CHANNEL: Final = "iogate:change"
"""Revision or gates changed."""

RQ_QUEUES: Final = "rq:queues"
RQ_QUEUE: Final = f"rq:queue:{QUEUE}"
RQ_JOB: Final = "rq:job:"
RQ_RESULTS: Final = "rq:results:"
RQ_EXECUTION: Final = "rq:execution:"
RQ_EXECUTIONS: Final = "rq:executions:"
RQ_WORKER: Final = "rq:worker:"
RQ_WORKERS: Final = "rq:workers"
RQ_WORKERS_OF_QUEUE: Final = f"rq:workers:{QUEUE}"
RQ_STARTED: Final = f"rq:wip:{QUEUE}"
RQ_FINISHED: Final = f"rq:finished:{QUEUE}"
RQ_FAILED: Final = f"rq:failed:{QUEUE}"
RQ_CANCELED: Final = f"rq:canceled:{QUEUE}"
RQ_DEFERRED: Final = f"rq:deferred:{QUEUE}"
RQ_SCHEDULED: Final = f"rq:scheduled:{QUEUE}"
RQ_READY: Final = f"rq:ready:{QUEUE}"
RQ_SUSPENDED: Final = "rq:suspended"

STATUSES: Final = ("pending", "running", "waiting", "suspended", "cancelled", "faulted", "completed")
ENDED: Final = frozenset({"cancelled", "faulted", "completed"})

ALL: Final = "iogate:*"
"""Pattern of every key that is not RQ's."""

LUA: Final[dict[str, str | int]] = {
    name.lower(): value
    for name, value in dict(globals()).items()
    if name.isupper() and isinstance(value, str | int)
}
"""What `$name` in a Lua file stands for."""


def idempotency(api: str, caller: str, key: str) -> str:
    """One namespace a caller of an API; hashed, since a client chooses the key's length."""
    digest = hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()[:40]
    return f"{IDEMPOTENCY}{api}:{digest}"


def operation(action: str, uid: str, by_id: str) -> str:
    """Return the key of what a person asks for, of one run; empty if it carries no id."""
    if not by_id:
        return ""
    return OPERATION + hashlib.sha256(f"{action}\0{uid}\0{by_id}".encode()).hexdigest()[:40]
