"""Published revisions: immutable and numbered; one of them is live.

Written by `apply`, read by gateways and workers. Invariants: a process with a key rejects a revision that is
not signed for its number, and a record of the live one that is not sealed; each project has its own live
revision and history.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from iogate.compiler import revision as compiled
from iogate.compiler.revision import Bundle, Revision
from iogate.errors import NotFound, WrongStore
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection
from iogate.store.integrity.refusals import Refusals
from iogate.store.revisions import gate_fields, own_paths, projects
from iogate.store.revisions import origin as origins
from iogate.store.revisions.blobs import Blobs
from iogate.store.revisions.live_record import LiveRecord
from iogate.store.revisions.origin import DEFAULT_PROJECT, Origin, Published, project_of
from iogate.store.revisions.own_paths import PathTaken, Taken
from iogate.store.revisions.projects import Invalid, Live, LiveRevisions
from iogate.store.revisions.publisher import Publisher, revision_fault
from iogate.store.revisions.revision_errors import Conflict, NotAuthentic, Owned

__all__ = ["Conflict", "NotAuthentic", "Owned", "PathTaken", "Published", "Revisions"]


class Revisions:
    """Client of the published revisions, programs and contents."""

    def __init__(
        self,
        connection: Connection,
        ring: Keyring,
        refusals: Refusals,
        record: LiveRecord,
        project: str = DEFAULT_PROJECT,
    ) -> None:
        """Methods without another project use the live revision and the history of `project`."""
        self.project = project
        self._record = record
        self._connection = connection
        self._ring = ring
        self._refusals = refusals
        self._blobs = Blobs(connection, ring, refusals, self._is_in_a_signed_revision)
        self._publisher = Publisher(connection, ring, record, self._blobs, self.taken_paths, project)

    async def publish(
        self,
        bundle: Bundle,
        expected: int | None = None,
        *,
        origin: Origin | None = None,
        clear_overrides: bool = False,
        gates: bool = False,
    ) -> int:
        """Make a bundle live and return its revision number, which is unchanged if the digest is the same.

        `clear_overrides`: end the overrides of its APIs in the same step, so that the values in git apply.
        `gates`: with the same digest, write its gates and schedules again.
        Raises Conflict if the live revision is not `expected` (0: none yet; None: any), Owned if another
        project has one of its APIs or schedules, PathTaken if it has one of its paths, NotAuthentic if the
        record of the live revision is forged, Misused if there is no key to sign it.
        """
        return await self._publisher.publish(
            bundle, expected, origin=origin, clear_overrides=clear_overrides, gates=gates
        )

    async def repair(
        self, bundle: Bundle, origin: Origin, *, above: int = 0, clear_overrides: bool = False
    ) -> int:
        """Publish a bundle as a new revision whatever is live, and return its number, greater than `above`.

        For a live revision, or its record, that is refused. `clear_overrides` is as for `publish`. Raises
        Owned, PathTaken and Misused as `publish` does.
        """
        return await self._publisher.repair(bundle, origin, above=above, clear_overrides=clear_overrides)

    async def taken_paths(self, revision: Revision, found: LiveRevisions | None = None) -> list[Taken]:
        """Return the own paths of a revision to publish that those live in other projects have."""

        async def load(number: int, project: str) -> Revision:
            return await self.load(number, project=project)

        try:
            live = found if found is not None else await self.live_of_all()
        except CommandFailed as error:
            if not _is_wrong_type(error):
                raise
            return []  # `apply --repair` replaces the record, in which no project has a live revision
        return await own_paths.find_taken(revision, self.project, live, load)

    async def live(self) -> Live | None:
        """Return number and digest of the published revision of the project that is live, None without one.

        Raises NotAuthentic for an invalid record.
        """
        try:
            found = await self.live_of_all()
        except CommandFailed as error:
            if not _is_wrong_type(error):
                raise
            raise self.invalid(self.project, Invalid(why="it has another type")) from None
        if (invalid := found.invalid.get(self.project)) is not None:
            raise self.invalid(self.project, invalid)
        return found.live.get(self.project)

    async def live_of_all(self) -> LiveRevisions:
        """Return the published revisions that are live, of all projects."""
        return await self._record.read()

    async def live_for(self, api: str) -> Live | None:
        """Return the live revision of the project that owns, or has deleted, an API or a schedule."""
        owner = await self._connection.call("HGET", keys.GATE + api, "project")
        name = DEFAULT_PROJECT if owner is None else owner.decode("utf-8", "replace")
        return (await self.live_of_all()).live.get(name)

    async def seal_live(self, now_ms: int) -> None:
        """Seal the record of each live revision, whoever wrote it: for the adoption of a store."""
        await self._record.seal_all(now_ms)

    def invalid(self, project: str, record: Invalid) -> NotAuthentic:
        """Return the error of an invalid record of the live revision of a project."""
        name = "live" if project == DEFAULT_PROJECT else f"live {project}"
        self._refusals.note("revision", name, record.why)
        of = "" if project == DEFAULT_PROJECT else f" of project {project}"
        return NotAuthentic(f"the record of the live revision{of}", record.why)

    async def load(self, number: int, *, project: str | None = None) -> Revision:
        """Load a published revision, which may have to be one of a certain project.

        Raises NotFound if it never existed or is no longer kept, NotAuthentic if it is forged or of another
        project, WrongStore if another release wrote it.
        """
        data, packed, signature = await self._connection.call(
            "HMGET", f"{keys.REVISION}{number}", "data", "origin", "sig"
        )
        if data is None:
            raise await self._unknown(number)
        self._verify(number, data, packed, signature)
        if project is not None and (owner := project_of(packed)) != project:
            why = f"it is of project {owner}"
            self._refusals.note("revision", str(number), why)
            raise NotAuthentic(f"revision {number}, live in project {project},", why)
        try:
            return compiled.decode(data)
        except msgspec.DecodeError as error:
            raise WrongStore(
                f"revision {number} in the store was written by another release of iogate: {error}",
                code="IOG634",
                hint="use the release that wrote it, or a newer one",
            ) from error

    async def bundle(self, number: int) -> Bundle:
        """Return a kept revision with its programs and contents, which can be published again.

        Raises NotFound if the revision or one of its blobs is not kept, or if the revision is of another
        project; NotAuthentic if one is forged.
        """
        revision = await self.load(number)
        owner = (await self.origin(number) or Origin()).project
        if owner != self.project:
            raise NotFound(
                f"revision {number} is of project {owner}, not of project {self.project}",
                code="IOG614",
                hint="`iogate history` lists the revisions of this project",
            )
        contents = sorted(set(revision.resources.values()))
        return Bundle(
            revision=revision,
            programs=await self.programs(revision.programs),
            contents=dict(zip(contents, await asyncio.gather(*map(self.content, contents)), strict=True)),
        )

    async def history(self, limit: int = 0, *, content: bool = False) -> list[Published]:
        """Return the kept revisions of the project, newest first, without origins that are not authentic.

        `limit`: at most so many; 0: all. With `content`, an entry also has a fault if its stored content is
        not the signed one; that reads the content of each revision.
        """
        numbers = await self._connection.call("LRANGE", keys.revisions(self.project), 0, limit - 1)
        more = ("data",) if content else ()
        rows = await self._connection.calls(
            [(*_entry_command(number.decode("utf-8", "replace")), *more) for number in numbers]
        )
        return [
            self._entry(int(number), row)
            for number, row in zip(numbers, rows, strict=True)
            if row[0] is not None and projects.is_number(number)
        ]

    async def published(self, number: int) -> Published:
        """Return the entry of one of the published revisions in the history.

        Raises NotFound if the revision is not kept, NotAuthentic if its origin is forged.
        """
        row = await self._connection.call(*_entry_command(str(number)))
        if row[0] is None:
            raise await self._unknown(number)
        entry = self._entry(number, row)
        if entry.fault is not None:
            raise NotAuthentic(f"the origin of revision {number}", entry.fault)
        return entry

    async def origin(self, number: int) -> Origin | None:
        """Return the origin of one of the published revisions; None for one of an earlier release.

        Raises NotFound and NotAuthentic as `published` does.
        """
        return (await self.published(number)).origin

    def _entry(self, number: int, row: list[Any]) -> Published:
        digest, at, packed, signature, *content = row
        fault: str | None = None
        origin: Origin | None = None
        if packed is not None:
            try:
                origin = origins.decode(packed)
                fault = self._origin_fault(str(number).encode(), digest, packed, signature)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                fault = "it is not readable"
        if content and fault is None:
            data = content[0] or b""
            fault = self._fault(str(number).encode(), data, packed, signature)
            if fault is None and hashlib.sha256(data).hexdigest().encode() != digest:
                fault = "its digest is not that of its content"
        if fault is not None:
            self._refusals.note("revision", str(number), fault)
        return Published(
            number=number,
            digest=digest.decode("utf-8", "replace"),
            published_at_ms=int(at or 0),
            origin=origin if fault is None else None,
            fault=fault,
        )

    async def _unknown(self, number: int) -> NotFound:
        """Return the error of a published revision that does not exist, or is no longer kept."""
        numbers = await self._connection.call("LRANGE", keys.revisions(self.project), 0, -1)
        live = (await self.live_of_all()).live.get(self.project)
        if not numbers or live is None:
            return NotFound(
                f"there is no revision {number}: none was ever applied",
                code="IOG614",
                hint="`iogate apply` publishes the first one",
            )
        return NotFound(
            f"there is no revision {number}: the oldest that the store keeps is {int(numbers[-1])}, "
            f"and {live[0]} is live",
            code="IOG614",
            hint="`iogate history` lists them",
        )

    def _verify(self, number: int, data: bytes, packed: bytes | None, signature: bytes | None) -> None:
        fault = self._fault(str(number).encode(), data, packed, signature)
        if fault is not None:
            self._refusals.note("revision", str(number), fault)
            raise NotAuthentic(f"revision {number}", fault)

    def _fault(self, number: bytes, data: bytes, packed: bytes | None, signature: bytes | None) -> str | None:
        """Return why a published revision is not accepted; None if it is, or if this process has no key."""
        return revision_fault(self._ring, number, data, packed, signature)

    def _origin_fault(
        self, number: bytes, digest: bytes, packed: bytes, signature: bytes | None
    ) -> str | None:
        """Return `_fault` of a published revision with an origin, of which only the digest was read."""
        if not self._ring.verifies_revisions:
            return None
        signed = (signature or b"").decode("utf-8", "replace")
        return self._ring.revision_fault(signed, number, digest, packed)

    async def altered_gates(self, revision: Revision) -> list[tuple[str, str]]:
        """Return the APIs whose gate differs from what a publish of this revision writes, with a text."""
        return await gate_fields.altered(self._connection, revision, self.project)

    async def program(self, digest: str) -> bytes:
        """Return the JSON of a program that published revisions name, by its digest.

        Raises NotFound if there is none, NotAuthentic if it has another digest, or if none of the configured
        publishers has signed it.
        """
        return await self._blobs.program(digest)

    async def programs(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return many programs that published revisions name, by digest; raises as `program`.

        It takes one round trip.
        """
        return await self._blobs.programs(digests)

    async def content(self, digest: str) -> bytes:
        """Return the content of a resource that published revisions name, by its digest.

        Raises NotFound if there is none, NotAuthentic if it has another digest.
        """
        return await self._blobs.content(digest)

    async def missing(self, revision: Revision) -> list[str]:
        """Return the digests that a published revision names, and that the store does not have."""
        return await self._blobs.missing(revision)

    async def _is_in_a_signed_revision(self, digest: str) -> bool:
        """Return whether a published revision with a valid signature contains the program.

        Programs that an earlier release stored, or a process without the publish key, carry no signature.
        """
        for number in await projects.kept(self._connection):
            data, packed, signature = await self._connection.call(
                "HMGET", keys.REVISION.encode() + number, "data", "origin", "sig"
            )
            if data is None or self._fault(number, data, packed, signature) is not None:
                continue
            with contextlib.suppress(msgspec.MsgspecError):  # of a newer release
                if digest in compiled.decode(data).programs:
                    return True
        return False


def _entry_command(number: str) -> tuple[str, ...]:
    return "HMGET", keys.REVISION + number, "digest", "at", "origin", "sig"


def _is_wrong_type(error: CommandFailed) -> bool:
    """Tell whether a key that a revision should have holds another type than the command expects."""
    return str(error).startswith("WRONGTYPE")
