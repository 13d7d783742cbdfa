"""Audit of all runs: repair changes by other programs, and remove expired entries.

Called periodically by the oldest worker. It repairs the effects of `rq empty`, of deleted or requeued jobs
and of flushed registries, and adds the runs of a store of an earlier release to the indexes by API.
Invariants: it works in small scripts, so that it never blocks the server for long; the indexes by API are
marked as complete only after it has read all runs while every process adds its runs to them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from iogate.compiler import revision as compiled
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.maintenance.process_presence import Process
from iogate.store.revisions import projects

PAGE = 500
LIST_PAGE = 1_000
LISTS = 50
"""Number of lists of which one page is read at once."""
SHARE = 0.1
"""Largest share of the time in which an audit works: a worker that starts audits all runs beside its own."""
BLOB_GRACE_S = 3_600
"""Minimum age of a removed blob, because a publish stores blobs before its revision."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of repairs of one audit."""

    restored: int
    """Runs that were missing in the list or set of their state."""
    recounted: int
    """APIs whose load counters were wrong."""
    forgotten: int
    """Entries of expired runs in the indexes by status."""
    dropped: int
    """Programs and contents that no revision and no run needs."""


async def audit(connection: Connection, processes: Sequence[Process] = ()) -> Audit:
    """Audit all runs of the store once; `processes` are those that have announced themselves."""
    all_index = all(process.indexes_apis for process in processes)
    if not all_index:
        # A process of an earlier release was started again.
        await connection.call("DEL", keys.API_INDEX)
    restored = forgotten = 0
    programs: set[str] = set()
    waiting = await _waiting(connection)
    for status in keys.STATUSES:
        found, gone, needed = await _audit_status(connection, status, waiting)
        restored += found
        forgotten += gone
        programs |= needed
    if all_index and not await connection.call("EXISTS", keys.API_INDEX):
        await connection.call("SET", keys.API_INDEX, 1)
    await _forget_gone(connection)
    recounted = await connection.run("recount")
    dropped = await _drop_blobs(connection, programs, waiting)
    return Audit(restored=restored, forgotten=forgotten, recounted=recounted, dropped=dropped)


async def _waiting(connection: Connection) -> Mapping[str, set[int]]:
    """Return the runs to audit in queue, suspects, backlogs and woken lists, by state.

    Each list is read once per audit, because a search in the backlog for each page of runs would take
    quadratic time.
    """
    lists = [("queue", keys.RQ_QUEUE), ("suspect", keys.SUSPECTS)]
    for names in await connection.calls([("SMEMBERS", keys.GATES), ("SMEMBERS", keys.DELETED)]):
        for api in sorted(name.decode() for name in names):
            lists += [("backlog", keys.BACKLOG + api), ("woken", keys.WOKEN + api)]
        for api in names:
            held = await connection.call("HKEYS", keys.HOLDERS + api.decode())
            lists += [("lane", f"{keys.LANE}{api.decode()}:{key.decode()}") for key in held]
    waiting: dict[str, set[int]] = {state: set() for state, _ in lists}
    start = 0
    while lists:
        longer = []
        for first in range(0, len(lists), LISTS):
            some = lists[first : first + LISTS]
            pages = await connection.calls([("LRANGE", key, start, start + LIST_PAGE - 1) for _, key in some])
            for (state, key), uids in zip(some, pages, strict=True):
                waiting[state].update(int(uid) for uid in uids if uid.isdigit())
                if len(uids) == LIST_PAGE:
                    longer.append((state, key))
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
        began = time.monotonic()
        hints = [part for uid in uids for part in (uid, _seen(waiting, uid))]
        found, gone, *needed = await connection.run("audit", status, *hints)
        restored += found
        forgotten += gone
        programs.update(keys.PROGRAM + digest.decode() for digest in needed)
        start += len(uids) - gone
        await _rest(began)


async def _rest(began: float) -> None:
    """Rest after a step of the audit that began at this monotonic time."""
    await asyncio.sleep((time.monotonic() - began) * (1 / SHARE - 1))


async def _forget_gone(connection: Connection) -> None:
    """Audit the indexes by API and by attribute: remove runs that do not exist any more."""
    for found in await connection.calls([("SMEMBERS", keys.GATES), ("SMEMBERS", keys.DELETED)]):
        for api in sorted(name.decode() for name in found):
            for index in (keys.INDEX, keys.ATTRIBUTES):
                start = 0
                while page := await connection.call("ZRANGE", index + api, start, start + PAGE - 1):
                    began = time.monotonic()
                    runs = len(page) if index == keys.INDEX else 0
                    start += len(page) - sum(await connection.run("forget", api, runs, *page))
                    await _rest(began)


def _seen(waiting: Mapping[str, set[int]], uid: bytes) -> str:
    number = int(uid) if uid.isdigit() else -1
    return next((state for state, uids in waiting.items() if number in uids), "")


async def _drop_blobs(connection: Connection, pinned: set[str], waiting: Mapping[str, set[int]]) -> int:
    """Remove blobs that the audit finds unneeded; return their number; `pinned`: keys that runs need."""
    before = int(time.time()) - BLOB_GRACE_S
    old = [name.decode() for name in await connection.call("ZRANGEBYSCORE", keys.BLOBS, "-inf", before)]
    if not old or not (set(old) - await _needed(connection, pinned)):
        return 0
    # Read the runs again, because one may have changed from a status not yet read to one read before.
    for status in keys.STATUSES:
        if status not in keys.ENDED:
            pinned |= (await _audit_status(connection, status, waiting))[2]
    needed = await _needed(connection, pinned)
    unneeded = [name for name in old if name not in needed]
    dropped = 0
    for start in range(0, len(unneeded), PAGE):
        dropped += await connection.run("drop", before, *unneeded[start : start + PAGE])
    return dropped


async def _needed(connection: Connection, pinned: set[str]) -> set[str]:
    """Return the keys of the programs and contents that the audit keeps: revisions and runs need them."""
    needed: set[str] = set()
    for number in await projects.kept(connection):
        data = await connection.call("HGET", keys.REVISION + number.decode(), "data")
        if data is not None:
            revision = compiled.decode(data)
            needed.update(keys.PROGRAM + program for program in revision.programs)
            needed.update(keys.CONTENT + digest for digest in revision.resources.values())
    # The contents of a kept revision are among its resources; these programs may be of a deleted revision.
    for program in pinned - needed:
        needed.update(
            keys.CONTENT + digest
            for digest in compiled.contents_of(await connection.call("GET", program) or b"")
        )
    return needed | pinned
