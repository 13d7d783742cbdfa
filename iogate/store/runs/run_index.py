"""Index of runs by status and creation time, read in pages.

Used by `operations` to list and prune runs. A page begins at the score of the last run of the page before, so
that all pages cost the same. Invariant: if runs change their status meanwhile, a listing may contain such a
run twice or miss it, but no other run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.runs import views
from iogate.store.runs.views import Summary

PAGE = 1_000
LOOKED_AT_MOST = 100_000
"""Maximum number of runs that one listing reads, so that a rare filter does not overload the store."""
SCRIPT = 200
"""Runs that one script reads; a script blocks the server."""

Matches = Callable[[Summary], bool]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that match a filter, newest first."""

    runs: list[Summary]
    looked_back_to_ms: int | None = None
    """Creation time of the oldest run that was read if older runs were left out, else None."""


class _Cursor:
    """Position in the index of one status; `newest` reads in descending order of creation."""

    def __init__(self, status: str, low: float, high: float, *, newest: bool = True) -> None:
        self._key = keys.INDEX + status
        self._command = "ZREVRANGEBYSCORE" if newest else "ZRANGEBYSCORE"
        self._first, self._last = (high, low) if newest else (low, high)
        self._skip = 0
        """Number of runs with the score `reached` that were read."""
        self.reached = self._first
        self.done = False

    def command(self, size: int) -> tuple[str | int, ...]:
        limits = (_score(self.reached), _score(self._last))
        return (self._command, self._key, *limits, "WITHSCORES", "LIMIT", self._skip, size)

    def uids(self, reply: Sequence[bytes], size: int) -> list[str]:
        """Decode the reply of the index to `command`, and advance the cursor behind it."""
        uids, scores = [uid.decode() for uid in reply[::2]], [float(score) for score in reply[1::2]]
        if len(uids) < size:
            self.done = True
        if scores:
            last = scores[-1]
            seen = sum(score == last for score in scores)
            self._skip = self._skip + seen if last == self.reached else seen
            self.reached = last
        return uids


def _score(moment: float) -> str:
    return {float("inf"): "+inf", float("-inf"): "-inf"}.get(moment) or f"{moment:.0f}"


async def list_newest(
    connection: Connection,
    matches: Matches | None,
    *,
    statuses: Sequence[str],
    low: float = float("-inf"),
    high: float = float("inf"),
    limit: int,
    most: int | None = LOOKED_AT_MOST,
) -> Listing:
    """List the newest runs that match, reading about `most` runs (None: all) at most."""
    cursors = [_Cursor(status, low, high) for status in statuses]
    size = PAGE if matches is not None else min(PAGE, max(limit, 50))
    found: dict[str, Summary] = {}
    looked_at = 0
    while True:
        edge = float("-inf")
        if len(found) >= limit:
            found = {each.uid: each for each in sorted(found.values(), key=_age, reverse=True)[:limit]}
            edge = next(reversed(found.values())).created_at_ms
        open_ = [cursor for cursor in cursors if not cursor.done and cursor.reached >= edge]
        if not open_ or (most is not None and looked_at >= most):
            break
        pages = await connection.calls([cursor.command(size) for cursor in open_])
        uids = [uid for cursor, page in zip(open_, pages, strict=True) for uid in cursor.uids(page, size)]
        looked_at += len(uids)
        # A run whose status changed between two pages may occur twice.
        found |= {
            each.uid: each for each in await summaries(connection, uids) if matches is None or matches(each)
        }
    runs = sorted(found.values(), key=_age, reverse=True)[:limit]
    return Listing(
        runs=runs, looked_back_to_ms=int(max(cursor.reached for cursor in open_)) if open_ else None
    )


async def ended_before(
    connection: Connection, before_ms: int, matches: Matches, *, statuses: Sequence[str]
) -> AsyncGenerator[list[Summary], None]:
    """Yield pages of the indexed runs that ended before `before_ms`, per status in order of creation."""
    for status in statuses:
        cursor = _Cursor(status, float("-inf"), before_ms, newest=False)
        while not cursor.done:
            uids = cursor.uids(await connection.call(*cursor.command(PAGE)), PAGE)
            yield [
                each
                for each in await summaries(connection, uids)
                if each.ended_at_ms is not None and each.ended_at_ms < before_ms and matches(each)
            ]


def _age(run: Summary) -> tuple[int, int]:
    return run.created_at_ms, int(run.uid)


async def summaries(connection: Connection, uids: Sequence[str]) -> list[Summary]:
    """Read the summaries of indexed runs; runs that no longer exist are left out."""
    found: list[Summary] = []
    large: list[int] = []
    """Positions of the runs whose error is stored among the large parts."""
    for first in range(0, len(uids), SCRIPT):
        some = uids[first : first + SCRIPT]
        replies = iter(await connection.run("summarise", len(views.LISTED), *views.LISTED, *some))
        for uid, live, packed, blob in zip(some, replies, replies, replies, strict=True):
            if packed is not None:
                run = views.unpack_parked(packed).run
                live = [run.get(name) for name in views.LISTED]  # noqa: PLW2901
            if live[0] is not None:
                found.append(views.live_summary(uid, live))
            elif blob is not None:
                ended = views.ended_record.decode(blob)
                if ended.big and ended.status == "faulted" and not ended.error:
                    large.append(len(found))
                found.append(views.ended_summary(uid, ended))
    errors = await connection.calls([("HGET", keys.BIG + found[at].uid, "error") for at in large])
    for at, error in zip(large, errors, strict=True):
        found[at] = msgspec.structs.replace(found[at], error=error)
    return found
