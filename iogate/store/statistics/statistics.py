"""Reader of the hourly counts and of the groups of errors.

Called by `operators`. The scripts that take, end and retry runs write both in the step that changes the run,
so they are exact whatever crashes or repeats. Invariant: a value that another program wrote is left out, and
never makes a read fail.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Argument, Connection
from iogate.store.connection.failures import CommandFailed
from iogate.store.statistics.error_groups import about_decoder
from iogate.store.statistics.hourly_counts import (
    HOUR_MS,
    Counts,
    Series,
    decode_counts,
    decode_series,
    encode_series,
)

AT_ONCE = 100
"""Commands in one request: a request blocks the server, and its reply this process."""


class HourOfSeries(NamedTuple):
    """Counts of a series in one hour."""

    series: Series
    hour_ms: int
    """Beginning of the hour, in epoch milliseconds."""
    counts: Counts


class ErrorGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Group of equal errors of the runs of an API."""

    api: str
    workflow: str
    """`namespace/name`."""
    type: str
    status: int
    task: str
    message: str
    count: int
    """Number of runs, or of their attempts, that faulted so since `first_ms`."""
    first_ms: int
    last_ms: int
    last_uid: str
    """The last one of these runs."""


class Statistics:
    """Client of the counts and groups that scripts write."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def series(self, *, api: str | None = None, workflow: str | None = None) -> list[Series]:
        """Return the series of the statistics with runs in the kept hours.

        `workflow` is with or without a version.
        """
        try:
            members = await self._connection.call("ZRANGE", keys.SERIES, 0, -1)
        except CommandFailed:
            return []
        found = (decode_series(member.decode(errors="replace")) for member in members)
        return sorted(
            each
            for each in found
            if each is not None
            and api in (None, each.api)
            and (workflow is None or workflow in (each.workflow, each.workflow.partition(":")[0]))
        )

    async def hours(
        self, since_ms: int, until_ms: int, *, api: str | None = None, workflow: str | None = None
    ) -> AsyncGenerator[HourOfSeries, None]:
        """Yield the statistics of each series in the hours from that of `since_ms` to that of `until_ms`.

        Hours without runs are left out.
        """
        since_ms = max(since_ms, until_ms - keys.STATISTICS_MS)
        numbers = range(since_ms // HOUR_MS, until_ms // HOUR_MS + 1)
        found = await self.series(api=api, workflow=workflow)
        wanted = [(each, number) for each in found for number in numbers]
        for first in range(0, len(wanted), AT_ONCE):
            some = wanted[first : first + AT_ONCE]
            replies = await self._calls(
                [("HGETALL", f"{keys.HOURS}{number}:{encode_series(each)}") for each, number in some]
            )
            for (each, number), reply in zip(some, replies, strict=True):
                if reply:
                    yield HourOfSeries(each, number * HOUR_MS, decode_counts(reply))

    async def errors(self, since_ms: int, *, api: str | None = None) -> list[ErrorGroup]:
        """Read for the statistics the groups of errors that have occurred since then, the last one first."""
        apis = sorted({each.api for each in await self.series(api=api)})
        times = await self._calls(
            [("ZRANGEBYSCORE", keys.ERROR_TIMES + each, since_ms, "+inf", "WITHSCORES") for each in apis]
        )
        wanted = [
            (each, member.decode(errors="replace"), int(float(at)))
            for each, reply in zip(apis, times, strict=True)
            if isinstance(reply, list)
            for member, at in zip(reply[::2], reply[1::2], strict=True)
        ]
        details = await self._calls(
            [
                ("HMGET", keys.ERRORS + each, *(f"{field} {member}" for field in "anbu"))
                for each, member, _ in wanted
            ]
        )
        groups = [
            group
            for (each, member, at), detail in zip(wanted, details, strict=True)
            if isinstance(detail, list) and (group := _group(each, member, at, detail)) is not None
        ]
        return sorted(groups, key=lambda group: (-group.last_ms, -group.count, group.api, group.message))

    async def _calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands for statistics in several requests; the reply to one that fails alone is None."""
        replies: list[Any] = []
        for first in range(0, len(commands), AT_ONCE):
            some = commands[first : first + AT_ONCE]
            try:
                replies += await self._connection.calls(some)
            except CommandFailed:
                replies += [await self._call(command) for command in some]
        return replies

    async def _call(self, command: Sequence[Argument]) -> Any:
        try:
            return await self._connection.call(*command)
        except CommandFailed:
            return None


def _group(api: str, member: str, last_ms: int, detail: Sequence[bytes | None]) -> ErrorGroup | None:
    """Decode a stored group of errors for a reader of statistics; None for an incomplete or foreign one."""
    about, count, first, uid = detail
    if about is None or count is None or first is None or uid is None:
        return None
    try:
        described = about_decoder.decode(about)
        return ErrorGroup(
            api=api,
            workflow=member.partition(" ")[2],
            type=described.type,
            status=described.status,
            task=described.task,
            message=described.message,
            count=int(count),
            first_ms=int(first),
            last_ms=last_ms,
            last_uid=uid.decode("ascii"),
        )
    except (msgspec.DecodeError, ValueError):
        return None
