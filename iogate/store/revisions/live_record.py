"""Reader and sealer of the record of live revisions.

Used by `Revisions` and `Schedules`. A publisher seals project, number, digest and a counter, so that a writer
to Redis cannot make an earlier revision live again, although its own signature is valid:

    seal, seal:NAME = COUNTER SIGNATURE        fields of the hash `iogate:live`, beside those of `projects`

The counter is the time of the store in milliseconds, or one more than the previous counter. Invariants: a
process accepts no seal with a smaller counter than it has seen, or an earlier process of this machine has
remembered; a record without a seal is accepted only as long as nothing shows that the project had one,
because earlier releases wrote none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection, pairs
from iogate.store.integrity.newest_seals import NewestSeals
from iogate.store.revisions import origin as origins
from iogate.store.revisions import projects
from iogate.store.revisions.origin import DEFAULT_PROJECT
from iogate.store.revisions.projects import Invalid, Live, LiveRevisions

PURPOSE: Final = b"live"
"""First part of the signed data; that of a revision is a number, that of a program is `program`."""


SET_BACK: Final = "it was set back: its seal is older than one that this machine has seen"


class _SetBack(Exception):
    """A record has an older seal than another one that this process has read, or remembers."""


class LiveRecord:
    """Client of the record of live revisions, with the newest counters that this process has seen."""

    def __init__(self, connection: Connection, ring: Keyring, seals: NewestSeals | None = None) -> None:
        """With `seals`, counters that earlier processes have seen count, too."""
        self._connection = connection
        self._ring = ring
        self._seals = seals
        self._counters: dict[str, int] = {} if seals is None else seals.counters()

    async def read(self) -> LiveRevisions:
        """Read the live record: return the live revisions of all projects; forged ones are in `invalid`."""
        return await self.verified(pairs(await self._connection.call("HGETALL", keys.LIVE)))

    async def verified(self, record: Mapping[str, bytes]) -> LiveRevisions:
        """Decode the hash `iogate:live` and check its seals. Without a key, nothing is checked."""
        try:
            return await self._verified(record)
        except _SetBack:
            # Another task may have read a newer record in between: look again.
            return await self._verified(pairs(await self._connection.call("HGETALL", keys.LIVE)), final=True)

    async def _verified(self, record: Mapping[str, bytes], *, final: bool = False) -> LiveRevisions:
        """Return the decoded record. Raises _SetBack for a seal that is too old, unless this is `final`."""
        found = projects.decode(record)
        if not self._ring.verifies_revisions:
            return found
        invalid = dict(found.invalid)
        for project, live in found.live.items():
            sealed = record.get(_field(project))
            fault = (
                self._seal_fault(project, live, sealed)
                if sealed is not None
                else await self._missing_fault(project, live)
            )
            if fault == SET_BACK and not final:
                raise _SetBack
            if fault:
                invalid[project] = Invalid(number=live[0], why=fault)
        return msgspec.structs.replace(
            found,
            live={name: live for name, live in found.live.items() if name not in invalid},
            invalid=invalid,
        )

    def sealed(self, project: str, record: Mapping[str, bytes]) -> bytes:
        """Return the stored seal of a project's live revision; empty without one."""
        return record.get(_field(project), b"")

    def seal(self, project: str, live: Live, record: Mapping[str, bytes], now_ms: int) -> str:
        """Return the seal of a new live revision, with a larger counter than the authentic one of the record.

        Raises Misused if there is no key to sign it.
        """
        before = self._counters.get(project, 0)
        known = projects.decode(record).live.get(project)
        sealed = self.sealed(project, record)
        if known is not None and (
            not self._ring.verifies_revisions or not self._seal_fault(project, known, sealed)
        ):
            before = max(before, _counter(sealed))
        counter = max(now_ms, before + 1)
        return f"{counter} {self._ring.sign_revision(*_parts(project, live, counter))}"

    async def seal_all(self, now_ms: int) -> None:
        """Seal the stored record of each project, without a check of it.

        Raises Misused if there is no key to sign it.
        """
        record = pairs(await self._connection.call("HGETALL", keys.LIVE))
        for project, live in projects.decode(record).live.items():
            seal = self.seal(project, live, record, now_ms)
            await self._connection.call("HSET", keys.LIVE, _field(project), seal)

    def _seal_fault(self, project: str, live: Live, sealed: bytes) -> str:
        """Return why a live record's seal is not accepted; empty if it is, and then remember its counter."""
        counter, _, signature = sealed.decode("utf-8", "replace").partition(" ")
        number = _counter(sealed)
        if str(number) != counter:
            return "its seal is not readable"
        if self._ring.revision_fault(signature, *_parts(project, live, number)) is not None:
            return "its seal does not match it"
        newest = self._counters.get(project, 0)
        if number < newest:
            return SET_BACK
        self._counters[project] = number
        if number > newest and self._seals is not None:
            self._seals.remember(project, number)
        return ""

    async def _missing_fault(self, project: str, live: Live) -> str:
        """Return why a live record needs a seal; empty if an earlier release may have made it."""
        if project in self._counters:
            return "it has no seal, and it had one before"
        newest, packed = await self._connection.calls(
            [
                ("LRANGE", keys.revisions(project), 0, 0),
                ("HMGET", f"{keys.REVISION}{live[0]}", "origin"),
            ]
        )
        if newest and projects.is_number(newest[0]) and int(newest[0]) > live[0]:
            return f"it has no seal, and revision {int(newest[0])} is newer"
        if packed[0] is not None and origins.is_sealed(packed[0]):
            return f"it has no seal, and revision {live[0]} was published with one"
        return ""


def _field(project: str) -> str:
    return keys.LIVE_SEAL if project == DEFAULT_PROJECT else f"{keys.LIVE_SEAL}:{project}"


def _parts(project: str, live: Live, counter: int) -> tuple[bytes, ...]:
    number, digest = live
    return PURPOSE, project.encode(), str(number).encode(), digest.encode(), str(counter).encode()


def _counter(sealed: bytes) -> int:
    """Return the counter of a seal of the live record; 0 for one that is not readable."""
    counter, _, _ = sealed.partition(b" ")
    return int(counter) if projects.is_number(counter) else 0
