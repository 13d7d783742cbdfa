"""The slow look at everything: repairs what outsiders did, and forgets what has expired.

Called now and then by one worker, the eldest. `rq empty`, a deleted job, a requeued one or
a flushed registry are put right here; the moves of runs never wait for it. Invariant: works in small
scripts, so that it never holds the server up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from iogate.compiler import revision as compiled
from iogate.store import keys
from iogate.store.connection.connection import Connection

PAGE = 500
LIST_PAGE = 1_000
LISTS = 50
"""Lists of which a page is read at once."""
BLOB_GRACE_S = 3_600
"""A program stored for a publish that is under way is in no revision yet."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    restored: int
    """Runs that were not where their record says."""
    recounted: int
    """APIs whose load was counted wrong."""
    forgotten: int
    """Entries of the index whose run has expired."""
    dropped: int
    """Programs and contents that nothing needs any more."""


async def audit(connection: Connection) -> Audit:
    """One round over all runs."""
    restored = forgotten = 0
    programs: set[str] = set()
    waiting = await _waiting(connection)
    for status in keys.STATUSES:
        found, gone, needed = await _audit_status(connection, status, waiting)
        restored += found
        forgotten += gone
        programs |= needed
    recounted = await connection.run("recount")
    dropped = await _drop_blobs(connection, programs, waiting)
    return Audit(restored=restored, forgotten=forgotten, recounted=recounted, dropped=dropped)


async def _waiting(connection: Connection) -> Mapping[str, set[int]]:
    """Return the runs in the queue, the suspects, the backlogs and the woken lists, by place.

    Each list is read once in a round: to look for each page of runs in a whole backlog costs the square of
    its length.
    """
    lists = [("queue", keys.RQ_QUEUE), ("suspect", keys.SUSPECTS)]
    for names in await connection.calls([("SMEMBERS", keys.GATES), ("SMEMBERS", keys.DELETED)]):
        for api in sorted(name.decode() for name in names):
            lists += [("backlog", keys.BACKLOG + api), ("woken", keys.WOKEN + api)]
    waiting: dict[str, set[int]] = {place: set() for place, _ in lists}
    start = 0
    while lists:
        longer = []
        for first in range(0, len(lists), LISTS):
            some = lists[first : first + LISTS]
            pages = await connection.calls([("LRANGE", key, start, start + LIST_PAGE - 1) for _, key in some])
            for (place, key), uids in zip(some, pages, strict=True):
                waiting[place].update(int(uid) for uid in uids if uid.isdigit())
                if len(uids) == LIST_PAGE:
                    longer.append((place, key))
        lists, start = longer, start + LIST_PAGE
    return waiting


async def _audit_status(
    connection: Connection, status: str, waiting: Mapping[str, set[int]]
) -> tuple[int, int, set[str]]:
    restored = forgotten = start = 0
    programs: set[str] = set()
    while True:
        uids = await connection.call("ZRANGE", keys.INDEX + status, start, start + PAGE - 1)
        if not uids:
            return restored, forgotten, programs
        hints = [part for uid in uids for part in (uid, _seen(waiting, uid))]
        found, gone, *needed = await connection.run("audit", status, *hints)
        restored += found
        forgotten += gone
        programs.update(keys.PROGRAM + digest.decode() for digest in needed)
        start += len(uids) - gone


def _seen(waiting: Mapping[str, set[int]], uid: bytes) -> str:
    number = int(uid) if uid.isdigit() else -1
    return next((place for place, uids in waiting.items() if number in uids), "")


async def _drop_blobs(connection: Connection, pinned: set[str], waiting: Mapping[str, set[int]]) -> int:
    """`pinned`: keys of the programs that runs need."""
    before = int(time.time()) - BLOB_GRACE_S
    old = [name.decode() for name in await connection.call("ZRANGEBYSCORE", keys.BLOBS, "-inf", before)]
    if not old or not (set(old) - await _needed(connection, pinned)):
        return 0
    # A run that moved behind this walk's back, from a status not yet seen to one seen already, is met now.
    for status in keys.STATUSES:
        if status not in keys.ENDED:
            pinned |= (await _audit_status(connection, status, waiting))[2]
    needed = await _needed(connection, pinned)
    unneeded = [name for name in old if name not in needed]
    if unneeded:
        await connection.calls([("DEL", *unneeded), ("ZREM", keys.BLOBS, *unneeded)])
    return len(unneeded)


async def _needed(connection: Connection, pinned: set[str]) -> set[str]:
    """Keys of the blobs that kept revisions and runs name."""
    needed: set[str] = set()
    for number in await connection.call("LRANGE", keys.REVISIONS, 0, -1):
        data = await connection.call("HGET", keys.REVISION + number.decode(), "data")
        if data is not None:
            revision = compiled.decode(data)
            needed.update(keys.PROGRAM + program for program in revision.programs)
            needed.update(keys.CONTENT + digest for digest in revision.resources.values())
    # What a kept revision's programs name is among its resources; these may be of a revision that is gone.
    for program in pinned - needed:
        needed.update(
            keys.CONTENT + digest
            for digest in compiled.contents_of(await connection.call("GET", program) or b"")
        )
    return needed | pinned
