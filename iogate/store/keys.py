"""Keys, channels and limits of the store; no other module spells a key.

The Lua scripts use the names and numbers of `LUA` as `$name`, which `scripts` replaces by literals when it
loads them, so that both languages share one definition.

    key                        type    holds                                          lives
    iogate:run:UID             hash    record of a run that has not ended             until it ends
    iogate:frames:UID          hash    head and frames, a field each                  until it ends (1)
    iogate:values:UID          hash    digest to a value over 64 KiB                  until it ends (1)
    iogate:tasks:UID           hash    reference to a packed row                      until it ends
    iogate:journal:UID         list    the last JOURNAL_ENTRIES entries               until it ends
    iogate:parked:UID          string  all but values of a small waiting run          until it is woken
    iogate:end:UID             string  record of an ended run, or only its head       retention
    iogate:big:UID             hash    its body if it is not small, its large parts   retention
    iogate:runs:STATUS         zset    uid by creation time, for lists and counts     as the run; audit
    iogate:runs:API            zset    likewise, all runs of an API                   as the run; audit
    iogate:attributes:API      zset    hash of an attribute, creation and uid of run  as the run; audit
    iogate:runs:by_api         string  set once the indexes by API have all runs      permanent
    iogate:recorded:UID        list    results of tasks, for replays (`record: all`)  retention
    iogate:backlog:API         list    new runs above the limits of the RQ queue      until promoted
    iogate:woken:API           list    woken runs, likewise, ahead of new ones        until promoted
    iogate:inbox:UID           list    messages that no commit has consumed           until it ends
    iogate:wanted:UID          hash    frame to its subscription                      until it ends
    iogate:children:UID        hash    frame to the uid of the child it waits for     until it ends
    iogate:families            hash    run to its number of live descendants          until they end
    iogate:timers              zset    parked uid by due time                         until due
    iogate:leases              zset    leased uid by the lease's end                  until the commit
    iogate:suspects            list    runs suspected of killing their worker         until taken alone
    iogate:upkeep              string  time of the last check of timers and leases    permanent
    iogate:idle                set     workers with capacity that wait for a run      until woken
    iogate:clock_ahead         string  ms by which the store's time is ahead          permanent
    iogate:taken:WORKER        string  result of this worker's last take              TAKEN_S
    iogate:events              list    published events, numbered                     until matched
    iogate:seen:HASH           string  an event was published (sender, source, id)    SEEN_S
    iogate:wants:TYPE          hash    "uid:frame" to filters; type "": any type      as the subscription
    iogate:matcher             hash    current matcher, its lease; last event number  permanent
    iogate:outbox:SINK         list    events for a sink of the settings              until delivered (2)
    iogate:sink:SINK           hash    its worker, the lease; entries sent, dropped   (2)
    iogate:sinks               set     names of sinks                                 (2)
    iogate:schedules           hash    schedule to its kind, phase and JSON           as the revision
    iogate:ticks               zset    schedule by the time of its next tick          as the revision
    iogate:chains              hash    schedule to the run whose end starts the next  until that end
    iogate:schedule:ID         hash    switch, last run and skipped ticks             as the schedule (4)
    iogate:after:UID           hash    what follows the end of a run; its callback    retention
    iogate:callbacks           zset    uid by the time of the next try of a callback  until delivered
    iogate:callback_counts     hash    outcome to number of tries of callbacks        permanent
    iogate:faults              list    faulted runs whose handler is to be started    until started
    iogate:link:UID:NAME       hash    use of a one-time link, its undelivered event  until the link ends (3)
    iogate:files:ID            hash    files of a call, in chunks                     as its runs (5)
    iogate:file_runs:ID        zset    their runs by the time until which they keep   as the files
    iogate:hours:HOUR:SERIES   hash    counts of the runs of an API and a workflow    STATISTICS_MS
    iogate:series              zset    API and workflow by their last hour            STATISTICS_MS
    iogate:errors:API          hash    groups of equal errors: count, last run        STATISTICS_MS
    iogate:error_times:API     zset    these groups by their last time                STATISTICS_MS
    iogate:operation:HASH      string  result of an operation with an id              OPERATION_S
    iogate:activity            hash    changes by operators, by number                ACTIVITY_MS
    iogate:reply:HASH          string  response to an operator's request with a key   REPLY_S
    iogate:batch:ID            hash    bulk action of an operator: progress, results  BATCH_MS
    iogate:batch_runs:ID       list    its runs that are left, in sealed chunks       BATCH_MS
    iogate:batches             zset    ids of batches by creation time                BATCHES_KEPT
    iogate:batches_due         zset    id by the time at which a worker continues it  until it ends or stops
    iogate:idem:API:HASH       string  uid and fingerprint; void without the run      the API's ttl
    iogate:gate:API            hash    switch, limits and load of the API             until pruned
    iogate:gates               set     ids of all APIs with a gate                    as the gates
    iogate:deleted             set     ids of deleted APIs                            until they return
    iogate:holders:API         hash    concurrency key to the runs with its places    until they end
    iogate:lane:API:HASH       list    runs that wait for a place of that key         until they have one
    iogate:windows:API         hash    key of `coalesce` to its run                   until it starts
    iogate:priorities          hash    API to its priority, if it has one; counter ""  as the APIs
    iogate:promised:API        zset    refused calls that are expected, by their time  RETRY_MOST_MS
    iogate:rates:API           zset    caller or address by the time it may call again  until then
    iogate:expiries            zset    API by the end of its override                 until published
    iogate:releases            zset    API by the time when it releases held runs     until released
    iogate:drained             string  author and times of a drain                    as requested
    iogate:full                string  set while memory is over the watermark         FULL_S
    iogate:live                hash    live revision of each project; change counter  permanent
    iogate:revision:N          hash    a published revision                           REVISIONS_KEPT
    iogate:revisions           list    their numbers, newest first                    REVISIONS_KEPT
    iogate:revisions:PROJECT   list    likewise, for a project other than `default`   REVISIONS_KEPT
    iogate:program:DIGEST      string  JSON of a definition, optionally signed        while needed; audit
    iogate:content:DIGEST      string  content of a resource                          while needed; audit
    iogate:blobs               zset    keys of programs and contents by last publish  as these
    iogate:identity            string  random name of the store                       permanent
    iogate:format              string  format number of the store                     permanent
    iogate:keys                hash    public names of the link keys in use           permanent
    iogate:refused             hash    kind of object to number of refused ones       permanent
    iogate:process:KIND:ID     string  announcement of a gateway or worker            PROCESS_S
    iogate:processes:KIND      zset    ids by last announcement                       PROCESS_S

(1) For a faulted run until its retention has passed, for `retry`.
(2) Until no worker's settings have named the sink for SINK_KEPT_MS.
(3) LINK_EVENT_MS longer if no task of the run listened for the event when the link was used.
(4) A schedule that a person has disabled keeps it, so that it is disabled when it returns.
(5) Until the retention of all runs that were given them has passed; UPLOAD_MS until the call is accepted.
RQ's keys have the lifetimes of RQ: job, result and finished entry expire RQ_RESULT_S after the end.
"""

from __future__ import annotations

import hashlib
from typing import Final

from iogate.errors import ERROR_TYPES
from iogate.security.one_time_links import EVENT

QUEUE: Final = "iogate"
"""The one RQ queue."""
RUNTIME_ERROR: Final = f"{ERROR_TYPES}runtime"
JOB_FUNCTION: Final = "iogate.worker.job.advance"

LEASE_MS: Final = 15_000
SILENCE_MS: Final = 5_000
"""Workers take each second. After a longer silence, the store was away: leases are extended by LEASE_MS."""
LOOK_MS: Final = 1_000
"""Maximum interval between writes of the time of the last take."""
SET_BACK_MS: Final = 1_000
"""The clock counts as set back if it is this far behind the last take."""
SET_BACK_MOST_MS: Final = 30 * 86_400_000
"""Beyond this, another program has written the time."""
QUEUED_IN_RQ: Final = 64
"""Maximum number of runs of one API in the RQ queue; the others wait in its backlog."""
HELD_MS: Final = 9_000_000_000_000_000
"""Time in the gate of an API, or of the tick of a schedule, that only a command releases."""
DRAIN_MS: Final = 60_000
"""Time in which the number of taken runs of a drain rate decays to 37 %."""
RETRY_LEAST_MS: Final = 1_000
RETRY_MOST_MS: Final = 300_000
"""Bounds of the time after which a call that the queue has no room for is to return."""
PROMISE_GRACE_MS: Final = 15_000
"""Time for which the place of a call that is expected is kept."""
PROMISES_KEPT: Final = 10_000
"""Maximum number of calls of one API that are expected."""
ALIKE: Final = 8
"""Maximum number of expected calls with equal input and without an idempotency key."""
RATE_KEYS: Final = 65_536
"""Maximum number of callers or addresses of one API whose calls are counted; with `limits.per`."""
PROMOTED: Final = 64
"""Maximum number of runs that leave a lane at once, because a script blocks the server."""
REFILLED: Final = 1_000
"""Number of concurrency keys to which a publish applies a raised limit at once; the audit does the rest."""
REPLACEABLE: Final = 256
"""Number of runs at the head of a queue among which `on_full: replace` looks for the oldest one of an API."""
PRIORITY_WINDOW: Final = 512
"""Number of runs at the head of the queue among which a take chooses by priority."""
PRIORITY: Final = 5
"""Priority of an API that declares none."""
IN_TURN: Final = 8
"""One of so many runs is taken in the order of the queue, whatever its priority."""
RELEASE_MS: Final = 250
"""Interval between attempts to release held runs of an API without room in the RQ queue."""
COMMIT_BYTES: Final = 64 * 1024**2
"""Maximum size of user data in a commit: one that blocks the server for the timeout is repeated endlessly."""
TAKE_BYTES: Final = 8 * 1024**2
"""Size of inputs, states and messages after which a take stops, and of messages of one run."""
TAKE_MS: Final = 10
"""CPU time of one take: half for due timers, a quarter for expired leases; the next take continues."""
RECOVER_MS: Final = 10
"""CPU time of one call of `recover`, after which the next call continues."""
JOURNAL_ENTRIES: Final = 1_000
TASK_ROWS: Final = 1_000
RECORDED_BYTES: Final = 1024**2
"""Maximum size of the recorded results of one run."""
RECORDED_FULL: Final = "full"
"""Entry in place of the first result beyond that size; the later ones are left out."""
DEATHS: Final = 3
"""Deaths of a solitary worker after which a run is poisoned."""
UNSEEN_LOSSES: Final = 5
"""Lost leases at one point that no parent saw and that make a suspect; a machine may crash a few times."""
SEEN_LOSSES: Final = 5
"""Seen losses at any point that make a run a suspect, although it progressed in between."""
ATTRIBUTE_HASH: Final = 20
"""Characters of the hash of an attribute in its index."""
ATTRIBUTE_TIME: Final = 15
"""Digits of the creation of a run there."""
PAGE_BUDGET: Final = 3_000
"""Number of runs in an index at which one script looks for a list, because a script blocks the server."""
PAGE_LOOK_COST: Final = 2
PAGE_HEAD_COST: Final = 11
"""Further costs of a run in whose record the script looks for words, and of one whose head it reads."""
PAGE_MS: Final = 4
"""CPU time of such a script, after which the next one continues."""
PAGE_MERGED: Final = 64
"""Maximum number of APIs whose indexes such a script merges; for more, it reads those of the statuses."""
RQ_RESULT_S: Final = 500
RQ_HEARTBEAT_S: Final = 90
"""Lifetime of an RQ execution: its monitoring interval of 30 s plus 60 s."""
RQ_RESULTS_KEPT: Final = 20_000
"""Results take up to 4.3 KB each. Beyond this number, RQ shows the status of a job without a result."""
RQ_FINISHED_KEPT: Final = 100_000
"""Beyond this number of finished jobs in RQ_RESULT_S, a job is deleted at once, like `result_ttl=0` of RQ."""
INLINE_BYTES: Final = 4_096
"""Larger parts of an ended run are stored beside its record, so that lists are cheap to read."""
BODY_BYTES: Final = 2_048
"""Larger bodies of ended runs (input, output, tasks, journal) are stored beside their records."""
FOLDED_PARTS: Final = 32
"""Maximum number of frames, tasks or journal entries of a waiting run that is folded into one string."""
TAKEN_S: Final = 60
OPERATION_S: Final = 86_400
FULL_S: Final = 10
PROCESS_S: Final = 15
SEEN_S: Final = 86_400
MATCHER_MS: Final = 5_000
INBOX_READ: Final = 256
"""Messages of one run that are read at once, up to TAKE_BYTES; the next ones after these are consumed."""
INBOX_ENTRIES: Final = 100_000
"""Maximum number of waiting messages of one run; further events are dropped for it."""
OUTBOX_ENTRIES: Final = 100_000
OUTBOX_LEASE_MS: Final = 15_000
SINK_NAMED_MS: Final = 15_000
"""Every worker registers its sinks every 4 s; a sink not registered for longer is in no worker's settings."""
SINK_KEPT_MS: Final = 86_400_000
"""Time for which the entries of such a sink are kept; it may return with the next deployment."""
CALLBACK_MS: Final = 86_400_000
"""Time after the end of a run until which its callback is tried."""
CALLBACK_LEASE_MS: Final = 60_000
"""Time after which another worker tries a callback whose try has no outcome."""
LINK_EVENT_MS: Final = 2_592_000_000
UPLOAD_MS: Final = 120_000
"""Lifetime of the files of a call until the call is accepted."""
STATISTICS_MS: Final = 691_200_000
"""Lifetime of hourly counts and groups of errors: seven days, and one for hours that have begun."""
ERROR_GROUPS: Final = 100
"""Maximum number of groups of errors of one API; the least recent ones are dropped."""
REVISIONS_KEPT: Final = 50
ACTIVITY_KEPT: Final = 10_000
"""Maximum number of recorded changes by operators."""
ACTIVITY_MS: Final = 90 * 86_400_000
"""Time for which a change is recorded."""
REPLY_S: Final = 86_400
BATCH_MS: Final = 7 * 86_400_000
"""Time after its last change for which a batch is kept."""
BATCHES_KEPT: Final = 1_000
"""Maximum number of batches; a new one replaces the oldest one that is not in progress."""
BATCH_LEASE_MS: Final = 5_000
"""Time after its last run for which a batch belongs to its worker."""
FORMAT_NUMBER: Final = 2
"""Format of the store; 1, of releases up to 0.9, has no seals and no number."""
FAMILY_RUNS: Final = 10_000
"""Maximum number of live descendants of a run; beyond it, the family starts no runs until all have ended."""
FAMILY_CLOSED: Final = 1_000_000_000
"""Added to the count of such a family."""

RUN: Final = "iogate:run:"
FRAMES: Final = "iogate:frames:"
VALUES: Final = "iogate:values:"
TASKS: Final = "iogate:tasks:"
JOURNAL: Final = "iogate:journal:"
END: Final = "iogate:end:"
BIG: Final = "iogate:big:"
RECORDED: Final = "iogate:recorded:"
INDEX: Final = "iogate:runs:"
API_INDEX: Final = "iogate:runs:by_api"
ATTRIBUTES: Final = "iogate:attributes:"
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
SCHEDULE: Final = "iogate:schedule:"
AFTER: Final = "iogate:after:"
CALLBACKS: Final = "iogate:callbacks"
CALLBACK_COUNTS: Final = "iogate:callback_counts"
FAULTS: Final = "iogate:faults"
LINK: Final = "iogate:link:"
LINK_EVENT: Final = EVENT
FILES: Final = "iogate:files:"
FILE_RUNS: Final = "iogate:file_runs:"
HOURS: Final = "iogate:hours:"
SERIES: Final = "iogate:series"
ERRORS: Final = "iogate:errors:"
ERROR_TIMES: Final = "iogate:error_times:"
OPERATION: Final = "iogate:operation:"
ACTIVITY: Final = "iogate:activity"
REPLY: Final = "iogate:reply:"
BATCH: Final = "iogate:batch:"
BATCH_RUNS: Final = "iogate:batch_runs:"
BATCHES: Final = "iogate:batches"
BATCHES_DUE: Final = "iogate:batches_due"
IDEMPOTENCY: Final = "iogate:idem:"
GATE: Final = "iogate:gate:"
GATES: Final = "iogate:gates"
DELETED: Final = "iogate:deleted"
HOLDERS: Final = "iogate:holders:"
LANE: Final = "iogate:lane:"
WINDOWS: Final = "iogate:windows:"
PRIORITIES: Final = "iogate:priorities"
PROMISED: Final = "iogate:promised:"
RATES: Final = "iogate:rates:"
EXPIRIES: Final = "iogate:expiries"
RELEASES: Final = "iogate:releases"
FULL: Final = "iogate:full"
DRAINED: Final = "iogate:drained"
LIVE: Final = "iogate:live"
LIVE_PROJECT: Final = "project:"
"""Prefix of the fields of LIVE of projects other than `default`, which has `number` and `digest`."""
LIVE_SEAL: Final = "seal"
"""Field of LIVE with the seal of the project `default`, and the beginning of those of other projects."""
REVISION: Final = "iogate:revision:"
REVISIONS: Final = "iogate:revisions"
PROGRAM: Final = "iogate:program:"
CONTENT: Final = "iogate:content:"
BLOBS: Final = "iogate:blobs"
FORMAT: Final = "iogate:format"
IDENTITY: Final = "iogate:identity"
KEYS: Final = "iogate:keys"
REFUSED: Final = "iogate:refused"
PROCESS: Final = "iogate:process:"
PROCESSES: Final = "iogate:processes:"

WAKE_CHANNEL: Final = "iogate:wake:"
"""Followed by a worker's name: a run in the RQ queue waits for it."""
ENDED_CHANNEL: Final = "iogate:ended"
"""Uids of ended runs, space-separated."""
JOURNAL_CHANNEL: Final = "iogate:journal:"
"""Followed by a uid: an entry was written to the run's journal."""
CANCEL_CHANNEL: Final = "iogate:cancel"
NEWS_CHANNEL: Final = "iogate:news"
"""Uid of a leased run that was cancelled, or that got a message."""
EVENTS_CHANNEL: Final = "iogate:events"
"""Events were published, for the matcher."""
OUTBOX_CHANNEL: Final = "iogate:outbox"
"""Name of a sink whose outbox was empty and got an entry."""
CALLBACKS_CHANNEL: Final = "iogate:callbacks"
"""A run ended with a callback, or a fault whose handler is to be started."""
BATCHES_CHANNEL: Final = "iogate:batches"
"""A batch was created or continued, for workers."""
CONFIRM_CHANNEL: Final = "iogate:confirm"
"""Channel without subscribers; a message is replicated, so that WAIT has something to wait for."""
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
NOT_ENDED: Final = tuple(status for status in STATUSES if status not in ENDED)
NUMBER_OF_STATUSES: Final = len(STATUSES)

ALL: Final = "iogate:*"
"""Pattern of all keys except those of RQ."""

LUA: Final[dict[str, str | int]] = {
    name.lower(): value
    for name, value in dict(globals()).items()
    if name.isupper() and isinstance(value, str | int)
}
"""Values of `$name` in the Lua files."""


def revisions(project: str) -> str:
    """Return the Redis key of the list of a project's revisions."""
    return REVISIONS if project == "default" else f"{REVISIONS}:{project}"


def idempotency(api: str, caller: str, key: str) -> str:
    """Return the Redis key of an idempotency key, which is per API and caller; hashed to limit its length."""
    digest = hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()[:40]
    return f"{IDEMPOTENCY}{api}:{digest}"


def operation(action: str, uid: str, by_id: str) -> str:
    """Return the Redis key of an operation on one run; empty without an id."""
    if not by_id:
        return ""
    return OPERATION + hashlib.sha256(f"{action}\0{uid}\0{by_id}".encode()).hexdigest()[:40]
