"""Publisher of revisions: signs, stores and makes them live.

Used by `Revisions`. Invariants: programs and contents are stored by digest before one atomic step makes a
revision live together with its gates; a signature and a seal are made before that step, which refuses them if
another publish came first.

    signature of a revision: its number, its digest and its origin; without an origin, its number and its JSON
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import msgspec

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Bundle, Revision
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection, pairs
from iogate.store.revisions import due_schedules, gate_fields, projects
from iogate.store.revisions import origin as origins
from iogate.store.revisions.blobs import Blobs
from iogate.store.revisions.live_record import LiveRecord
from iogate.store.revisions.origin import DEFAULT_PROJECT, Origin, signed_parts
from iogate.store.revisions.own_paths import PathTaken, Taken
from iogate.store.revisions.projects import LiveRevisions
from iogate.store.revisions.revision_errors import Conflict, NotAuthentic, Owned

Mode = Literal["", "gates", "repair"]

MOST_SKIPPED: Final = 1_000_000
"""Maximum distance of the largest number from those of kept revisions; beyond, another program wrote it."""

_encoder = msgspec.msgpack.Encoder()


class Publisher:
    """Client that publishes the revisions of one project."""

    def __init__(
        self,
        connection: Connection,
        ring: Keyring,
        record: LiveRecord,
        blobs: Blobs,
        taken_paths: Callable[[Revision, LiveRevisions], Awaitable[list[Taken]]],
        project: str,
    ) -> None:
        """`taken_paths` returns the own paths of a revision that other projects have."""
        self._taken_paths = taken_paths
        self._connection = connection
        self._ring = ring
        self._record = record
        self._blobs = blobs
        self._project = project

    async def publish(
        self,
        bundle: Bundle,
        expected: int | None,
        *,
        origin: Origin | None,
        clear_overrides: bool,
        gates: bool,
    ) -> int:
        """Sign, store and publish a bundle, as the publisher behind `Revisions.publish`."""
        mode: Mode = "gates" if gates else ""
        now_ms = await self._blobs.store(bundle)
        while expected is None:
            live = (await self._checked())[1].live.get(self._project)
            with contextlib.suppress(Conflict):
                number = 0 if live is None else live[0]
                return await self._publish(bundle, number, now_ms, origin, mode, clear=clear_overrides)
        return await self._publish(bundle, expected, now_ms, origin, mode, clear=clear_overrides)

    async def repair(self, bundle: Bundle, origin: Origin, *, above: int, clear_overrides: bool) -> int:
        """Sign, store and publish a bundle whatever is live, as the publisher behind `Revisions.repair`."""
        now_ms = await self._blobs.store(bundle)
        return await self._publish(bundle, 0, now_ms, origin, "repair", clear=clear_overrides, above=above)

    async def _publish(
        self,
        bundle: Bundle,
        expected: int,
        now_ms: int,
        origin: Origin | None,
        mode: Mode,
        *,
        clear: bool,
        above: int = 0,
    ) -> int:
        revision = bundle.revision
        data = compiled.encode(revision)
        if origin is None and self._project != DEFAULT_PROJECT:
            origin = Origin()
        packed = None
        if origin is not None:
            packed = origins.encode(msgspec.structs.replace(origin, project=self._project))
        last = 0
        while True:
            if mode == "repair":
                record, last = await self._largest(max(above, last))
                found = await self._record.verified(record)
            else:
                record, found = await self._checked()
                last = found.last
            # Another project cannot take a path before this publish: `last` is then another one.
            if taken := await self._taken_paths(revision, found):
                raise PathTaken(self._project, taken)
            code, *rest = await self._connection.run(
                "publish",
                expected,
                revision.digest,
                data,
                _encoder.encode([(*gate_fields.gate(api), int(clear)) for api in revision.apis.values()]),
                keys.REVISIONS_KEPT,
                _encoder.encode(due_schedules.publish_arguments(revision, now_ms)),
                self._sign(last + 1, data, packed),
                packed or b"",
                "1" if origin is not None and origin.action == "rollback" else "",
                self._project,
                keys.revisions(self._project),
                last,
                self._record.sealed(self._project, record),
                self._record.seal(self._project, (last + 1, revision.digest), record, now_ms),
                self._record.seal(self._project, (expected, revision.digest), record, now_ms),
                mode,
            )
            if code != b"moved":
                break
            # Signature and seal cover the number, which another publish has taken meanwhile.
            last = int(rest[0])
        if code == b"owned":
            raise Owned(self._project, [(api.decode(), owner.decode()) for api, owner in rest])
        number = int(rest[0])
        if code == b"conflict":
            raise Conflict(number, expected)
        if number == expected:
            await self._sign_again(number, data)
            if clear and revision.apis:
                await self._connection.run("restore", "", self._project, "", *revision.apis)
        return number

    async def _checked(self) -> tuple[Mapping[str, bytes], LiveRevisions]:
        """Return the record of the live revisions to publish over, as stored and decoded.

        Raises NotAuthentic if that of the project is forged.
        """
        record = pairs(await self._connection.call("HGETALL", keys.LIVE))
        found = await self._record.verified(record)
        if (invalid := found.invalid.get(self._project)) is not None:
            raise NotAuthentic("the record of the live revision", invalid.why)
        return record, found

    async def _largest(self, above: int) -> tuple[Mapping[str, bytes], int]:
        """Return the record to publish over, and the largest number of a revision; `above` is a known one."""
        record: Mapping[str, bytes] = {}
        found: list[bytes] = []
        with contextlib.suppress(CommandFailed):
            record = pairs(await self._connection.call("HGETALL", keys.LIVE))
        with contextlib.suppress(CommandFailed):
            found = await projects.kept(self._connection)
        known = max([above, *(int(number) for number in found if projects.is_number(number))])
        stored = projects.decode(record).last
        return record, stored if known < stored <= known + MOST_SKIPPED else known

    def _sign(self, number: int, data: bytes, packed: bytes | None) -> str:
        return self._ring.sign_revision(*signed_parts(str(number).encode(), data, packed))

    async def _sign_again(self, number: int, data: bytes) -> None:
        """Sign the published revision again after an apply of the same files: the key may be new.

        An origin that is not authentic is removed, not signed.
        """
        key = f"{keys.REVISION}{number}"
        packed, signature = await self._connection.call("HMGET", key, "origin", "sig")
        if (
            packed is not None
            and revision_fault(self._ring, str(number).encode(), data, packed, signature) is not None
        ):
            await self._connection.call("HDEL", key, "origin")
            packed = None
        await self._connection.call("HSET", key, "sig", self._sign(number, data, packed))


def revision_fault(
    ring: Keyring, number: bytes, data: bytes, packed: bytes | None, signature: bytes | None
) -> str | None:
    """Return why a revision of a publisher is not accepted; None if it is, or without a key."""
    if not ring.verifies_revisions:
        return None
    signed = (signature or b"").decode("utf-8", "replace")
    return ring.revision_fault(signed, *signed_parts(number, data, packed))
