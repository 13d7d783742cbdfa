"""Log and counts of objects without a valid seal, for `status`, `doctor` and `/metrics`.

Used by every part of the store that verifies seals. Invariant: to report a refusal never waits and never
fails; the log is authoritative, the counts in the store are not.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from typing import Literal, get_args

from iogate.errors import Unreachable
from iogate.security.control_characters import escape_line
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.failures import CommandFailed

log = logging.getLogger(__name__)

Kind = Literal[
    "revision", "program", "content", "run", "state", "message", "event", "schedule", "gate", "queue entry",
    "batch",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
REMEMBERED = 10_000
"""Number of logged objects that are remembered, to log each once."""


class Refusals:
    """Log and counters of refused objects."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._logged: set[tuple[str, str]] = set()
        self._pending: Counter[str] = Counter()
        self.total = 0
        """Number of objects that this process has refused."""

    def note(self, kind: Kind, name: str, why: str) -> None:
        """Log and count the refusal of an object without a valid seal, once."""
        if (kind, name) in self._logged:
            return
        if len(self._logged) >= REMEMBERED:
            self._logged.clear()
        self._logged.add((kind, name))
        self._pending[kind] += 1
        self.total += 1
        log.error(
            "%s %s is refused: %s; a program without the key writes to the store",
            kind,
            escape_line(name[:80]),
            escape_line(why),
            extra={"action": "store.refused", "kind": kind, "object": name[:80]},
        )

    async def flush(self) -> None:
        """Add the counts of refused objects since the last call to those in the store."""
        pending, self._pending = self._pending, Counter()
        if not pending:
            return
        with contextlib.suppress(CommandFailed, Unreachable):
            await self._connection.calls(
                [("HINCRBY", keys.REFUSED, kind, number) for kind, number in pending.items()]
            )

    async def counts(self) -> dict[str, int]:
        """Return the numbers of refused objects by kind, over the life of the store.

        Unknown kinds are left out, and known ones with an invalid count, because whoever forges objects can
        change these too.
        """
        try:
            numbers = await self._connection.call("HMGET", keys.REFUSED, *KINDS)
        except CommandFailed:
            return {}
        found = zip(KINDS, numbers, strict=True)
        return {kind: int(number or 0) for kind, number in found if number is None or _is_count(number)}


def _is_count(text: bytes) -> bool:
    return text.isdigit() and len(text) < 16
