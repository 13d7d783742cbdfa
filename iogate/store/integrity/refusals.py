"""Objects in the store that do not verify: logged once each, counted for `status`, `doctor`, `/metrics`.

Used by every part of the store that checks a seal. Invariant: noting a refusal never waits and never
fails; the counts in the store are a convenience, the log is the record.
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
    "revision", "program", "content", "run", "state", "message", "event", "schedule", "gate", "queue entry"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
REMEMBERED = 10_000
"""Objects of which it is known that they were logged."""


class Refusals:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._logged: set[tuple[str, str]] = set()
        self._pending: Counter[str] = Counter()
        self.total = 0
        """Refused by this process."""

    def note(self, kind: Kind, name: str, why: str) -> None:
        """Log an object that is refused, once, and count it."""
        if (kind, name) in self._logged:
            return
        if len(self._logged) >= REMEMBERED:
            self._logged.clear()
        self._logged.add((kind, name))
        self._pending[kind] += 1
        self.total += 1
        log.error(
            "%s %s is refused: %s; something without the key writes to the store",
            kind,
            escape_line(name[:80]),
            escape_line(why),
            extra={"action": "store.refused", "kind": kind, "object": name[:80]},
        )

    async def flush(self) -> None:
        """Add what was counted since the last time to the counts in the store."""
        pending, self._pending = self._pending, Counter()
        if not pending:
            return
        with contextlib.suppress(CommandFailed, Unreachable):
            await self._connection.calls(
                [("HINCRBY", keys.REFUSED, kind, number) for kind, number in pending.items()]
            )

    async def counts(self) -> dict[str, int]:
        """Return how many objects of each kind processes have refused since the store began.

        Kinds that this release does not know, and values that are no counts, are left out: the writer of
        forged objects can change these as well.
        """
        try:
            numbers = await self._connection.call("HMGET", keys.REFUSED, *KINDS)
        except CommandFailed:
            return {}
        found = zip(KINDS, numbers, strict=True)
        return {kind: int(number) for kind, number in found if number and _is_count(number)}


def _is_count(text: bytes) -> bool:
    return text.isdigit() and len(text) < 16
